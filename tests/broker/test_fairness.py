"""Jobs that fail never take the places of others: forty of them, and four that are well."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest

from supervisor.broker.ports.errors import Forbidden, JobRejected, Misconfigured, TryLater, Unexplained
from supervisor.broker.rules.fairness import ASIDE_MOST, stands_aside
from supervisor.broker.rules.retry_policy import UNEXPLAINED_RECEIVES
from supervisor.contract.wire.messages import Done, Ending, Keep, Ready, Wanted
from tests.broker.aws_servers import Deployment, record_key
from tests.broker.harness import BrokerProcess, rem_message, until
from tests.broker.model import World, new_world
from tests.broker.model_faults import let_fail
from tests.broker.model_supervisor import Plan
from tests.broker.proxy import Proxy
from tests.support.memory_backend import QueueRules

FAILING, WELL = 40, 4
ERRORS: dict[str, Callable[[], Exception]] = {
    "server error": lambda: TryLater("audio", "get: InternalError"),
    "unknown": lambda: Unexplained("audio", "get: BrandNewError"),
    "forbidden": lambda: Forbidden("audio", "get: AccessDenied"),
    "archived": lambda: JobRejected("The audio is archived."),
}


def states(world: World, name: str) -> list[Any]:
    return [item.get("remState") for key, item in world.records.items.items() if name in key.recording_id]


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
def test_forty_failing_recordings_before_four_good_ones_cost_those_little_time(
    tmp_path: Path, error: Callable[[], Exception]
) -> None:
    """Each held a place for a minute of tries: four good ones were not done in 230 s."""
    with new_world(tmp_path, QueueRules(max_receive_count=100)) as world:
        let_fail(world, error)
        for number in range(FAILING):
            world.send(f"bad-{number}")
        for number in range(WELL):
            world.send(f"good-{number}")
        began_at_s = world.now_s
        world.host(Plan(work_s=1.0, wanted=3))

        world.run(lambda: states(world, "good") == ["DONE"] * WELL)

        # A server error may concern all: three at a time are tried for some seconds each.
        assert world.now_s - began_at_s < (120.0 if error is ERRORS["server error"] else 30.0)


def test_failing_recordings_take_no_place_while_others_get_on(tmp_path: Path) -> None:
    with new_world(tmp_path, QueueRules(max_receive_count=100)) as world:
        let_fail(world, ERRORS["server error"])
        world.send("good-first")
        for number in range(FAILING):
            world.send(f"bad-{number}")
        world.send("good-last")
        began_at_s = world.now_s
        world.host(Plan(work_s=1.0, wanted=3))

        world.run(lambda: states(world, "good") == ["DONE"] * 2)

        assert world.now_s - began_at_s < 30.0


def test_error_that_nobody_knows_is_met_a_bounded_number_of_times(tmp_path: Path) -> None:
    with new_world(tmp_path, QueueRules(max_receive_count=1_000)) as world:
        let_fail(world, ERRORS["unknown"])
        world.send("bad")
        host = world.host(Plan(work_s=1.0))

        world.run(world.is_quiet, limit_s=20_000.0)

        assert world.item("bad")["remState"] == "FAILED"
        assert (
            f"BrandNewError. Given up after {UNEXPLAINED_RECEIVES} deliveries."
            in world.item("bad")["remReason"]
        )
        assert host.lives == 1


def test_archived_audio_fails_at_once_with_what_to_do(tmp_path: Path) -> None:
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        let_fail(world, ERRORS["archived"])
        world.send("bad")
        world.host(Plan(work_s=1.0))

        world.run(world.is_quiet)

        assert world.item("bad")["remReason"] == "The audio is archived."
        assert [letter.reason for letter in world.queue.dead_letters] == ["The audio is archived."]


def test_record_that_takes_no_change_fails_on_this_host_and_goes_to_the_dead_letters(tmp_path: Path) -> None:
    """Near 400 KB every update is refused: such a job went round for ever and nobody was told."""
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        update = world.records.update

        def refusing(key: Any, change: Any) -> Any:
            if key.recording_id == "bad":
                raise JobRejected("The record can't be changed (Item size).")
            return update(key, change)

        world.records.update = refusing  # type: ignore[method-assign]
        world.send("bad")
        world.send("good")
        host = world.host(Plan(work_s=1.0))

        world.run(world.is_quiet)

        assert states(world, "good") == ["DONE"]
        assert [letter.reason for letter in world.queue.dead_letters] == [
            "The record can't be changed (Item size)."
        ]
        assert host.failed_on_this_host() == {"bad": "The record can't be changed (Item size)."}


@pytest.mark.parametrize(
    ("error", "tries", "others_get_on", "count", "is_aside"),
    [
        (Unexplained("audio", ""), 1, False, 0, True),
        (Forbidden("audio", ""), 1, False, 0, True),
        (TryLater("audio", ""), 1, False, 0, False),
        (TryLater("audio", ""), 1, True, 0, True),
        (TryLater("audio", ""), 3, False, 0, True),
        (TryLater("table", ""), 3, False, 0, True),
        (TryLater("spool", ""), 9, True, 0, False),
        (Misconfigured("table", ""), 9, True, 0, False),
        (TryLater("audio", ""), 9, True, ASIDE_MOST, False),
    ],
)
def test_job_stands_aside_where_it_is_its_own_trouble_or_others_get_on(
    error: TryLater, tries: int, others_get_on: bool, count: int, is_aside: bool
) -> None:
    assert stands_aside(error, tries, others_get_on, count) is is_aside


ARCHIVED = (
    "<Error><Code>InvalidObjectState</Code><Message>The operation is not valid for the object's storage class"
    "</Message><StorageClass>GLACIER</StorageClass></Error>"
)


@pytest.mark.aws
@pytest.mark.slow
def test_archived_recordings_fail_over_http_and_the_good_ones_are_ready(
    deployment: Deployment, tmp_path: Path
) -> None:
    s3 = deployment.server.client("s3")
    names = [*(f"bad-{n}" for n in range(12)), *(f"good-{n}" for n in range(WELL))]
    for name in names:
        message = rem_message(name, bucket=deployment.raw_bucket)
        s3.put_object(Bucket=deployment.raw_bucket, Key=message["key"], Body=b"RIFF" + bytes(996))
        deployment.send(message)
    with Proxy(deployment.server) as proxy:
        proxy.errors["dev-7_bad-"] = (403, ARCHIVED)
        with BrokerProcess(deployment.settings(tmp_path, lease_s=60), proxy.environ(deployment)) as broker:
            broker.say(Wanted(2))
            done = 0
            while done < WELL:
                card = broker.hear(Ready).card
                assert card.job_id.startswith("good-")
                broker.say(Keep((card.job_id,)))
                assert broker.finish(card).ending is Ending.DONE
                done += 1
                broker.say(Wanted(2))
            failed = [broker.hear(Done, lambda done: done.ending is Ending.FAILED) for _ in range(12)]

    assert {done.reason for done in failed} == {
        "The audio is archived (storage class GLACIER) and can't be read. Restore it, then redrive the job."
    }
    item = until(
        lambda: (
            deployment.server.client("dynamodb")
            .get_item(TableName=deployment.table, Key=record_key("user-9", "bad-0"))
            .get("Item")
        ),
        "the record of a failed recording",
    )
    assert item["status"] == {"S": "FAILED"}


@pytest.mark.aws
@pytest.mark.slow
def test_audio_that_hangs_keeps_no_other_recording_waiting(deployment: Deployment, tmp_path: Path) -> None:
    """Each question that S3 does not answer takes a minute and more: six of them held both places."""
    s3 = deployment.server.client("s3")
    for name in [*(f"bad-{n}" for n in range(6)), "good-1", "good-2"]:
        message = rem_message(name, bucket=deployment.raw_bucket)
        s3.put_object(Bucket=deployment.raw_bucket, Key=message["key"], Body=b"RIFF" + bytes(996))
        deployment.send(message)
    with Proxy(deployment.server) as proxy:
        proxy.hanging_path = "dev-7_bad-"
        with BrokerProcess(deployment.settings(tmp_path, lease_s=60), proxy.environ(deployment)) as broker:
            broker.say(Wanted(2))
            for _ in range(2):
                card = broker.hear(Ready).card
                broker.say(Keep((card.job_id,)))
                assert card.job_id.startswith("good-")
                assert broker.finish(card).ending is Ending.DONE
