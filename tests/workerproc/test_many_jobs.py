"""A worker with several recordings at once: a real process in profile fast."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from supervisor.contract.exits import Exit
from supervisor.contract.wire.messages import (
    Beat,
    Drain,
    Failed,
    Failure,
    Job,
    PutDown,
    Room,
    Staged,
    StopJob,
    Stopped,
    Up,
)
from tests.workerproc import recordings
from tests.workerproc.process import Worker, card, worker_in

pytestmark = pytest.mark.slow

CLIPS = {clip.path.stem: clip for clip in recordings.samples()}
SHORT = CLIPS["harbour"].path


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with worker_in(tmp_path_factory.mktemp("fast"), profile="fast", batch_size=4) as worker:
        worker.up = worker.next(Up)
        assert worker.next(Room) == Room(5, holding=0, rows=4)
        yield worker


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A recording that takes a worker a while: two windows."""
    return recordings.two_windows(tmp_path)


def give(worker: Worker, folder: Path, **recordings_by_name: Path) -> None:
    for name, path in recordings_by_name.items():
        worker.send(Job(card(folder / name, path, job_id=name)))


def endings(worker: Worker, *job_ids: str) -> dict[str, Any]:
    """How each of these ended; what an earlier test left behind is passed over."""
    found: dict[str, Any] = {}
    while len(found) < len(job_ids):
        ending = worker.next(Staged, Failed, where=lambda ending: ending.job_id in job_ids)
        found[ending.job_id] = ending
    return found


def document(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "transcript.json").read_bytes())
    return read


def test_recordings_are_worked_on_together_and_each_tells_its_progress(
    fast: Worker, tmp_path: Path, long: Path
) -> None:
    first = len(fast.heard)
    give(fast, tmp_path, a=long, b=long, c=SHORT, d=long)

    ended = endings(fast, "a", "b", "c", "d")

    assert {type(ending) for ending in ended.values()} == {Staged}
    assert next(iter(ended)) == "c"  # the short one need not wait for the long ones before it
    beats = [message for message in fast.heard[first:] if type(message).__name__ == "Beat"]
    assert max(len([job for job in beat.jobs if job.phase == "transcribing"]) for beat in beats) >= 3
    texts = {name: document(tmp_path / name)["fullText"] for name in "abcd"}
    assert texts["a"] == texts["b"] == texts["d"] != texts["c"]
    assert document(tmp_path / "a")["options"]["condition_on_previous_text"] is False


def test_room_is_counted_with_what_is_held(fast: Worker, tmp_path: Path) -> None:
    give(fast, tmp_path, a=SHORT, b=SHORT, c=SHORT)

    # Those that end in one round may be counted at once: the last word is what must be told.
    room = fast.next(Room)
    while room.holding:
        # A machine that is busy with other things has less room, never more.
        assert 0 <= room.free <= 5 - room.holding
        room = fast.next(Room)
    assert room.free <= 5


def test_bad_recordings_beside_good_ones_fail_alone(fast: Worker, tmp_path: Path) -> None:
    letter = tmp_path / "letter.wav"
    letter.write_text("Dear Sir or Madam, " * 99)
    silent = recordings.wav(tmp_path / "silent.wav", recordings.silence(3.0))
    give(fast, tmp_path, good=SHORT, bad=letter, silent=silent, other=SHORT)

    ended = endings(fast, "good", "bad", "silent", "other")

    assert isinstance(ended["bad"], Failed)
    assert ended["bad"].failure is Failure.REJECTED
    assert document(tmp_path / "good")["fullText"] == document(tmp_path / "other")["fullText"] != ""
    assert document(tmp_path / "silent")["fullText"] == ""


def test_option_that_makes_no_sense_fails_its_recording_by_name_and_no_neighbour(
    fast: Worker, tmp_path: Path
) -> None:
    asked = {"odd": '{"beam_size": 0}', "words": '{"word_timestamps": true, "beam_size": 1}', "plain": ""}
    for name, wish in asked.items():
        fast.send(Job(card(tmp_path / name, SHORT, job_id=name, options=wish)))

    ended = endings(fast, "odd", "words", "plain")

    assert (ended["odd"].failure, ended["odd"].detail.split(":")[0]) == (
        Failure.REJECTED,
        "options.beam_size",
    )
    with_words, plain = document(tmp_path / "words"), document(tmp_path / "plain")
    assert with_words["options"]["beam_size"] == 1
    spoken = " ".join(word["word"] for segment in with_words["segments"] for word in segment["words"])
    assert spoken == with_words["fullText"] != ""
    assert "words" not in plain["segments"][0]


def test_one_of_several_recordings_can_be_stopped(fast: Worker, tmp_path: Path, long: Path) -> None:
    give(fast, tmp_path, stopped=long, goes_on=long)
    fast.next_beat(lambda beat: len([job for job in beat.jobs if job.phase == "transcribing"]) == 2)

    fast.send(StopJob("stopped", "lease lost"))

    assert fast.next(Staged, Failed).job_id == "goes_on"
    fast.next(Room, where=lambda room: room.holding == 0)
    assert [path.name for path in (tmp_path / "stopped").iterdir()] == ["audio"]


def test_recording_that_comes_again_right_after_it_was_stopped_is_worked_on_once(
    fast: Worker, tmp_path: Path, long: Path
) -> None:
    """The later Job undid the stop: two lanes worked on one recording, and both told of a transcript."""
    first = card(tmp_path / "again", long, "again", attempt=1)
    fast.send(Job(first))
    fast.next_beat(lambda beat: any(job.phase == "transcribing" for job in beat.jobs))

    fast.send(StopJob("again", "its lease is lost", attempt=1))
    fast.send(Job(replace(first, attempt=2)))
    fast.send(PutDown("again", "a late word", attempt=1))
    staged = fast.next(Staged, Failed)
    room = fast.next(Room, where=lambda room: room.holding == 0)

    assert (staged.job_id, staged.attempt) == ("again", 2)
    told = [one for one in fast.heard if isinstance(one, (Staged, Failed, Stopped)) and one.job_id == "again"]
    assert told == [staged]
    assert room.free > 1
    beats = [beat.jobs for beat in fast.heard if isinstance(beat, Beat)]
    assert all(sum(job.job_id == "again" for job in jobs) <= 1 for jobs in beats)


def test_drained_worker_finishes_all_that_it_began(tmp_path: Path, long: Path) -> None:
    with worker_in(tmp_path, profile="fast", batch_size=2) as worker:
        worker.ready()
        give(worker, tmp_path, a=long, b=long)
        worker.next_beat(lambda beat: len([job for job in beat.jobs if job.phase == "transcribing"]) == 2)

        worker.send(Drain(1e9))

        assert set(endings(worker, "a", "b")) == {"a", "b"}
        assert worker.ends() == Exit.OK
