"""kill -9 of a whole host in the middle of a recording: another host on the queue has it one lease later.

Two real services on one imitation of AWS over HTTP, each with a state directory of its own. The lease is the
shortest that settings allow; the default of 60 s is walked in virtual time (tests/broker/test_dead_hosts.py).
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.broker.aws_servers import AwsServer, deploy
from tests.end_to_end.running_service import SAMPLES, running, wait_for
from tests.end_to_end.senders import AwsSender, finished
from tests.end_to_end.service_with_test_workers import HELD, go

pytestmark = [pytest.mark.slow, pytest.mark.aws, pytest.mark.timeout(300)]

LEASE_S = int(os.environ.get("REM_TEST_DEAD_HOST_LEASE_S", "10"))


def test_killed_hosts_recording_is_with_another_host_after_one_lease(
    ministack: AwsServer, tmp_path: Path
) -> None:
    sender = AwsSender(deploy(ministack, max_receive_count=3))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        config = f"[devices]\ncpu_slots = 1\n[queue]\nlease_s = {LEASE_S}\n"
        (tmp_path / name / "config.toml").write_text(config, encoding="utf-8")
    with running(tmp_path / "one" / "state", HELD, **sender.environ()) as first:
        first.wait_ready(1)
        job = sender.send(SAMPLES / "harbour.wav")
        wait_for(first.busy_slot, "the first host in the middle of the recording")
        with running(tmp_path / "two" / "state", HELD, **sender.environ()) as second:
            second.wait_ready(1)
            leased_until = sender.record(job)["remLeaseUnix"]
            wait_for(lambda: sender.record(job)["remLeaseUnix"] > leased_until, "a renewed lease")

            for pid in first.pids():
                os.kill(pid, signal.SIGKILL)
            died_s = time.monotonic()
            wait_for(lambda: int(sender.record(job).get("remAttempt", 0)) == 2, "the second host's claim")
            waited_s = time.monotonic() - died_s
            go(second)
            record = wait_for(lambda: finished(sender, job), "a finished record")

    print(f"with another host after {waited_s:.1f} s, lease {LEASE_S} s")
    # Five seconds are the promise's own, the rest is for a slow machine. It was 233 s once.
    assert waited_s < LEASE_S + 5 + 30
    assert record["remAttempt"] == 2
    assert len(sender.transcripts()) == 2
