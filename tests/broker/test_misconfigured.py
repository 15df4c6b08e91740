"""What only an operator can correct: found before a message is received, said once, and proved again.

Every job would meet it, and each delivery in vain brings its message nearer to REM's dead-letter queue.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from supervisor.broker.ports.errors import CREDENTIALS, Forbidden, Misconfigured
from supervisor.broker.receiving.receiving import PROVE_AGAIN_S
from supervisor.contract.wire.messages import (
    Ending,
    Leave,
    QueueState,
    Ready,
    Trouble,
    Wanted,
)
from tests.broker.aws_servers import AwsServer, Deployment, deploy, make_table
from tests.broker.harness import BrokerProcess, rem_message, until
from tests.broker.impatient_broker import IMPATIENT
from tests.broker.model import World, assert_once, new_world
from tests.broker.model_faults import Script, let_fail
from tests.broker.model_supervisor import Plan
from tests.broker.proxy import Proxy
from tests.support.memory_backend import QueueRules

TABLE = Misconfigured("table", "table rem-x has the keys userId and recordingId. Set DYNAMODB_TABLE.")


class Mistake:
    """A backend's proof, which fails for as long as nobody has corrected the mistake."""

    def __init__(self, error: Misconfigured = TABLE) -> None:
        self.error: Any = error

    def __call__(self) -> None:
        if self.error is not None:
            # A new one each time: an error that was raised keeps its world in its traceback.
            raise Misconfigured(self.error.where, self.error.detail)


def settings_troubles(world: World) -> list[str]:
    """What the supervisor was told under `settings`, in order."""
    (host,) = world.hosts
    return [detail for where, detail in host.supervisor.outages if where == "settings"]


def receives(world: World) -> int:
    return world.calls.count("queue.receive")


def test_nothing_is_received_before_the_mistake_is_corrected(tmp_path: Path) -> None:
    mistake = Mistake()
    with new_world(tmp_path) as world:
        world.send()
        world.host(prove=mistake)

        world.run_for(10 * PROVE_AGAIN_S)
        before, told = receives(world), settings_troubles(world)
        mistake.error = None
        world.run(world.is_quiet)

        assert before == 0
        assert told == [TABLE.detail]
        assert settings_troubles(world) == [TABLE.detail, ""]
        assert_once(world)
        assert world.item()["remAttempt"] == 1


def test_another_mistake_takes_the_first_ones_place_in_what_is_told(tmp_path: Path) -> None:
    mistake = Mistake()
    with new_world(tmp_path) as world:
        world.host(prove=mistake)
        world.run_for(2 * PROVE_AGAIN_S)

        mistake.error = Misconfigured("table", "There is no such table.")
        world.run_for(2 * PROVE_AGAIN_S)

        assert settings_troubles(world) == [TABLE.detail, "There is no such table."]


@pytest.mark.parametrize("call", ["records.update", "objects.fetch", "objects.put"])
def test_mistake_in_mid_run_keeps_the_job_and_uses_up_no_delivery(tmp_path: Path, call: str) -> None:
    """REM's queue buries a message after three deliveries: within minutes every recording was gone."""
    mistake = Mistake()
    mistake.error = None
    with new_world(tmp_path) as world:
        script = Script(world)
        script.before(call, mistake, times=1_000_000)
        host = world.host(prove=mistake)
        first = world.send("rec-1")
        world.run(lambda: receives(world) > 0)
        mistake.error = TABLE
        world.send("rec-2")

        world.run_for(40 * 60.0)
        taken = {stored.id: stored.receives for stored in world.queue.messages.values()}
        mistake.error = None
        world.run(world.is_quiet)

        assert taken[first] == 1
        assert max(taken.values()) == 1
        assert world.queue.dead_letters == []
        assert set(host.supervisor.endings) == {("rec-1", Ending.DONE), ("rec-2", Ending.DONE)}
        assert_once(world, "rec-1", "rec-2")


def test_receiving_that_is_forbidden_is_asked_for_again_and_told_all_the_while(tmp_path: Path) -> None:
    """No proof can show it: nothing but a receive says whether messages may be received."""
    refusal = Mistake(Misconfigured("receive", "receive: AccessDenied. Grant sqs:ReceiveMessage."))
    with new_world(tmp_path) as world:
        world.before = lambda number, name: refusal() if name == "queue.receive" else None
        world.host()
        world.send()

        world.run_for(6 * PROVE_AGAIN_S)
        told, asked = settings_troubles(world), receives(world)
        refusal.error = None
        world.run(world.is_quiet)

        assert told == ["receive: AccessDenied. Grant sqs:ReceiveMessage."]
        assert 3 <= asked <= 10
        assert settings_troubles(world)[-1] == ""
        assert_once(world)


def test_role_that_may_read_no_audio_uses_up_few_deliveries_and_says_so(tmp_path: Path) -> None:
    """REM's role may not list: a missing key is a 403 too. Every recording failed after three deliveries."""
    names = [f"rec-{number}" for number in range(8)]
    refused = [True]

    def refuse(number: int, name: str) -> None:
        if name == "objects.fetch" and refused:
            raise Forbidden("audio", "AccessDenied: Access Denied")

    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        world.before = refuse
        host = world.host()
        for name in names:
            world.send(name)

        world.run_for(9 * 60.0)
        taken = [stored.receives for stored in world.queue.messages.values()]
        told = settings_troubles(world)
        refused.clear()
        world.run(world.is_quiet)

        assert max(taken) <= 2
        assert "Grant s3:GetObject" in told[-1]
        assert world.queue.dead_letters == []
        assert host.supervisor.outages[-1] == ("settings", "")
        assert_once(world, *names)


def test_recordings_whose_audio_is_missing_do_not_keep_the_others_for_ever(tmp_path: Path) -> None:
    missing = [f"bad-{number}" for number in range(4)]
    with new_world(tmp_path) as world:
        let_fail(world, lambda: Forbidden("audio", "AccessDenied: Access Denied"))
        host = world.host(Plan(wanted=1))
        for name in [*missing, "rec-9"]:
            world.send(name)

        world.run(lambda: ("rec-9", Ending.DONE) in host.supervisor.endings, 120.0)


def test_leaving_waits_for_no_correction(tmp_path: Path) -> None:
    mistake = Mistake()
    mistake.error = None
    with new_world(tmp_path) as world:
        Script(world).before("records.update", mistake, times=1_000_000)
        host = world.host(prove=mistake)
        world.send()
        world.run(lambda: receives(world) > 0)
        mistake.error = TABLE
        world.run_for(120.0)
        began_s = world.now_s

        host.is_left_alone = True
        host.tell(Leave(world.now_s + 110))
        world.run(lambda: host.dispatcher is None)

        assert world.now_s - began_s < 60.0


def test_credentials_that_expire_are_one_trouble_and_not_one_for_each_place(tmp_path: Path) -> None:
    expired = Misconfigured(CREDENTIALS, "AWS does not accept these credentials: ExpiredToken.")
    mistake = Mistake(expired)
    mistake.error = None
    with new_world(tmp_path) as world:
        script = Script(world)
        for call in ("queue.", "records.", "objects."):
            script.before(call, mistake, times=1_000_000)
        host = world.host(prove=mistake)
        world.send()
        world.run(lambda: receives(world) > 0)
        mistake.error = expired
        world.run_for(10 * 60.0)
        mistake.error = None
        world.run(world.is_quiet)

        assert [where for where, _ in host.supervisor.outages] == ["settings", "settings"]
        assert_once(world)


# --- on real imitations of AWS ------------------------------------------------------------------------


@pytest.fixture(params=["moto", "ministack"])
def made(request: pytest.FixtureRequest) -> Deployment:
    return deploy(request.getfixturevalue(request.param))


def told_of(made: Deployment, proxy: Proxy, folder: Path, **wrong: str) -> str:
    """Start a broker on settings of which these are wrong; gives what it says, and proves that it waits."""
    settings = made.settings(folder)
    settings = dataclasses.replace(settings, aws=dataclasses.replace(settings.aws, **wrong))
    made.send(rem_message(bucket=made.raw_bucket))
    with BrokerProcess(settings, proxy.environ(made)) as broker:
        broker.say(Wanted(1))
        trouble = broker.hear(Trouble)
        broker.hear(QueueState)
        broker.say(Leave(0.0))
        assert broker.ended() == 0
    assert "ReceiveMessage" not in proxy.seen
    assert trouble.where == "settings"
    return trouble.detail


@pytest.mark.slow
@pytest.mark.aws
def test_table_with_other_keys_is_named_with_both_what_it_has_and_what_is_needed(
    made: Deployment, tmp_path: Path
) -> None:
    """An earlier table of this project's own had userId and recordingId: REM's has PK and SK."""
    make_table(made.server, f"{made.table}-old", ("userId", "recordingId"))

    with Proxy(made.server) as proxy:
        told = told_of(made, proxy, tmp_path, table=f"{made.table}-old")

    assert told == (
        f"table {made.table}-old has the keys userId and recordingId; rem-supervisor needs PK and SK "
        "(both strings). Set DYNAMODB_TABLE to REM's table."
    )


@pytest.mark.slow
@pytest.mark.aws
def test_table_with_other_keys_is_told_to_a_role_that_may_not_describe_it(
    made: Deployment, tmp_path: Path
) -> None:
    make_table(made.server, f"{made.table}-old", ("userId", "recordingId"))

    with Proxy(made.server) as proxy:
        proxy.denied = {"DescribeTable"}
        told = told_of(made, proxy, tmp_path, table=f"{made.table}-old")

    assert told.startswith(f"table {made.table}-old has other keys; rem-supervisor needs PK and SK")


@pytest.mark.slow
@pytest.mark.aws
@pytest.mark.parametrize(
    ("field", "setting"),
    [
        ("table", "DYNAMODB_TABLE"),
        ("queue_url", "SQS_QUEUE_URL"),
        ("raw_bucket", "RAW_AUDIO_BUCKET"),
        ("transcripts_bucket", "TRANSCRIPTS_BUCKET"),
    ],
)
def test_what_is_not_there_is_named_with_its_setting(
    made: Deployment, tmp_path: Path, field: str, setting: str
) -> None:
    wrong = f"{getattr(made, field)}-none"

    with Proxy(made.server) as proxy:
        told = told_of(made, proxy, tmp_path, **{field: wrong})

    assert wrong in told
    assert f"Correct {setting}" in told


@pytest.mark.slow
@pytest.mark.aws
def test_all_mistakes_are_told_at_once(made: Deployment, tmp_path: Path) -> None:
    with Proxy(made.server) as proxy:
        told = told_of(made, proxy, tmp_path, table="none", queue_url=f"{made.queue_url}-none")

    assert "Correct DYNAMODB_TABLE" in told
    assert "Correct SQS_QUEUE_URL" in told


@pytest.mark.slow
@pytest.mark.aws
@pytest.mark.parametrize("denied", ["GetItem", "UpdateItem"])
def test_right_that_every_job_needs_is_named(made: Deployment, tmp_path: Path, denied: str) -> None:
    with Proxy(made.server) as proxy:
        proxy.denied = {denied}
        told = told_of(made, proxy, tmp_path)

    assert f"Grant dynamodb:{denied} to this role." in told


@pytest.mark.slow
@pytest.mark.aws
def test_table_that_comes_later_starts_the_work_without_a_restart(moto: AwsServer, tmp_path: Path) -> None:
    made = deploy(moto)
    message = rem_message(bucket=made.raw_bucket)
    moto.client("s3").put_object(Bucket=made.raw_bucket, Key=message["key"], Body=b"RIFF" + bytes(996))
    made.send(message)
    settings = made.settings(tmp_path)
    aws = dataclasses.replace(settings.aws, table=f"{made.table}-late")

    with BrokerProcess(dataclasses.replace(settings, aws=aws), moto.environ, IMPATIENT) as broker:
        broker.say(Wanted(1))
        assert broker.hear(Trouble).where == "settings"
        make_table(moto, f"{made.table}-late")
        assert broker.hear(Trouble) == Trouble("settings", "")
        assert broker.finish(broker.hear(Ready).card).ending is Ending.DONE


@pytest.mark.slow
@pytest.mark.aws
def test_outage_at_the_proof_is_an_outage(moto: AwsServer, tmp_path: Path) -> None:
    made = deploy(moto)
    with Proxy(moto) as proxy:
        proxy.is_down = True
        with BrokerProcess(made.settings(tmp_path), proxy.environ(made)) as broker:
            trouble = broker.hear(Trouble)
            seen = len(proxy.seen)
            until(lambda: len(proxy.seen) > seen, "another try")
            proxy.is_down = False
            assert broker.hear(Trouble) == Trouble("queue", "")

    assert trouble.where == "queue"
