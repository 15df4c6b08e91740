"""Parts of a long recording: who is asked to help, who never is, and what a death among them costs."""

from __future__ import annotations

from typing import Any

from supervisor.contract.wire import messages as m
from supervisor.pool.state.events import MessageReceived
from tests.pool.simulated_host import Host

LONG_S = 60


def told(host: Host, slot: str, kind: type) -> list[Any]:
    return [message for message in host.processes[slot].heard if isinstance(message, kind)]


def says(host: Host, slot: str, message: Any) -> None:
    host.post(MessageReceived(slot, message))


def split_helpers(workers: int = 3, parts_left: int = 2) -> Host:
    """A host on which w0, or whichever got it, has a long recording with parts to share."""
    host = Host(workers=workers).begin("long", takes_s=LONG_S).run(10)
    says(host, owner(host), m.Parts("long", parts_left))
    return host.run(1)


def owner(host: Host) -> str:
    return next(slot for job, slot in reversed(host.begins) if job == "long")


def helpers(host: Host) -> list[str]:
    return [name for name in host.processes if name.startswith("w") and told(host, name, m.Help)]


def test_worker_learns_among_how_many_its_recording_may_be_shared() -> None:
    host = Host(workers=3).begin("a", takes_s=LONG_S).run(10)

    (job,) = told(host, owner_of(host, "a"), m.Job)
    assert job.sharers == 3


def owner_of(host: Host, job_id: str) -> str:
    return next(slot for job, slot in host.begins if job == job_id)


def test_idle_slots_are_asked_to_help_as_far_as_there_are_parts() -> None:
    assert len(helpers(split_helpers(workers=4, parts_left=2))) == 2
    assert len(helpers(split_helpers(workers=2, parts_left=5))) == 1
    assert helpers(split_helpers(workers=3, parts_left=0)) == []


def test_slot_with_a_recording_of_its_own_is_not_asked() -> None:
    host = Host(workers=2).begin("long", "other", takes_s=LONG_S).run(10)

    says(host, owner(host), m.Parts("long", 3))

    assert helpers(host.run(1)) == []


def test_recordings_that_wait_come_before_help() -> None:
    host = Host(workers=2, read_ahead=4).begin("long", "b", "c", takes_s=LONG_S).run(10)
    says(host, owner(host), m.Parts("long", 3))
    host.run(LONG_S * 3)

    assert host.ended_as(m.Ending.DONE) == ["b", "c", "long"]


def test_slot_with_another_engine_is_not_asked() -> None:
    host = Host(workers=2).begin("long", takes_s=LONG_S).run(10)
    for name in ("w0", "w1"):
        host.pool.members[name].facts = {"model": name, "load_s": "1"}

    says(host, owner(host), m.Parts("long", 3))

    assert helpers(host.run(1)) == []


def test_helper_that_found_nothing_more_is_free_and_may_be_asked_again() -> None:
    host = split_helpers(workers=2, parts_left=1)
    (helper,) = helpers(host)

    says(host, helper, m.Helped("long"))
    says(host, helper, m.Room(1))
    says(host, owner(host), m.Parts("long", 1))

    assert len(told(host.run(1), helper, m.Help)) == 2


def test_helpers_are_called_off_when_the_recording_is_done() -> None:
    host = split_helpers(workers=2, parts_left=1)
    (helper,) = helpers(host)

    host.run(LONG_S)

    assert host.ended_as(m.Ending.DONE) == ["long"]
    assert [message.job_id for message in told(host, helper, m.PutDown)] == ["long"]


def test_helpers_death_leaves_the_recording_where_it_is_and_its_heir_is_asked() -> None:
    host = split_helpers(workers=2, parts_left=1)
    (helper,) = helpers(host)

    host.processes[helper].end(-9)
    says(host, owner(host), m.Parts("long", 1))
    host.run(10)

    assert len([job for job, _ in host.begins if job == "long"]) == 1
    assert helpers(host) == [helper]


def test_recording_that_costs_helper_after_helper_is_left_to_its_own_worker() -> None:
    host = split_helpers(workers=2, parts_left=1)
    (helper,) = helpers(host)

    asked = 0
    while told(host, helper, m.Help):
        asked += 1
        host.processes[helper].end(-11)
        says(host, owner(host), m.Parts("long", 1))
        host.run(20)

    assert asked == 3
    host.run(LONG_S)
    assert host.ended_as(m.Ending.DONE) == ["long"]
    assert len([job for job, _ in host.begins if job == "long"]) == 1


def test_helper_gets_the_recording_itself_only_when_it_is_through_with_its_part() -> None:
    """Its owner's death once made its helper the owner at once: two lanes with one job's orders."""
    host = split_helpers(workers=2, parts_left=1)
    first, (helper,) = owner(host), helpers(host)
    host.starts_fail.add(first)

    host.processes[first].end(-9)
    host.run(1)
    assert told(host, helper, m.PutDown)
    assert not told(host, helper, m.Job)

    says(host, helper, m.Helped("long"))
    says(host, helper, m.Room(1))
    host.run(LONG_S * 2)
    assert owner(host) == helper
    assert host.ended_as(m.Ending.DONE) == ["long"]


def test_owners_death_calls_its_helpers_off_and_the_recording_goes_to_another() -> None:
    host = split_helpers(workers=2, parts_left=1)
    first, (helper,) = owner(host), helpers(host)

    host.processes[first].end(-9)
    host.run(LONG_S * 2)

    assert host.ended_as(m.Ending.DONE) == ["long"]
    assert told(host, helper, m.PutDown)


def test_suspect_is_not_shared() -> None:
    host = Host(workers=3).begin("long", takes_s=LONG_S).run(10)
    host.processes[owner(host)].end(-11)
    host.run(10)

    says(host, owner(host), m.Parts("long", 3))

    assert helpers(host.run(1)) == []
