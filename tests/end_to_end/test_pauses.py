"""The service is paused with SIGSTOP, alone or with all its children, as docker pause or a suspend does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.running_service import SAMPLES, Service, running, wait_for
from tests.end_to_end.senders import LocalSender, finished
from tests.end_to_end.service_with_test_workers import HELD, go

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SILENCE_S = 5  # the shortest that settings allow
PAUSE_S = SILENCE_S + 1.0
LEASE_S = 10  # the same


def pause(pids: Iterable[int], for_s: float) -> None:
    """Stop these processes for a while; the first goes on first."""
    stopped = list(pids)
    for pid in reversed(stopped):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(for_s)  # the length of the pause is the deed itself
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def in_mid_recording(folder: Path, config: str, slots: int = 1) -> Iterator[tuple[Service, LocalSender, str]]:
    """A service with a worker in the middle of a recording; its sender, and the job's id."""
    sender = LocalSender(folder / "state" / "local")
    devices = f"[devices]\ncpu_slots = {slots}\n"
    (folder / "config.toml").write_text(f"{config}\n{devices}", encoding="utf-8")
    with running(folder / "state", HELD) as service:
        service.wait_ready(slots)
        job = sender.send(SAMPLES / "harbour.wav")
        wait_for(service.busy_slot, "a worker in the middle of a recording")
        yield service, sender, job


def test_three_pauses_alone_or_with_all_restart_no_worker_and_charge_no_recording(tmp_path: Path) -> None:
    """Each used to kill every worker ("silent"); after the third the recording was FAILED for good."""
    settings = f"[supervisor]\nsilence_s = {SILENCE_S}"
    with in_mid_recording(tmp_path, settings, slots=2) as (service, sender, job):
        before, alone = service.pids(), [service.process.pid]

        for pids in (alone, service.pids_from_the_top(), alone):
            pause(pids, PAUSE_S)
            assert service.pids() == before

        go(service)
        record = wait_for(lambda: finished(sender, job), "the recording")
        wait_for(lambda: service.log.count("supervisor was paused") >= 3, "three lines about it")

        assert service.pids() == before
        assert (record["remAttempt"], record.get("remCrashes", 0)) == (1, 0)
        assert len(sender.transcripts()) == 2
        assert "silent for" not in service.log


def test_pause_beyond_the_lease_ends_in_one_transcript(tmp_path: Path) -> None:
    """The lease ran out meanwhile: it is let go untouched; the message comes back and ends the job once."""
    with in_mid_recording(tmp_path, f"[queue]\nlease_s = {LEASE_S}") as (service, sender, job):
        before = service.pids()

        pause(service.pids_from_the_top(), LEASE_S + 1.0)
        go(service)

        wait_for(lambda: finished(sender, job), "the recording")
        wait_for(lambda: sender.left() == 0, "an empty queue")
        assert service.pids() == before
        assert len(sender.transcripts()) == 2


def test_frozen_broker_is_replaced_before_its_leases_run_out(tmp_path: Path) -> None:
    """It counted as ready for five minutes, while leases of one minute ran out and work was thrown away."""
    with in_mid_recording(tmp_path, "[queue]\nlease_s = 40") as (service, sender, job):
        broker = service.pid_of("broker")

        os.kill(broker, signal.SIGSTOP)
        wait_for(lambda: service.pid_of("broker") not in (0, broker), "its successor")
        go(service)

        record = wait_for(lambda: finished(sender, job), "the recording")
        assert record["remAttempt"] == 1, "the lease was taken over, not lost"
        assert "lease lost" not in service.log
