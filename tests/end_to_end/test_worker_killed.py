"""A real worker killed at each named moment of its job, over an imitation of AWS: never a second attempt."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.broker.aws_servers import AwsServer, deploy
from tests.end_to_end.broken_proxy import ActingProxy, Moment
from tests.end_to_end.running_service import SAMPLES, Service, running, wait_for
from tests.end_to_end.senders import AwsSender, finished, transcript_of
from tests.workerproc.recordings import two_windows

pytestmark = [pytest.mark.slow, pytest.mark.aws, pytest.mark.timeout(240)]

# The moments at which the job is the broker's: the call after which it is there.
AT_THE_BROKER = {
    "after the fence": Moment("UpdateItem"),  # the first one after the worker has the job
    "between text and JSON": Moment("PUT", ".txt"),
    "after publishing": Moment("PUT", ".json"),
    "during delete, with the reply lost": Moment("DeleteMessage"),
}
CONFIG = """
[supervisor]
silence_s = 5
hold_after = 1000
"""


def holder_of(service: Service, job: str) -> int:
    """The worker that has the job, once one has."""

    def find() -> int:
        holders = [slot["pid"] for slot in service.slots() if any(one["id"] == job for one in slot["jobs"])]
        return holders[0] if holders else 0

    return wait_for(find, "a worker with the job")


def test_worker_killed_at_each_moment(ministack: AwsServer, tmp_path: Path) -> None:
    """One service life, eight recordings, eight deaths: each is done once, without the queue."""
    sender = AwsSender(deploy(ministack, max_receive_count=3))
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    with ActingProxy(ministack) as proxy:
        environ = {**sender.environ(), "AWS_ENDPOINT_URL": proxy.url}
        with running(tmp_path / "state", **environ) as service:
            service.wait_ready(1)
            jobs = [
                killed_before_the_first_heartbeat(service, sender),
                in_mid_work(service, sender, signal.SIGKILL),
                in_mid_work(service, sender, signal.SIGSTOP),
                killed_after_staging(service, sender),
                *(killed_at(proxy, moment, service, sender) for moment in AT_THE_BROKER),
            ]
            wait_for(lambda: sender.left() == 0, "an empty queue")

    assert len(sender.transcripts()) == 2 * len(jobs)


def killed_before_the_first_heartbeat(service: Service, sender: AwsSender) -> str:
    job = sender.send(SAMPLES / "harbour.wav")
    os.kill(holder_of(service, job), signal.SIGKILL)
    return assert_once(sender, job)


def in_mid_work(service: Service, sender: AwsSender, deed: signal.Signals) -> str:
    """Killed, or stopped for longer than the silence that is borne."""
    job = sender.send(two_windows(service.state_dir.parent))
    pid = holder_of(service, job)
    wait_for(service.busy_slot, "a worker in the middle of it")
    os.kill(pid, deed)
    return assert_once(sender, job)


def killed_after_staging(service: Service, sender: AwsSender) -> str:
    """The broker is stopped meanwhile, so that nothing of the commit has begun."""
    job = sender.send(SAMPLES / "harbour.wav")
    pid, broker = holder_of(service, job), service.pid_of("broker")
    os.kill(broker, signal.SIGSTOP)
    wait_for(lambda: list(service.state_dir.glob("spool/*/staged.json")), "a staged result")
    os.kill(pid, signal.SIGKILL)
    os.kill(broker, signal.SIGCONT)
    return assert_once(sender, job)


def killed_at(proxy: ActingProxy, moment: str, service: Service, sender: AwsSender) -> str:
    job = sender.send(SAMPLES / "harbour.wav")
    pid = holder_of(service, job)
    done = []

    def kill() -> bool:
        os.kill(pid, signal.SIGKILL)
        done.append(moment)
        return "reply lost" in moment

    proxy.at(AT_THE_BROKER[moment], kill)
    assert_once(sender, job)
    wait_for(lambda: done, f"the moment {moment!r}")
    return job


def assert_once(sender: AwsSender, job: str) -> str:
    record = wait_for(lambda: finished(sender, job), f"the end of {job}")
    assert record["remAttempt"] == 1, "a second attempt would have come from the queue"
    assert transcript_of(sender, record)["fullText"]
    return job
