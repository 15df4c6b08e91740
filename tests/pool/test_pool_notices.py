"""Notices, drains and stops at once: one drain, the earliest deadline, in virtual time."""

from __future__ import annotations

import pytest

from supervisor.contract.exits import Exit
from supervisor.contract.wire import messages as m
from supervisor.pool.state import events as ev
from tests.pool.simulated_host import Host


def working(takes_s: float = 30) -> Host:
    return Host(workers=2).begin("a", "b", "c", takes_s=takes_s).run(10)


def notice(host: Host, in_s: float, why: str = "spot") -> None:
    host.post(ev.DrainSlots((), host.now_s + in_s, why))


def test_a_notice_ends_in_drained_with_the_process_alive() -> None:
    host = working()

    notice(host, 120)
    host.run(119)

    assert (host.pool.mode, host.pool.why, host.ended) == (ev.Mode.DRAINED, "spot", None)
    assert host.ended_as(m.Ending.DONE) == ["a", "b"]
    assert host.ended_as(m.Ending.RELEASED) == ["c"]


def test_what_can_not_finish_is_given_back_before_the_deadline() -> None:
    host = working(takes_s=1_000)

    notice(host, 120)
    host.run(119)

    assert sorted(host.ended_as(m.Ending.RELEASED)) == ["a", "b", "c"]
    assert host.pool.mode is ev.Mode.DRAINED


def test_hibernation_gives_everything_back_at_once() -> None:
    host = working(takes_s=1_000)

    notice(host, 0)
    host.run(2)

    assert sorted(host.ended_as(m.Ending.RELEASED)) == ["a", "b", "c"]
    assert (host.pool.mode, host.ended) == (ev.Mode.DRAINED, None)


@pytest.mark.parametrize("order", [("spot", "asg", "stop"), ("stop", "asg", "spot"), ("asg", "stop", "spot")])
def test_spot_asg_and_stop_at_once_are_one_drain_to_the_earliest_deadline(order: tuple[str, ...]) -> None:
    host = working(takes_s=1_000)

    for one in order:
        if one == "stop":
            host.post(ev.Stop(host.now_s + 110, "stop"))
        else:
            notice(host, {"spot": 60, "asg": 110}[one], one)
    assert (host.pool.mode, host.pool.why) == (ev.Mode.STOPPING, "spot")
    host.run(60)

    assert host.ended is not None
    assert host.ended.code == Exit.OK
    assert sorted(host.ended_as(m.Ending.RELEASED)) == ["a", "b", "c"]


def test_a_later_notice_does_not_push_a_deadline_back() -> None:
    host = working(takes_s=1_000)

    notice(host, 60, "spot")
    notice(host, 3_600, "rebalance")

    assert (host.pool.why, host.pool.deadline_at_s) == ("spot", host.now_s + 60)
    host.run(61)
    assert host.pool.mode is ev.Mode.DRAINED


def test_an_interruption_shortens_a_soft_drain() -> None:
    host = working(takes_s=1_000)

    notice(host, 3_600, "rebalance")
    host.run(100)
    assert host.pool.mode is ev.Mode.DRAINING
    assert host.ended_as(m.Ending.RELEASED) == ["c"]
    notice(host, 120, "spot")
    host.run(121)

    assert (host.pool.mode, host.pool.why) == (ev.Mode.DRAINED, "spot")
    assert sorted(host.ended_as(m.Ending.RELEASED)) == ["a", "b", "c"]


def test_a_soft_drain_lets_present_jobs_finish_and_takes_nothing_new() -> None:
    host = working(takes_s=1_000)

    notice(host, 3_600, "rebalance")
    host.enqueue("d")
    host.run(2_000)

    assert sorted(host.ended_as(m.Ending.DONE)) == ["a", "b"]
    assert host.pool.mode is ev.Mode.DRAINED
    assert host.broker.wanted == 0


def test_a_second_notice_on_a_drained_host_changes_nothing() -> None:
    host = working()
    notice(host, 120)
    host.run(60)

    follows = host.pool.take(ev.DrainSlots((), host.now_s + 120, "asg"), host.now_s)

    assert follows == []
    assert (host.pool.mode, host.pool.why, host.ended) == (ev.Mode.DRAINED, "spot", None)


def test_resume_forgets_the_reason() -> None:
    host = working()
    notice(host, 120)
    host.run(60)

    host.post(ev.Resume(()))
    host.run(100)

    assert (host.pool.mode, host.pool.why) == (ev.Mode.RUNNING, "")
    assert host.ended_as(m.Ending.DONE) == ["a", "b", "c"]
