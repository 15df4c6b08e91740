"""Where a recording's transcription stands, so that another worker can carry on with it. PURE.

Carrying on gives the text of an undisturbed run only if all that decides the text is the
same: audio, model, options, engine. A checkpoint names them; `unusable` compares. What is read
from a file is believed in nothing: whatever is odd about it means starting over, with a reason.
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
MOST_BYTES = 64 * 1024**2  # twelve hours with a time for each word are a seventh of it
_MOST_SEGMENTS = 500_000
_MOST_TOKENS = 1_000  # more than a prompt can hold
_MOST_PARTS = 10_000
_FRAMES_A_SECOND = 100


class BadCheckpoint(ValueError):
    """What was read is no checkpoint. The text is a sentence for people."""


@dataclass(frozen=True)
class ResumePoint:
    """Where a recording can be taken up again: at the beginning of a window.

    With the same audio, model and options the text that follows is that of an undisturbed run; a
    window that fell back on a temperature above 0 draws at random in any run.
    """

    seek: int = 0  # the window's first frame of 10 ms, in the recording without its silences
    language: Optional[str] = None
    tokens: tuple[int, ...] = ()  # what the window is prompted with
    last_speech_s: float = 0.0  # end of the last word, where words are timed
    segments: int = 0  # how many came before: the next has the id after this


@dataclass(frozen=True)
class WorkIdentity:
    """All that decides a text."""

    audio_bytes: int
    audio_sha256: str
    model: str
    options: dict[str, str]
    engine: dict[str, str]  # versions, device, compute type, threads, and the model's own fingerprint


@dataclass(frozen=True)
class CheckpointContent:
    """A mark, the segments before it, and what they were made of."""

    work: WorkIdentity
    mark: ResumePoint
    segments: Sequence[Segment] = field(default_factory=tuple)
    is_done: bool = False  # nothing is left to do: the segments are all there are

    @property
    def done_s(self) -> float:
        """Seconds of the recording that are through."""
        return done_s(self.mark, self.segments)


def done_s(mark: ResumePoint, segments: Sequence[Segment]) -> float:
    """Say how many seconds of the recording are before a mark: to the last segment's end, or to speech."""
    end_s = segments[mark.segments - 1].end_s if mark.segments else 0.0
    return max(end_s, mark.seek / _FRAMES_A_SECOND)


def plain_options(options: Any) -> dict[str, str]:
    """Write options, a dataclass, so that equal ones give equal texts."""
    return {name: json.dumps(value) for name, value in dataclasses.asdict(options).items()}


def write_segment(segment: Segment) -> str:
    """Write one segment; it never changes, so a long recording's need not be written again and again."""
    return json.dumps(codec.to_plain(segment), ensure_ascii=False)


def write(work: WorkIdentity, mark: ResumePoint, segments: Sequence[str], is_done: bool = False) -> bytes:
    """Write a checkpoint as its file has it; of the written segments those before the mark."""
    plain = {"work": codec.to_plain(work), "mark": codec.to_plain(mark), "done": is_done}
    head = json.dumps({"format": FORMAT, **plain})
    return f'{head[:-1]}, "segments": [{", ".join(segments[: mark.segments])}]}}'.encode()


def pack(parts: Sequence[Optional[bytes]]) -> bytes:
    """Write the checkpoints of a recording's parts, as their files have them, as one; None: it has none."""
    return b'{"format": %d, "parts": [%s]}' % (FORMAT, b", ".join(part or b"null" for part in parts))


def unpack(data: bytes) -> list[Optional[CheckpointContent]]:
    """Read what `pack` wrote; empty where this is the checkpoint of a recording that was not cut.

    Raises `BadCheckpoint` on everything else.
    """
    plain = _read_json(data)
    if "parts" not in plain:
        return []
    parts = plain["parts"]
    if not isinstance(parts, list) or len(parts) > _MOST_PARTS:
        raise BadCheckpoint("the checkpoint has no list of parts")
    return [None if part is None else _checkpoint(part) for part in parts]


def read(data: bytes) -> CheckpointContent:
    """Read what `write` wrote. Raises `BadCheckpoint` on everything else."""
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
    """Say why this work can't carry on from a checkpoint; None where it can."""
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
