"""A table that doesn't answer keeps no message from being held."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.broker.work.executor import RENEW
from supervisor.contract.wire.messages import Ending, Keep, Lost, Ready, Wanted
from tests.broker.aws_servers import Deployment
from tests.broker.harness import BrokerProcess, rem_message
from tests.broker.model import assert_once, new_world
from tests.broker.model_supervisor import Plan
from tests.broker.proxy import Proxy
from tests.support.memory_backend import QueueRules

NAMES = tuple(f"rec-{n}" for n in range(4))


def test_messages_are_held_while_the_table_does_not_answer_renewals(tmp_path: Path) -> None:
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        for name in NAMES:
            world.send(name)
        host = world.host(Plan(work_s=600.0, wanted=len(NAMES)))
        world.run(lambda: len(host.supervisor.jobs) == len(NAMES))

        host.executor.hung.add(RENEW)
        world.run_for(300.0)
        host.executor.hung.clear()
        world.run(world.is_quiet)

        assert not host.supervisor.lost
        assert_once(world, *NAMES)


def test_job_asks_once_for_a_renewal_that_is_not_answered(tmp_path: Path) -> None:
    """Each extension of a message asked once more: what waited for the table grew with its silence."""
    with new_world(tmp_path) as world:
        world.send()
        host = world.host(Plan(work_s=600.0))
        world.run(lambda: bool(host.supervisor.jobs))

        host.executor.hung.add(RENEW)
        world.run_for(300.0)

        assert host.executor.waiting(RENEW) == 1


@pytest.mark.aws
@pytest.mark.slow
def test_no_lease_is_lost_to_a_table_that_hangs(deployment: Deployment, tmp_path: Path) -> None:
    """Renewals and extensions shared one thread: six seconds for each job's renewal, and with seven jobs
    every message ran out behind them, on a queue that answered at once."""
    for name in NAMES:
        message = rem_message(name, bucket=deployment.raw_bucket)
        deployment.server.client("s3").put_object(
            Bucket=deployment.raw_bucket, Key=message["key"], Body=b"RIFF" + bytes(996)
        )
        deployment.send(message)
    with (
        Proxy(deployment.server) as proxy,
        BrokerProcess(deployment.settings(tmp_path, lease_s=12), proxy.environ(deployment)) as broker,
    ):
        broker.say(Wanted(len(NAMES)))
        cards = [broker.hear(Ready).card for _ in NAMES]
        broker.say(Wanted(0))

        proxy.hanging.add("UpdateItem")
        begun = proxy.seen.count("ChangeMessageVisibilityBatch")
        while proxy.seen.count("ChangeMessageVisibilityBatch") < begun + 6:  # two leases long
            broker.say(Keep(tuple(card.job_id for card in cards)))
            heard = broker.gather(1.0)
            assert not [said for said in heard if isinstance(said, Lost)]
        proxy.hanging.clear()

        assert [broker.finish(card).ending for card in cards] == [Ending.DONE] * len(NAMES)
