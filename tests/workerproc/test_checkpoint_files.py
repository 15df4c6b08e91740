"""A recording is put down in the middle and carried on by the next worker: the same text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from supervisor.contract.job_options import of_profile
from supervisor.contract.wire.messages import (
    Checkpoint,
    Job,
    JobCard,
    PutDown,
    Staged,
    Stopped,
)
from tests.workerproc import recordings
from tests.workerproc.process import Worker, card, worker_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def long_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clear speech, three windows: where the engine is sure it draws no lots, so texts can be compared."""
    spoken = [recordings.samples_of(clip.path) for clip in recordings.samples()]
    pcm = np.concatenate(spoken)[: 75 * recordings.RATE_HZ]
    return recordings.wav(tmp_path_factory.mktemp("speech") / "long.wav", pcm)


def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "transcript.json").read_bytes())
    assert {segment["temperature"] for segment in found["segments"]} == {0.0}, "lots were drawn"
    return found


def put_down(worker: Worker, job: JobCard, after_s: float) -> float:
    """Bring a job beyond so many seconds and have it put down; gives how far its only checkpoint is."""
    worker.send(Job(job))
    worker.next_beat(
        lambda beat: any(one.phase == "transcribing" and one.done_s > after_s for one in beat.jobs)
    )
    worker.send(PutDown(job.job_id, "the test wants it"))
    worker.next(Stopped)
    told = [message for message in worker.heard if isinstance(message, Checkpoint)]
    assert [message.job_id for message in told] == [job.job_id]
    return told[0].done_s


@pytest.mark.parametrize("profile", ["rem", "fast"])
def test_put_down_and_carried_on_by_others_it_says_the_same(
    tmp_path: Path, long_speech: Path, profile: str
) -> None:
    changes = {"profile": profile, "options": of_profile(profile), "checkpoint_s": 3_600.0}
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    job = card(tmp_path / "job", long_speech)
    with worker_in(tmp_path / "first", **changes) as worker:
        worker.ready()
        assert isinstance(worker.do(card(tmp_path / "whole", long_speech, job_id="whole")), Staged)
        reached_s = put_down(worker, job, 20.0)
    assert not (tmp_path / "job" / "staged.json").exists()

    with worker_in(tmp_path / "second", **changes) as worker:
        worker.ready()
        ending = worker.do(job)
        carried_on = worker.logged("job resumed from checkpoint")

    whole, resumed = document(tmp_path / "whole"), document(tmp_path / "job")
    assert isinstance(ending, Staged)
    assert whole["resumedFrom"] == 0
    assert resumed["resumedFrom"] == carried_on["from_s"] == round(reached_s, 2) > 20.0
    assert resumed["segments"] == whole["segments"]
    assert resumed["fullText"] == whole["fullText"]


def test_other_options_start_over_and_the_log_says_why(tmp_path: Path, long_speech: Path) -> None:
    job = card(tmp_path / "job", long_speech)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with worker_in(tmp_path / "first", options=of_profile("fast"), checkpoint_s=3_600.0) as worker:
        worker.ready()
        put_down(worker, job, 0.0)

    with worker_in(tmp_path / "second", options=of_profile("rem"), checkpoint_s=0.1) as worker:
        worker.ready()
        worker.send(Job(job))
        told = worker.next(Checkpoint)
        over = worker.logged("job starts from the beginning")

    assert "option condition_on_previous_text was false, now it is true" in over["reason"]
    assert told.done_s < 60.0
