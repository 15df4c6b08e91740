"""Checkpoint format: how far a transcription is, so that another worker can resume it. PURE.

A resumed job gives the same text as an uninterrupted one only if everything that determines the text is the
same: audio, model, options, engine. A checkpoint contains them, and `unusable` compares them. Checkpoint
files are validated completely: from an invalid one the job is not resumed but restarted.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from supervisor.contract import codec
from workerproc.transcripts.transcript import Segment

FORMAT = 1
MOST_BYTES = 64 * 1024**2  # twelve hours with word timestamps take a seventh of it
_MOST_SEGMENTS = 500_000
_MOST_TOKENS = 1_000  # more than fit into a prompt
_MOST_PARTS = 10_000
_FRAMES_A_SECOND = 100


class BadCheckpoint(ValueError):
    """The data is not a valid checkpoint. The message is logged as the reason."""


@dataclass(frozen=True)
class ResumePoint:
    """State from which a transcription can be resumed, at the beginning of a window: `mark` in a checkpoint.

    With the same audio, model and options, the following text is that of an uninterrupted run, except
    where a window falls back to a temperature above 0, which samples at random.
    """

    seek: int = 0  # first frame (10 ms) of the window, in the audio without silence
    language: Optional[str] = None
    tokens: tuple[int, ...] = ()  # the prompt: tokens of the previous text
    last_speech_s: float = 0.0  # end of the last word, with word_timestamps
    segments: int = 0  # number of segments before it


@dataclass(frozen=True)
class WorkIdentity:
    """Everything that determines the text of a transcript."""

    audio_bytes: int
    audio_sha256: str
    model: str
    options: dict[str, str]
    engine: dict[str, str]  # versions, device, compute type, threads, and the model's own fingerprint


@dataclass(frozen=True)
class CheckpointContent:
    """A resume point, the segments before it, and the work that they belong to."""

    work: WorkIdentity
    mark: ResumePoint
    segments: Sequence[Segment] = field(default_factory=tuple)
    is_done: bool = False  # the recording, or part, is complete

    @property
    def done_s(self) -> float:
        """Seconds of the recording that are done."""
        return done_s(self.mark, self.segments)


def done_s(mark: ResumePoint, segments: Sequence[Segment]) -> float:
    """Return the seconds before a resume point: to the end of its last segment, or its position if later."""
    end_s = segments[mark.segments - 1].end_s if mark.segments else 0.0
    return max(end_s, mark.seek / _FRAMES_A_SECOND)


def plain_options(options: Any) -> dict[str, str]:
    """Convert options (a dataclass) to strings that can be compared."""
    return {name: json.dumps(value) for name, value in dataclasses.asdict(options).items()}


def write_segment(segment: Segment) -> str:
    """Serialize one segment. Segments never change, so each is serialized only once."""
    return json.dumps(codec.to_plain(segment), ensure_ascii=False)


def write(work: WorkIdentity, mark: ResumePoint, segments: Sequence[str], is_done: bool = False) -> bytes:
    """Serialize a checkpoint. `segments` are serialized; those after the resume point are left out."""
    plain = {"work": codec.to_plain(work), "mark": codec.to_plain(mark), "done": is_done}
    head = json.dumps({"format": FORMAT, **plain})
    return f'{head[:-1]}, "segments": [{", ".join(segments[: mark.segments])}]}}'.encode()


def pack(parts: Sequence[Optional[bytes]]) -> bytes:
    """Join the serialized checkpoints of a recording's parts into one; None: the part has none."""
    return b'{"format": %d, "parts": [%s]}' % (FORMAT, b", ".join(part or b"null" for part in parts))


def unpack(data: bytes) -> list[Optional[CheckpointContent]]:
    """Parse the output of `pack`; empty where it is the checkpoint of a recording that was not split.

    Raises `BadCheckpoint` on anything else.
    """
    plain = _read_json(data)
    if "parts" not in plain:
        return []
    parts = plain["parts"]
    if not isinstance(parts, list) or len(parts) > _MOST_PARTS:
        raise BadCheckpoint("the checkpoint has no list of parts")
    return [None if part is None else _checkpoint(part) for part in parts]


def read(data: bytes) -> CheckpointContent:
    """Parse the output of `write`. Raises `BadCheckpoint` on anything else."""
    plain = _read_json(data)
    if "parts" in plain:
        raise BadCheckpoint("it is of a recording in parts")
    return _checkpoint(plain)


def _read_json(data: bytes) -> dict[str, Any]:
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadCheckpoint("the checkpoint is not whole") from error
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise BadCheckpoint("the checkpoint was written by another version")
    return plain


def _checkpoint(plain: Any) -> CheckpointContent:
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise BadCheckpoint("the checkpoint was written by another version")
    try:
        work = codec.from_plain(WorkIdentity, plain.get("work"), "work")
        mark = codec.from_plain(ResumePoint, plain.get("mark"), "mark")
        segments = tuple(codec.from_plain(Segment, one, "segment") for one in _items(plain.get("segments")))
    except codec.BadValue as error:
        raise BadCheckpoint(f"the checkpoint makes no sense: {error}") from error
    _check(mark, segments)
    return CheckpointContent(work, mark, segments, plain.get("done") is True)


def unusable(checkpoint: CheckpointContent, now: WorkIdentity) -> Optional[str]:
    """Say why a job cannot be resumed from this checkpoint; None where it can."""
    then = checkpoint.work
    if (then.audio_bytes, then.audio_sha256) != (now.audio_bytes, now.audio_sha256):
        return "it is of other audio"
    if then.model != now.model:
        return f"it is of model {then.model}, now it is {now.model}"
    for what, before, after in (("option", then.options, now.options), ("engine", then.engine, now.engine)):
        name = _first_difference(before, after)
        if name is not None:
            return (
                f"{what} {name} was {before.get(name, 'not there')}, now it is {after.get(name, 'not there')}"
            )
    return None


def _items(value: Any) -> Sequence[Any]:
    if not isinstance(value, list) or len(value) > _MOST_SEGMENTS:
        raise codec.BadValue("segments: expected a list, not too long")
    return value


def _check(mark: ResumePoint, segments: Sequence[Segment]) -> None:
    if mark.seek < 0 or mark.last_speech_s < 0 or mark.segments != len(segments):
        raise BadCheckpoint("the checkpoint contradicts itself")
    if len(mark.tokens) > _MOST_TOKENS or any(token < 0 for token in mark.tokens):
        raise BadCheckpoint("the checkpoint's text history makes no sense")
    if [segment.id for segment in segments] != list(range(1, len(segments) + 1)):
        raise BadCheckpoint("the checkpoint's segments are not all there")


def _first_difference(one: Mapping[str, str], other: Mapping[str, str]) -> Optional[str]:
    return next((name for name in sorted({*one, *other}) if one.get(name) != other.get(name)), None)
