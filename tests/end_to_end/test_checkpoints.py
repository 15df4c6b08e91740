"""Work outlives who did it: after kill -9 at random moments, and on another host, with the same text."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pytest

from supervisor.contract.job_options import of_profile
from supervisor.contract.wire.messages import Staged
from tests.broker.aws_servers import deploy
from tests.end_to_end.running_service import Service, running, wait_for
from tests.end_to_end.senders import (
    USER,
    AwsSender,
    LocalSender,
    Sender,
    finished,
    transcript_of,
)
from tests.workerproc import recordings
from tests.workerproc.process import card, worker_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KILLS = 4  # one for each seed; each costs a core two seconds for the model
NOBODY = -1  # no worker's pid
LIMIT_S = 300.0
# One job a worker, each window conditioned on the text before it: a wrong text history would show.
CONFIG = """
[transcription]
profile = "rem"
beam_size = 2
[spool]
checkpoint_s = 1.0
[devices]
device = "cpu"
"""


def speech(folder: Path, seconds: float) -> Path:
    """Clear speech only: where the engine is not sure it draws lots, and no two runs are alike."""
    said = np.concatenate([recordings.samples_of(clip.path) for clip in recordings.samples()])
    times = int(seconds * recordings.RATE_HZ / len(said)) + 1
    length = int(seconds * recordings.RATE_HZ)
    return recordings.wav(folder / "speech.wav", np.concatenate([said] * times)[:length])


def lines_of(service: Service, sentence: str, job: str) -> list[dict[str, Any]]:
    """The log lines of this sentence about this job."""
    told = (line for line in service.log.splitlines() if sentence in line and job in line)
    return [json.loads(line) for line in told if line.startswith("{")]


def carried_on(service: Service, job: str) -> list[float]:
    """From where workers went on with this job."""
    return [line["from_s"] for line in lines_of(service, "job resumed from checkpoint", job)]


def holder(service: Service, job: str) -> Optional[int]:
    """The pid of the worker that has this job."""
    for slot in service.slots():
        if slot["pid"] and any(one["id"] == job for one in slot["jobs"]):
            return int(slot["pid"])
    return None


def kept_s(service: Service, job: str) -> float:
    """How far the checkpoint in the spool is; 0 where there is none."""
    name = hashlib.sha256(f"{USER}/{job}".encode()).hexdigest()[:32]
    try:
        plain = json.loads((service.state_dir / "spool" / name / "checkpoint.json").read_bytes())
    except OSError:
        return 0.0
    ends = [segment["end_s"] for segment in plain["segments"]]
    return float(max([plain["mark"]["seek"] / 100, *ends[-1:]]))


def kill_at_random(service: Service, sender: Sender, job: str, seed: int, least_s: float) -> Optional[float]:
    """Kill the job's worker some time after it has got beyond `least_s`, and wait for its heir.

    Gives how far it surely was; None where it was done before it could be killed.
    """

    def held_or_done() -> Optional[int]:
        if finished(sender, job):
            return NOBODY
        return holder(service, job) if kept_s(service, job) > least_s else None

    pid, heirs = wait_for(held_or_done, "a checkpoint", LIMIT_S), len(carried_on(service, job))
    if pid == NOBODY:
        return None
    time.sleep(random.Random(seed).uniform(0.0, 1.5))  # the random moment is the deed: in mid-window too
    reached_s = kept_s(service, job)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(carried_on(service, job)) > heirs or finished(sender, job), "the next", LIMIT_S)
    return reached_s if len(carried_on(service, job)) > heirs else None


@pytest.fixture(scope="module")
def two_minutes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A recording, and its transcript by a worker that nobody disturbs."""
    folder = tmp_path_factory.mktemp("peace")
    audio = speech(folder, 120.0)
    with worker_in(folder, options=replace(of_profile("rem"), beam_size=2)) as worker:
        worker.ready()
        assert isinstance(worker.do(card(folder / "job", audio)), Staged)
    in_peace = json.loads((folder / "job" / "transcript.json").read_bytes())
    assert {segment["temperature"] for segment in in_peace["segments"]} == {0.0}, "lots were drawn"
    assert in_peace["resumedFrom"] == 0
    return audio, in_peace


def test_kills_at_random_moments_cost_no_more_than_the_work_since_the_last_checkpoint(
    two_minutes: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """Four kills in two recordings of two minutes, side by side."""
    audio, in_peace = two_minutes
    sender = LocalSender(tmp_path / "state" / "local")
    spare = "cpu_slots = 3\n[supervisor]\nhold_after = 1000\n[queue]\nread_ahead = 0\n"
    (tmp_path / "config.toml").write_text(CONFIG + spare, encoding="utf-8")
    reached: dict[str, list[float]] = {}
    with running(tmp_path / "state") as service:
        service.wait_ready(2)
        disturbed = [sender.send(audio) for _ in range(2)]
        seed = 0
        while seed < KILLS:
            job = disturbed[seed % 2]
            reached_s = kill_at_random(service, sender, job, seed, max([0.0, *reached.get(job, [])]))
            if reached_s is None:
                disturbed[seed % 2] = sender.send(audio)  # a fast machine was through with that one
                continue
            reached.setdefault(job, []).append(reached_s)
            seed += 1
        documents = {job: document(sender, job) for job in reached}
        resumed = {job: carried_on(service, job) for job in reached}

    for job, found in documents.items():
        assert found["segments"] == in_peace["segments"]
        assert found["resumedFrom"] == resumed[job][-1]
        # Nothing that stood in a checkpoint was done again; tests/workerproc shows how often one is written.
        assert all(from_s + 0.01 >= done_s > 0 for from_s, done_s in zip(resumed[job], reached[job]))
        assert sender.record(job)["remAttempt"] == 1


def document(sender: Sender, job: str) -> dict[str, Any]:
    record = wait_for(lambda: finished(sender, job), f"the record of {job}", LIMIT_S)
    return transcript_of(sender, record)


@pytest.fixture(params=["local", "ministack"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Sender:
    """A backend for two hosts; a host that stops has no time to finish anything."""
    local = tmp_path / "local"
    config = f"{CONFIG}cpu_slots = 1\n[supervisor]\ndrain_s = 8.0\n[local]\nfolder = '{local}'\n"
    (tmp_path / "config.toml").write_text(config, encoding="utf-8")
    if request.param == "local":
        return LocalSender(local)
    return AwsSender(deploy(request.getfixturevalue("ministack"), max_receive_count=20))


def test_host_that_stops_hands_its_work_to_another_which_carries_on(
    shared: Sender, two_minutes: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    audio, in_peace = two_minutes
    environ = shared.environ()
    with running(tmp_path / "one", **environ) as first:
        first.wait_ready()
        job = shared.send(audio)
        wait_for(lambda: lines_of(first, "checkpoint shared", job), "a checkpoint in the bucket", LIMIT_S)
        assert first.stop() == 0
    *_, weighed = lines_of(first, "drain decision", job)
    reached_s = lines_of(first, "checkpoint shared", job)[-1]["done_s"]

    with running(tmp_path / "other", **environ) as second:
        found = document(shared, job)
        wait_for(lambda: shared.left() == 0, "an empty queue")
    carried = carried_on(second, job)

    assert weighed["choice"] == "put-down"
    assert found["segments"] == in_peace["segments"]
    assert found["resumedFrom"] == reached_s > 0
    assert carried == [reached_s]
    assert not [key for key in shared.transcripts() if key.startswith("checkpoints/")]
    record = shared.record(job)
    assert (record["remAttempt"], record["remReleases"]) == (2, 1)
