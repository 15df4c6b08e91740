"""The watch for notices, with a real loopback service: what it tells, once, and when workers may begin."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from supervisor.contract import clock
from supervisor.notices.http_get import Limits
from supervisor.notices.notice import PATHS, Kind
from supervisor.notices.watch import NoticeWatch
from supervisor.settings.schema import NoticesSettings, Settings
from tests.notices.notice_watch import QUICK, Ears, Watch, watched
from tests.support.faulty_imds import FaultyImds, ImdsFault


@pytest.fixture
def fake() -> Iterator[FaultyImds]:
    with FaultyImds() as service:
        yield service


def test_no_notice_lets_workers_begin_after_the_first_round(fake: FaultyImds) -> None:
    async def story(watch: Watch) -> None:
        assert not watch.notices.settled
        await watch.until(lambda: watch.listener.heard)
        await watch.rounds(3)
        assert watch.notices.status(clock.now_s()) is None

    assert watched(fake, story).heard == ["settled"]
    assert {line.split()[1] for line in fake.requests} == {"/latest/api/token", *PATHS.values()}


def test_an_interruption_is_asked_for_more_often_than_what_leaves_more_time(fake: FaultyImds) -> None:
    async def story(watch: Watch) -> None:
        await watch.until(lambda: len(fake.requests) > 30)

    watched(fake, story, pace=replace(QUICK, others_every=3))
    asked = [line.rpartition("/")[2] for line in fake.requests[1:11]]
    every = ["instance-action", "rebalance", "target-lifecycle-state"]
    assert asked == [
        *every,
        "instance-action",
        "instance-action",
        *every,
        "instance-action",
        "instance-action",
    ]


def test_a_live_notice_is_told_before_workers_may_begin(fake: FaultyImds) -> None:
    fake.tell(Kind.SPOT, in_s=60)

    async def story(watch: Watch) -> None:
        await watch.until(lambda: watch.notices.settled)

    listener = watched(fake, story)
    assert listener.words == ["spot terminate", "settled"]


def test_a_notice_is_told_once_with_what_it_leaves(
    fake: FaultyImds, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def story(watch: Watch) -> None:
        await watch.rounds(1)
        fake.tell(Kind.SPOT, "stop", in_s=60)
        await watch.until(lambda: watch.listener.notices)
        await watch.rounds(5)
        left_s = watch.listener.notices[0].deadline_at_s - clock.now_s()
        assert 50 < left_s <= 60
        shown = watch.notices.status(clock.now_s())
        assert shown is not None
        facts = [shown[key] for key in ("kind", "action", "drill", "withdrawn")]
        assert facts == ["spot", "stop", False, False]
        assert 50 < shown["deadline_s"] <= 60

    assert watched(fake, story).words == ["settled", "spot stop"]
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "interruption notice received"
    ]


def test_a_clock_that_is_wrong_by_an_hour_does_not_change_what_is_left(fake: FaultyImds) -> None:
    fake.ahead_s = -3_600.0
    fake.tell(Kind.SPOT, in_s=60)

    async def story(watch: Watch) -> None:
        await watch.until(lambda: watch.listener.notices)
        assert 50 < watch.listener.notices[0].deadline_at_s - clock.now_s() <= 61

    watched(fake, story)


def test_a_notice_in_the_past_leaves_nothing(fake: FaultyImds) -> None:
    fake.tell(Kind.SPOT, in_s=-3_600)

    async def story(watch: Watch) -> None:
        await watch.until(lambda: watch.listener.notices)
        assert watch.listener.notices[0].deadline_at_s <= clock.now_s()

    assert watched(fake, story).words[0] == "spot terminate"


@pytest.mark.parametrize(
    ("action", "slept_s", "awakes"), [("hibernate", 900.0, 1), ("hibernate", 0.0, 0), ("stop", 900.0, 0)]
)
def test_a_machine_that_hibernated_and_is_back_is_told_of(
    fake: FaultyImds, action: str, slept_s: float, awakes: int
) -> None:
    """It stayed drained until a person came. A notice that is only withdrawn is no sign of a sleep."""

    async def story(watch: Watch) -> None:
        fake.tell(Kind.SPOT, action)
        await watch.until(lambda: watch.listener.notices)
        watch.slept_s += slept_s
        fake.withdraw(Kind.SPOT)
        await watch.rounds(3)

    assert watched(fake, story).words.count("awoke") == awakes


def test_a_changed_notice_is_told_again_and_a_withdrawn_one_stays_known(
    fake: FaultyImds, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(watch: Watch) -> None:
        fake.tell(Kind.SPOT, in_s=100)
        await watch.until(lambda: len(watch.listener.notices) == 1)
        fake.tell(Kind.SPOT, in_s=50)
        await watch.until(lambda: len(watch.listener.notices) == 2)
        fake.withdraw(Kind.SPOT)
        await watch.rounds(3)
        shown = watch.notices.status(clock.now_s())
        assert shown is not None
        assert shown["withdrawn"] is True

    assert watched(fake, story).words.count("spot terminate") == 2
    assert [record.message for record in caplog.records].count("interruption notice received") == 2
    assert len([record for record in caplog.records if "withdrawn" in record.message]) == 1


def test_each_kind_is_heard_beside_the_others(fake: FaultyImds) -> None:
    for kind in Kind:
        fake.tell(kind)

    async def story(watch: Watch) -> None:
        await watch.until(lambda: watch.notices.settled)

    assert watched(fake, story).words == ["spot terminate", "rebalance rebalance", "asg terminate", "settled"]


def test_recommendations_can_be_ignored(fake: FaultyImds) -> None:
    fake.tell(Kind.REBALANCE)

    async def story(watch: Watch) -> None:
        await watch.rounds(2)

    assert watched(fake, story, NoticesSettings(rebalance="ignore")).words == ["settled"]
    assert f"GET {PATHS[Kind.REBALANCE]}" not in fake.requests


def test_garbage_about_one_thing_hides_no_other(fake: FaultyImds) -> None:
    fake.told[PATHS[Kind.SPOT]] = "<html>"
    fake.told[PATHS[Kind.ASG]] = "Terminated"

    async def story(watch: Watch) -> None:
        await watch.rounds(3)

    listener = watched(fake, story)
    assert listener.words == ["asg terminate", "trouble", "settled"]
    assert PATHS[Kind.SPOT] in str(listener.heard[1])


def test_garbage_after_a_notice_withdraws_nothing(fake: FaultyImds) -> None:
    fake.tell(Kind.SPOT)

    async def story(watch: Watch) -> None:
        await watch.rounds(1)
        fake.told[PATHS[Kind.SPOT]] = '{"action": "explode"}'
        await watch.rounds(2)
        shown = watch.notices.status(clock.now_s())
        assert shown is not None
        assert shown["withdrawn"] is False

    assert watched(fake, story).words == ["spot terminate", "settled", "trouble"]


@pytest.mark.parametrize(
    "fault",
    [
        ImdsFault.FAILING,
        ImdsFault.OFF,
        ImdsFault.REFUSING,
        ImdsFault.HANGING,
        ImdsFault.HOP_LIMIT,
        ImdsFault.HUGE,
        ImdsFault.NOT_HTTP,
    ],
)
def test_trouble_is_told_once_workers_begin_and_a_notice_behind_it_is_heard_at_last(
    fake: FaultyImds, fault: ImdsFault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fake.fault = fault
    fake.tell(Kind.ASG)

    async def story(watch: Watch) -> None:
        await watch.until(lambda: watch.notices.settled)
        asked = len(fake.requests)
        await watch.until(lambda: len(fake.requests) > asked + 4)
        assert watch.listener.words == ["trouble", "settled"]
        fake.fault = ImdsFault.NONE
        await watch.until(lambda: "well" in watch.listener.words)

    assert watched(fake, story).words == ["trouble", "settled", "asg terminate", "well"]
    said = [record.message for record in caplog.records]
    assert said == [
        "interruption notices cannot be read",
        "interruption notice received",
        "interruption notices can be read again",
    ]


def test_a_mistake_of_ours_ends_neither_the_watch_nor_the_start(
    fake: FaultyImds, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.tell(Kind.SPOT)

    async def story(watch: Watch) -> None:
        await watch.until(lambda: "trouble" in watch.listener.words)
        monkeypatch.undo()
        await watch.until(lambda: "well" in watch.listener.words)

    def mistaken(*args: object) -> None:
        raise KeyError("never thought of")

    monkeypatch.setattr("supervisor.notices.watch.read", mistaken)

    listener = watched(fake, story)
    assert listener.words == ["trouble", "settled", "spot terminate", "well"]
    assert "never thought of" in str(listener.heard[0])


def test_a_service_that_hangs_holds_workers_up_no_longer_than_the_gate(fake: FaultyImds) -> None:
    fake.fault = ImdsFault.HANGING
    patient = replace(QUICK, first_round_most_s=0.05, limits=Limits(5.0, 5.0))

    async def story(watch: Watch) -> None:
        began_s = clock.now_s()
        await watch.until(lambda: watch.notices.settled)
        assert clock.now_s() - began_s < 2

    assert watched(fake, story, pace=patient).heard == ["settled"]


@pytest.mark.parametrize(
    ("environ", "settings", "reason"),
    [
        ({}, NoticesSettings(enabled="off"), "enabled = off"),
        ({"AWS_EC2_METADATA_DISABLED": "True"}, NoticesSettings(enabled="on"), "AWS_EC2_METADATA_DISABLED"),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "ftp://x"}, NoticesSettings(), "http://HOST:PORT"),
        ({}, NoticesSettings(), "not an EC2 instance"),
    ],
)
def test_where_there_is_nothing_to_watch_workers_begin_at_once_and_one_line_says_so(
    environ: dict[str, str],
    settings: NoticesSettings,
    reason: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("supervisor.notices.imds.is_ec2", lambda: False)  # the tests' own host may be one

    async def run() -> Ears:
        listener = Ears()
        notices = NoticeWatch(Settings(notices=settings), environ, listener)
        notices.start()
        assert notices.settled
        assert len(asyncio.all_tasks()) == 1
        notices.stop()
        return listener

    assert asyncio.run(run()).heard == ["settled"]
    (record,) = caplog.records
    assert record.levelno == (logging.WARNING if "HOST:PORT" in reason else logging.INFO)
    assert reason in str(record.__dict__["reason"])


def test_a_drill_goes_the_way_of_a_real_notice_and_ends_with_resume() -> None:
    async def story(watch: Watch) -> None:
        watch.notices.drill(Kind.SPOT, "terminate", 30)
        shown = watch.notices.status(clock.now_s())
        assert shown is not None
        assert shown["drill"] is True
        assert 28 < shown["deadline_s"] <= 30
        watch.notices.resumed()
        assert watch.notices.status(clock.now_s()) is None

    listener = watched(None, story, NoticesSettings(enabled="off"))
    assert listener.words == ["settled", "spot terminate"]
    assert listener.notices[0].why.startswith("drill: spot terminate at ")


@pytest.mark.parametrize(
    ("settings", "kind", "why"),
    [
        (NoticesSettings(enabled="off"), Kind.SPOT, "[notices] enabled = off"),
        (NoticesSettings(enabled="on", rebalance="ignore"), Kind.REBALANCE, 'rebalance = "ignore"'),
        (NoticesSettings(enabled="on", rebalance="ignore"), Kind.ASG, ""),
        (NoticesSettings(enabled="on"), Kind.REBALANCE, ""),
    ],
)
def test_a_drill_can_say_whether_a_real_notice_would_be_heard(
    settings: NoticesSettings, kind: Kind, why: str
) -> None:
    told = NoticeWatch(Settings(notices=settings), {}, Ears()).why_ignored(kind)

    assert why in told
    assert bool(why) == bool(told)


def test_a_drill_of_what_does_not_exist_is_refused() -> None:
    async def story(watch: Watch) -> None:
        with pytest.raises(ValueError, match="explode"):
            watch.notices.drill(Kind.SPOT, "explode", 30)

    assert watched(None, story, NoticesSettings(enabled="off")).words == ["settled"]
