"""What a checkpoint promises: the same text, or a start from the beginning with a reason."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.contract import child_bootstrap, clock
from supervisor.contract.job_folder import CHECKPOINT
from supervisor.contract.wire.messages import Checkpoint as Told
from supervisor.contract.wire.messages import JobCard
from workerproc.checkpoints import checkpoint
from workerproc.checkpoints.checkpoint import BadCheckpoint, CheckpointContent, ResumePoint, WorkIdentity
from workerproc.checkpoints.checkpoint_files import Checkpoints, read_bounded
from workerproc.transcripts.transcript import Segment, Word

WORK = WorkIdentity(
    1_000, "ab" * 32, "tiny.en", {"beam_size": "5"}, {"ctranslate2": "4.8.5", "compute_type": "int8"}
)
SEGMENTS = tuple(Segment(n, 5.0 * n - 5, 5.0 * n, f" part {n}") for n in range(1, 5))
MARK = ResumePoint(seek=1_800, language="en", tokens=(50_363, 12), last_speech_s=14.5, segments=3)


KEPT = CheckpointContent(WORK, MARK, SEGMENTS[:3])


def written() -> bytes:
    """A checkpoint as its file has it."""
    return checkpoint.write(WORK, MARK, [checkpoint.write_segment(segment) for segment in SEGMENTS])


@dataclass(frozen=True)
class Options:
    beam_size: int = 5
    language: Optional[str] = None


def test_written_checkpoint_reads_as_it_was() -> None:
    kept = checkpoint.read(written())

    assert kept == KEPT
    assert kept.done_s == 18.0


def test_segments_may_say_anything() -> None:
    words = (Word(0.1, 0.3, " w", 0.5),)
    said = Segment(1, 0.1 + 0.2, 2.0, 'quotes " and \\ and\nlines, grüße 🎧', words=words)
    mark = ResumePoint(seek=100, segments=1)

    kept = checkpoint.read(checkpoint.write(WORK, mark, [checkpoint.write_segment(said)]))

    assert kept.segments == (said,)


def test_silence_at_the_beginning_is_progress_too() -> None:
    assert CheckpointContent(WORK, ResumePoint(seek=3_000)).done_s == 30.0


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"audio_sha256": "cd" * 32}, "other audio"),
        ({"audio_bytes": 999}, "other audio"),
        ({"model": "base"}, "model tiny.en, now it is base"),
        ({"options": {"beam_size": "1"}}, "option beam_size was 5, now it is 1"),
        ({"options": {"beam_size": "5", "task": '"translate"'}}, "option task was not there"),
        ({"engine": {**WORK.engine, "compute_type": "float32"}}, "engine compute_type was int8"),
        ({"engine": {}}, "engine compute_type was int8, now it is not there"),
    ],
)
def test_other_work_starts_over_and_says_why(changed: dict[str, Any], words: str) -> None:
    reason = checkpoint.unusable(KEPT, dataclasses.replace(WORK, **changed))

    assert reason is not None
    assert words in reason


def test_same_work_carries_on() -> None:
    assert checkpoint.unusable(KEPT, WORK) is None


def spoilt(**changed: Any) -> bytes:
    """A checkpoint with something else in it."""
    plain = json.loads(written())
    for name, value in changed.items():
        part, _, key = name.partition("__")
        if key:
            plain[part][key] = value
        else:
            plain[part] = value
    return json.dumps(plain).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        spoilt(format=2),
        spoilt(work=None),
        spoilt(work__model=7),
        spoilt(mark__seek=-1),
        spoilt(mark__seek="1800"),
        spoilt(mark__tokens=[-1]),
        spoilt(mark__tokens=[1] * 2_000),
        spoilt(mark__last_speech_s=-0.5),
        spoilt(mark__segments=4),
        spoilt(mark__more=1),
        spoilt(segments=[]),
        spoilt(segments={"1": 2}),
        spoilt(segments=[{"id": 1}] * 3),
        spoilt(segments=[{"id": 2, "start_s": 0.0, "end_s": 1.0, "text": "x"}] * 3),
        written()[:-40],
    ],
)
def test_garbage_is_no_checkpoint(data: bytes) -> None:
    with pytest.raises(BadCheckpoint):
        checkpoint.read(data)


@given(st.binary(max_size=400), st.integers(0, 300))
def test_no_damage_gets_through_unnoticed(noise: bytes, at: int) -> None:
    data = written()
    try:
        found = checkpoint.read(data[:at] + noise + data[at + len(noise) :])
    except BadCheckpoint:
        return
    assert isinstance(found, CheckpointContent)


# --- in a job's folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "audio").write_bytes(b"sound")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.bin").write_bytes(b"weights")
    return tmp_path


def checkpoints(folder: Path, told: list[Told], **changes: Any) -> Checkpoints:
    """What a worker that has just got the job has."""
    settings = child_bootstrap.WorkerSettings(
        **{
            "slot": "cpu0", "model": "tiny.en", "model_path": str(folder / "model"), "device": "cpu",
            "compute_type": "int8", "threads": 1, "profile": "fast", "stacks_path": "", "beat_s": 1.0,
            "max_audio_s": 60.0, "checkpoint_s": 30.0, **changes,
        }
    )  # fmt: skip
    card = JobCard("job", 1, str(folder), 5, "rec", "user", "device")
    return Checkpoints(card, settings, Options(), {"ctranslate2": "4.8.5"}, told.append)


def test_what_one_worker_wrote_another_finds(folder: Path) -> None:
    told: list[Told] = []
    checkpoints(folder, told).keep(MARK, SEGMENTS)

    found = checkpoints(folder, []).find()

    assert found is not None
    assert (found.mark, found.segments) == (MARK, SEGMENTS[:3])
    assert told == [Told("job", 18.0, attempt=1)]
    assert sorted(path.name for path in folder.iterdir()) == ["audio", CHECKPOINT, "model"]


def test_first_worker_finds_nothing_and_reads_nothing(folder: Path) -> None:
    (folder / "audio").unlink()  # it may be large: it is read only where that is of use

    assert checkpoints(folder, []).find() is None


@pytest.mark.parametrize("change", ["audio", "weights", "threads", "garbage", "folder"])
def test_anything_else_starts_over(folder: Path, change: str, caplog: pytest.LogCaptureFixture) -> None:
    checkpoints(folder, []).keep(MARK, SEGMENTS)
    changes: dict[str, Any] = {}
    if change == "audio":
        (folder / "audio").write_bytes(b"other")
    elif change == "weights":
        (folder / "model" / "model.bin").write_bytes(b"Weights")
    elif change == "threads":
        changes["threads"] = 2
    elif change == "garbage":
        (folder / CHECKPOINT).write_bytes(b"{}")
    else:
        (folder / CHECKPOINT).unlink()
        (folder / CHECKPOINT).mkdir()

    assert checkpoints(folder, [], **changes).find() is None

    assert [record.message for record in caplog.records] == ["job starts from the beginning"]


def test_checkpoints_are_written_as_often_as_set_and_only_after_progress(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr(clock, "now_s", lambda: now_s)
    told: list[Told] = []
    kept = checkpoints(folder, told)

    for now_s in (110.0, 129.0, 130.0, 131.0, 159.0, 161.0):  # noqa: B007  # the clock reads it
        kept.look(MARK, SEGMENTS)
    assert len(told) == 1  # nothing was reached since

    later = dataclasses.replace(MARK, seek=2_400, segments=4)
    now_s = 162.0
    kept.look(later, SEGMENTS)

    assert [word.done_s for word in told] == [18.0, 24.0]


def test_put_down_before_the_first_window_leaves_what_was_there(folder: Path) -> None:
    checkpoints(folder, []).keep(MARK, SEGMENTS)
    second = checkpoints(folder, [])
    second.find()

    second.keep(ResumePoint(), [])
    second.keep(MARK, SEGMENTS)

    assert checkpoints(folder, []).find() is not None


# --- of a recording in parts


def packed(work: WorkIdentity) -> bytes:
    lines = [checkpoint.write_segment(segment) for segment in SEGMENTS]
    return checkpoint.pack([checkpoint.write(work, MARK, lines), None])


def test_parts_that_were_packed_for_this_work_are_found(folder: Path) -> None:
    (folder / CHECKPOINT).write_bytes(packed(WORK))

    assert checkpoints(folder, []).find_parts(WORK) == [KEPT, None]


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(WORK, audio_sha256="cd" * 32),
        dataclasses.replace(WORK, model="base"),
        dataclasses.replace(WORK, options={"beam_size": "1"}),
        dataclasses.replace(WORK, engine={"ctranslate2": "4.9"}),
    ],
    ids=["audio", "model", "options", "engine"],
)
def test_parts_that_were_packed_for_other_work_start_over(
    folder: Path, other: WorkIdentity, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / CHECKPOINT).write_bytes(packed(other))

    assert checkpoints(folder, []).find_parts(WORK) == []

    assert [record.message for record in caplog.records] == ["job starts from the beginning"]


def test_parts_are_kept_once_for_each_change(folder: Path) -> None:
    """Parts that stand still were written and told again and again, and uploaded each time."""
    told: list[Told] = []
    kept = checkpoints(folder, told)

    kept.keep_parts(b"one", 5.0)
    (folder / CHECKPOINT).unlink()
    kept.keep_parts(b"one", 5.0)

    assert not (folder / CHECKPOINT).exists()
    kept.keep_parts(b"two", 6.0)
    assert (folder / CHECKPOINT).read_bytes() == b"two"
    assert [word.done_s for word in told] == [5.0, 6.0]


def test_parts_of_which_nothing_is_done_are_not_kept(folder: Path) -> None:
    told: list[Told] = []

    checkpoints(folder, told).keep_parts(b"nothing yet", 0.0)

    assert (told, (folder / CHECKPOINT).exists()) == ([], False)


def test_checkpoint_that_is_too_large_is_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file without end, put in its place, would have filled the worker's memory."""
    monkeypatch.setattr(checkpoint, "MOST_BYTES", len(written()))
    checkpoints(folder, []).keep(MARK, SEGMENTS)
    size = (folder / CHECKPOINT).stat().st_size
    for most_bytes in (size - 1, size):
        monkeypatch.setattr(checkpoint, "MOST_BYTES", most_bytes)
        found = checkpoints(folder, []).find()
        assert (found is not None) == (most_bytes == size)

    (reason,) = [record.reason for record in caplog.records]  # type: ignore[attr-defined]  # a fact of the line
    assert reason == f"the checkpoint has more than {size - 1} bytes"
    monkeypatch.setattr(checkpoint, "MOST_BYTES", 1_000)
    with pytest.raises(BadCheckpoint):
        read_bounded(Path("/dev/zero"))


# --- put down


def test_full_disk_costs_the_checkpoint_and_not_the_job(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Told] = []

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    checkpoints(folder, told).keep(MARK, SEGMENTS)

    assert told == []
    assert "checkpoint cannot be written" in caplog.messages
    assert sorted(path.name for path in folder.iterdir()) == ["audio", "model"]
