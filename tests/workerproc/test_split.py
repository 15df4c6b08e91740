"""A long recording in parts: the same text from one worker, after a helper died, and carried on elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from supervisor.contract.job_options import of_profile
from supervisor.contract.wire.messages import (
    Help,
    Helped,
    Job,
    Parts,
    PutDown,
    Staged,
    Stopped,
)
from tests.workerproc import recordings
from tests.workerproc.process import Worker, card, worker_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Greedy: what a part's text depends on is the same with one beam as with five.
GREEDY = replace(of_profile("fast"), beam_size=1)
WORKER: dict[str, Any] = {"profile": "fast", "options": GREEDY, "batch_size": 4, "checkpoint_s": 0.1}


@pytest.fixture(scope="module")
def long_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two and a half minutes of speech: two parts."""
    spoken = [recordings.samples_of(clip.path) for clip in recordings.samples()]
    speech = np.concatenate(spoken * 2)[: 150 * recordings.RATE_HZ]
    return recordings.wav(tmp_path_factory.mktemp("speech") / "long.wav", speech)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, long_speech: Path) -> dict[str, Any]:
    """The transcript that one worker makes of it, undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    with worker_in(folder, **WORKER) as worker:
        worker.ready()
        assert isinstance(worker.do(card(folder / "job", long_speech)), Staged)
    return document(folder / "job")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Worker]]:
    """Two workers for the tests that kill none."""
    with two(tmp_path_factory.mktemp("pair")) as workers:
        yield workers


def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "transcript.json").read_bytes())
    return found


def test_long_recording_is_cut_and_every_segment_keeps_its_time(whole: dict[str, Any]) -> None:
    assert len(whole["cuts"]) == 1
    assert {segment["temperature"] for segment in whole["segments"]} == {0.0}, "lots were drawn"
    segments = whole["segments"]
    assert [segment["id"] for segment in segments] == list(range(1, len(segments) + 1))
    starts_s = [segment["start"] for segment in segments]
    assert starts_s == sorted(starts_s)
    assert max(starts_s) > whole["cuts"][0] > 90.0
    assert whole["durationSeconds"] >= segments[-1]["end"]


def test_what_a_dead_helper_had_is_done_by_the_worker_that_has_the_job(
    tmp_path: Path, long_speech: Path, whole: dict[str, Any]
) -> None:
    with two(tmp_path) as (owner, helper):
        job = card(tmp_path / "job", long_speech)
        owner.send(Job(job, sharers=2))
        owner.next(Parts)
        helper.send(Help(job))
        owner.next(Parts, where=lambda parts: parts.left == 0)
        os.kill(helper.process.pid, signal.SIGKILL)

        owner.next(Staged)

    assert document(tmp_path / "job")["segments"] == whole["segments"]


def test_worker_that_has_all_parts_gives_one_to_a_helper_that_has_none(
    pair: tuple[Worker, Worker], tmp_path: Path, long_speech: Path, whole: dict[str, Any]
) -> None:
    owner, helper = pair
    job = card(tmp_path / "job", long_speech)
    owner.send(Job(job))
    assert owner.next(Parts).left == 1  # of the two that run there
    helper.send(Help(job))

    owner.logged("part of a recording reassigned to another worker", job_id=job.job_id)
    owner.next(Staged)
    helper.next(Helped)

    assert document(tmp_path / "job")["segments"] == whole["segments"]


def test_put_down_in_the_middle_it_is_carried_on_from_all_its_parts_elsewhere(
    pair: tuple[Worker, Worker], tmp_path: Path, long_speech: Path, whole: dict[str, Any]
) -> None:
    """Elsewhere there are cuts and packed checkpoint alone, as the broker brings them along."""
    first, second = pair
    job, moved = card(tmp_path / "job", long_speech), card(tmp_path / "moved", long_speech)
    first.send(Job(job))
    first.next_beat(lambda beat: any(one.done_s > 75.0 for one in beat.jobs if one.phase == "transcribing"))
    first.send(PutDown(job.job_id, "drain"))
    first.next(Stopped)
    for name in ("checkpoint.json", "cuts.json"):
        (tmp_path / "moved" / name).write_bytes((tmp_path / "job" / name).read_bytes())

    assert isinstance(second.do(moved), Staged)

    resumed = document(tmp_path / "moved")
    assert resumed["resumedFrom"] > 0.0
    assert resumed["segments"] == whole["segments"]


@contextlib.contextmanager
def two(folder: Path) -> Iterator[tuple[Worker, Worker]]:
    """Two workers of one host, ready."""
    for name in ("a", "b"):
        (folder / name).mkdir()
    with worker_in(folder / "a", **WORKER) as a, worker_in(folder / "b", **WORKER) as b:
        a.ready()
        b.ready()
        yield a, b
