"""The named interleavings that are worth real processes, against an imitation of AWS over HTTP.

Most run the real broker alone, with the test in the supervisor's and the worker's place: it
then dies at exact moments, between one call's effect and its answer. Workers die in
`test_worker_killed.py`, in the whole service with the real model.
"""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from supervisor.contract.wire.messages import (
    Commit,
    Done,
    Ending,
    Fail,
    Failure,
    JobCard,
    Keep,
    Ready,
    Trouble,
    Wanted,
)
from tests.broker.aws_servers import AwsServer, Deployment, deploy, record_key
from tests.broker.harness import BrokerProcess, rem_message, stage, with_state
from tests.end_to_end.broken_proxy import ActingProxy, Moment
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.aws, pytest.mark.timeout(180)]

LEASE_S = 10  # the shortest that settings allow
READY, STAGED = Moment("(the supervisor hears Ready)"), Moment("(the worker has staged)")
MOMENTS = {
    "before the first heartbeat": READY,
    "in mid-work": Moment("ChangeMessageVisibilityBatch"),
    "after staging": STAGED,
    "after the fence": Moment("UpdateItem", "PUBLISHING", nth=2),  # the first that says so is the claim
    "between text and JSON": Moment("PUT", ".txt"),
    "after publishing": Moment("PUT", ".json"),
    "during delete, with the reply lost": Moment("DeleteMessage"),
}
Deed = Callable[[], bool]


class Scene:
    """One deployment with one recording in it, and what became of it."""

    def __init__(self, made: Deployment, proxy: ActingProxy, folder: Path) -> None:
        self.made, self.proxy, self.folder = made, proxy, folder
        self.settings = made.settings(folder, LEASE_S)
        self.environ = proxy.environ(made)
        self._s3, self._sqs = made.server.client("s3"), made.server.client("sqs")
        self._table = made.server.client("dynamodb")
        message = rem_message("rec-1", bucket=made.raw_bucket)
        self._s3.put_object(Bucket=made.raw_bucket, Key=message["key"], Body=b"RIFF" + bytes(200_000))
        made.send(message)

    def broker(self, state: str = "") -> BrokerProcess:
        settings = with_state(self.settings, self.folder / state) if state else self.settings
        return BrokerProcess(settings, self.environ)

    def record(self) -> dict[str, Any]:
        key = record_key("user-9", "rec-1")
        item = self._table.get_item(TableName=self.made.table, Key=key, ConsistentRead=True).get("Item", {})
        return {name: next(iter(value.values())) for name, value in item.items()}

    def is_over(self) -> bool:
        left = self.visible_count() + self._count("ApproximateNumberOfMessagesNotVisible")
        return left == 0 and self.record().get("remState") == "DONE"

    def visible_count(self) -> int:
        """How many messages can be received now."""
        return self._count("ApproximateNumberOfMessages")

    def _count(self, name: str) -> int:
        found = self._sqs.get_queue_attributes(QueueUrl=self.made.queue_url, AttributeNames=[name])
        return int(found["Attributes"][name])

    def assert_once(self) -> None:
        record = self.record()
        assert (record["remState"], record["status"]) == ("DONE", "TRANSCRIBED")
        assert not {"remToken", "remOwner", "remLeaseUnix"} & set(record)
        found = self._s3.list_objects_v2(Bucket=self.made.transcripts_bucket).get("Contents", [])
        names = sorted(entry["Key"] for entry in found)
        assert names == [f"transcripts/user-9/dev-7/rec-1.{suffix}" for suffix in ("json", "txt")]


@pytest.fixture
def scene(ministack: AwsServer, tmp_path: Path) -> Iterator[Scene]:
    with ActingProxy(ministack) as proxy:
        yield Scene(deploy(ministack, max_receive_count=5), proxy, tmp_path)


class Host:
    """Supervisor and worker of one broker, until it is gone or all is over."""

    def __init__(self, broker: BrokerProcess, work_s: float = 0.0) -> None:
        self.broker, self.work_s = broker, work_s
        self.at: dict[Moment, Deed] = {}  # what is to be done when the host itself is there
        self._begun: dict[str, tuple[JobCard, float]] = {}

    def play(self, is_over: Callable[[], bool] = lambda: False) -> None:
        end_s = time.monotonic() + 100
        try:
            self.broker.say(Wanted(1))
            while self.broker.process.poll() is None and not is_over():
                assert time.monotonic() < end_s, "the job did not end"
                for message in self.broker.gather(0.05):
                    if isinstance(message, Ready):
                        self._ready(message.card)
                self._work()
        except OSError:
            self.broker.ended()

    def _ready(self, card: JobCard) -> None:
        self.at.pop(READY, lambda: False)()
        self.broker.say(Keep((card.job_id,)))
        if card.staged:
            self.broker.say(Commit(card.job_id))
        else:
            self._begun[card.job_id] = (card, time.monotonic() + self.work_s)

    def _work(self) -> None:
        for job_id, (card, at_s) in list(self._begun.items()):
            if time.monotonic() >= at_s:
                del self._begun[job_id]
                stage(card)
                self.at.pop(STAGED, lambda: False)()
                self.broker.say(Commit(job_id))


def host_with(scene: Scene, broker: BrokerProcess, moment: str, deed: Deed) -> Host:
    """A host in which this is done at this moment."""
    host = Host(broker, LEASE_S / 2 if moment == "in mid-work" else 0.0)
    if MOMENTS[moment] in (READY, STAGED):
        host.at[MOMENTS[moment]] = deed
    else:
        scene.proxy.at(MOMENTS[moment], deed)
    return host


@pytest.mark.parametrize("moment", MOMENTS)
def test_broker_killed_and_its_heir_ends_the_same_attempt(scene: Scene, moment: str) -> None:
    with scene.broker() as broker:

        def kill() -> bool:
            broker.process.kill()
            return True

        host_with(scene, broker, moment, kill).play()
        assert broker.ended() == -signal.SIGKILL

    with scene.broker() as heir:
        Host(heir).play(scene.is_over)

    scene.assert_once()
    assert scene.record()["remAttempt"] == "1"


@pytest.mark.parametrize("moment", MOMENTS)
def test_supervisor_killed_and_its_successor_finds_the_job(scene: Scene, moment: str) -> None:
    """The broker alone is left: it has two seconds to finish or give back, and takes them."""
    with scene.broker() as broker:

        def hang_up() -> bool:
            broker.hang_up()
            return False

        host_with(scene, broker, moment, hang_up).play()
        assert broker.ended() == 0

    with scene.broker() as successor:
        Host(successor).play(scene.is_over)

    scene.assert_once()


def test_broker_stopped_longer_than_the_visibility_then_continued(scene: Scene) -> None:
    """It finds its lease over, lets go, and the message that came back ends the job once."""
    scene.settings = scene.made.settings(scene.folder, lease_s=4)
    with scene.broker() as broker:
        broker.take_one()
        broker.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: scene.visible_count() == 1, "the message to be visible again")
        broker.process.send_signal(signal.SIGCONT)
        Host(broker).play(scene.is_over)

    scene.assert_once()


def test_device_dies_and_another_host_has_the_job_at_once(scene: Scene) -> None:
    with scene.broker() as sick, scene.broker("other") as well:
        card = sick.take_one()
        sick.say(Fail(card.job_id, Failure.SICK_DEVICE, "XID 79: the GPU has fallen off the bus"))
        assert sick.hear(Done).ending is Ending.RELEASED
        released_s = time.monotonic()
        well.take_one()

        # The record was free, the message visible: no lease had to run out.
        assert time.monotonic() - released_s < LEASE_S / 2
        well.hang_up()
        well.ended()

    assert not {"remFailures", "remCrashes"} & set(scene.record())


def test_disk_full_while_downloading(scene: Scene) -> None:
    """No file may grow beyond 50 kB: told as trouble, retried, and done once there is room."""
    if not hasattr(resource, "prlimit"):
        pytest.skip("no prlimit on this system")
    with scene.broker() as broker:
        unlimited = resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, (50_000, unlimited[1]))
        broker.say(Wanted(1))
        assert broker.hear(Trouble).where == "spool"

        resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, unlimited)
        Host(broker).play(scene.is_over)

    scene.assert_once()
    assert scene.record()["remAttempt"] == "1"
