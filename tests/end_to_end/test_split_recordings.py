"""One long recording over two slots, with the whole service: whoever dies of it, the text is the same."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.end_to_end.running_service import Service, running, wait_for
from tests.end_to_end.senders import LocalSender, finished, transcript_of
from tests.workerproc import recordings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LIMIT_S = 120.0
CONFIG = """
[transcription]
profile = "fast"
batch_size = 2
beam_size = 1
[spool]
checkpoint_s = 0.2
[devices]
device = "cpu"
cpu_slots = {slots}
"""


def test_deaths_of_helper_owner_and_supervisor_cost_neither_text_nor_a_second_transcript(
    tmp_path: Path,
) -> None:
    """Twice nearly five minutes: in peace; and with its helper killed, then its owner, then the supervisor.

    What is left then is finished by one slot alone.
    """
    spoken = [recordings.samples_of(clip.path) for clip in recordings.samples()]
    audio = recordings.wav(tmp_path / "long.wav", np.concatenate(spoken * 3))
    sender = LocalSender(tmp_path / "state" / "local")
    set_slots(tmp_path, 2)
    with running(tmp_path / "state") as service:
        service.wait_ready(2)
        peaceful = sender.send(audio)
        peace = document(sender, peaceful)

        job = sender.send(audio)
        kill(wait_for(lambda: helper_at_work(service, job), "a helper in mid-work", LIMIT_S))
        wait_for(lambda: has_logged(service, "job resumed from checkpoint", job), "its successor", LIMIT_S)
        assert sender.record(job)["remAttempt"] == 1
        wait_for(lambda: has_logged(service, "checkpoint shared", job), "one for whoever comes next", LIMIT_S)
        dead = kill(owner_of(service, job))
        wait_for(lambda: owner_of(service, job) not in (0, dead), "another owner", LIMIT_S)
        set_slots(tmp_path, 1)
        kill(service.process.pid)
        service.process.wait()
        service.start_again()
        found = document(sender, job)
        wait_for(lambda: sender.left() == 0, "an empty queue")

    assert {segment["temperature"] for segment in peace["segments"]} == {0.0}, "lots were drawn"
    assert len(peace["cuts"]) == 2
    assert found["segments"] == peace["segments"]
    assert found["cuts"] == peace["cuts"]
    assert {cuts_in(sender.record(one)) for one in (peaceful, job)} == {tuple(peace["cuts"])}
    assert found["resumedFrom"] > 0
    assert len(sender.transcripts()) == 2 * 2, "done twice, or a checkpoint is left"
    assert not [path for path in tmp_path.glob("state/spool/*/*") if path.is_file()]


def set_slots(folder: Path, count: int) -> None:
    (folder / "config.toml").write_text(CONFIG.format(slots=count), encoding="utf-8")


def document(sender: LocalSender, job: str) -> dict[str, Any]:
    record = wait_for(lambda: finished(sender, job), f"the record of {job}", LIMIT_S)
    return transcript_of(sender, record)


def cuts_in(record: dict[str, Any]) -> tuple[float, ...]:
    return tuple(round(int(at) / recordings.RATE_HZ, 2) for at in record["remCuts"]["at"].split())


def owner_of(service: Service, job: str) -> int:
    """The pid of the worker that has this job; 0 where none has."""
    owners = [slot["pid"] for slot in service.slots() if any(one["id"] == job for one in slot["jobs"])]
    return int(owners[0] or 0) if owners else 0


def helper_at_work(service: Service, job: str) -> int:
    """The pid of the other worker once it has got on with a part: of three the last one, its share."""
    owner = owner_of(service, job)
    if not owner or not list(service.state_dir.glob("spool/*/parts-*/0002.json")):
        return 0
    return next((int(slot["pid"]) for slot in service.slots() if slot["pid"] not in (None, owner)), 0)


def has_logged(service: Service, sentence: str, job: str) -> bool:
    return any(f'"{sentence}"' in line and job in line for line in service.log.splitlines())


def kill(pid: int) -> int:
    os.kill(pid, signal.SIGKILL)
    return pid
