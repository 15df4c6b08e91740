"""The broker dies, its heir takes over: no job is lost, none is done twice."""

from __future__ import annotations

import pytest

from supervisor.contract.exits import Exit
from supervisor.contract.wire import messages as m
from supervisor.pool.state import events as ev
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.events import SlotEvent
from supervisor.pool.state.jobs import Stage
from tests.pool.puppet_children import card
from tests.pool.simulated_host import Host


def words_on(host: Host, job_id: str) -> list[str]:
    """What the present broker was told of a job."""
    return [type(word).__name__ for word in host.broker.heard if getattr(word, "job_id", "") == job_id]


def test_worker_does_not_notice_that_the_broker_was_replaced() -> None:
    host = Host(workers=1).begin("a", takes_s=30).run(10)
    first = host.broker

    host.kill("broker")
    host.run(5)

    assert (host.broker is not first, host.state("broker")) == (True, "ready")
    assert not [word for word in host.worker("w0").heard if isinstance(word, m.StopJob)]
    assert host.run(60).endings == [("a", m.Ending.DONE)]
    assert host.slots_of("a") == ["w0"]


def test_job_that_waits_in_line_outlives_the_broker() -> None:
    host = Host(workers=1).begin("a", "b", takes_s=30).run(10)
    assert [entry.card.job_id for entry in host.pool.jobs.waiting()] == ["b"]

    host.kill("broker")

    assert host.run(120).ended_as(m.Ending.DONE) == ["a", "b"]


def test_transcript_finished_without_a_broker_is_committed_by_the_heir() -> None:
    host = Host(workers=1)
    host.broker_start_s = 20.0
    host.begin("a", takes_s=10).run_until(lambda: host.has("w0"))
    host.kill("broker")

    host.run(15)
    assert (host.staged, host.endings) == ({"a"}, [])
    assert host.pool.jobs.entries["a"].stage is Stage.STAGED

    host.run(20)
    assert host.endings == [("a", m.Ending.DONE)]


def test_commit_that_died_with_the_broker_is_said_again_to_its_heir() -> None:
    host = Host(workers=1).begin("a")
    host.run_until(lambda: host.staged)
    assert words_on(host, "a") == ["Commit"]

    host.kill("broker")
    host.run(5)

    assert words_on(host, "a") == ["Commit"]
    assert host.endings == [("a", m.Ending.DONE)]


def test_failure_that_died_with_the_broker_is_said_again_to_its_heir() -> None:
    host = Host(workers=1)
    host.failures["a"] = m.Failure.REJECTED
    host.begin("a").run_until(lambda: "Fail" in words_on(host, "a") if "broker" in host.processes else False)

    host.kill("broker")
    host.run(5)

    assert (words_on(host, "a"), host.endings) == (["Fail"], [("a", m.Ending.FAILED)])


def test_release_that_died_with_the_broker_is_said_again_to_its_heir() -> None:
    host = Host(workers=1).begin("a", "b", takes_s=30).run(10)
    host.drain()  # the one in line is given back
    assert words_on(host, "b") == ["Release"]

    host.kill("broker")
    host.run(5)

    assert (words_on(host, "b"), host.endings) == (["Release"], [("b", m.Ending.RELEASED)])


def test_job_whose_lease_did_not_outlive_the_broker_is_stopped_at_its_worker() -> None:
    host = Host(workers=2).begin("a", "b", takes_s=60).run(10)
    (loser,), (keeper,) = host.slots_of("a"), host.slots_of("b")
    host.kill("broker")
    del host.leases["a"]

    host.run(5)

    stops = [word.job_id for word in host.worker(loser).heard if isinstance(word, m.StopJob)]
    assert (stops, host.has(loser), host.has(keeper)) == (["a"], [], ["b"])
    assert set(host.pool.jobs.entries) == {"b"}


def test_heir_is_told_how_many_jobs_are_wanted() -> None:
    host = Host(workers=2).begin().run(10)
    assert host.broker.wanted == 3

    host.kill("broker")
    host.run(5)

    assert host.broker.wanted == 3


def test_broker_that_ends_a_job_by_itself_stops_it_at_the_worker() -> None:
    host = Host(workers=1).begin("a", takes_s=60).run(10)
    del host.leases["a"]

    host.broker.say(m.Done("a", m.Ending.DROPPED, "somebody else finished it"))

    assert m.StopJob("a", "somebody else finished it", attempt=1) in host.worker("w0").heard
    assert host.pool.totals.done == 0


def test_broker_that_crashes_again_and_again_is_never_held_and_waits_10_s_at_most() -> None:
    host = Host(workers=1).begin("a", takes_s=200).run(10)
    for _ in range(20):
        host.run_until(lambda: "broker" in host.processes, 12)
        host.kill("broker", 1)
        assert host.state("broker") in ("backoff", "starting")

    assert host.run(400).endings == [("a", m.Ending.DONE)]


def test_five_minutes_without_a_broker_end_the_supervisor_as_failed() -> None:
    host = Host(workers=1)
    host.starts_fail.add("broker")

    host.begin().run(299)
    assert host.ended is None

    host.run(2)
    assert host.ended is not None
    assert (host.ended.code, host.ended.why) == (Exit.FAILED, "no broker for 5 minutes")


def test_trouble_outside_is_shown_while_it_lasts() -> None:
    host = Host(workers=1).begin().run(10)

    host.broker.say(m.Trouble("queue", "no answer from sqs"))
    assert host.pool.outages == {"queue": "no answer from sqs"}

    host.broker.say(m.Trouble("queue", ""))
    assert host.pool.outages == {}


def errors_logged(host: Host, detail: str) -> int:
    """Let the broker tell of refused settings; count the errors that this puts into the log."""
    actions = host.pool.take(ev.MessageReceived("broker", m.Trouble("settings", detail)), host.now_s)
    return sum(isinstance(action, ev.Note) and action.level == "error" for action in actions)


def test_reasons_that_are_found_in_turn_are_logged_once_each_while_the_trouble_lasts() -> None:
    """The proof found GetItem refused, renewals UpdateItem too: two errors every 30 s, for hours."""
    host = Host(workers=1).begin().run(10)
    get, update = "GetItem: AccessDenied. Grant it.", "UpdateItem: AccessDenied. Grant it."

    logged = 0
    for _ in range(100):
        logged += errors_logged(host, get)
        logged += errors_logged(host, f"{get} {update}")
        host.run(30)

    assert logged == 2
    assert host.pool.outages == {"settings": f"{get} {update}"}
    assert errors_logged(host, f"{get} There is no such queue.") == 1


def test_reason_that_comes_back_after_a_while_is_logged_again() -> None:
    host = Host(workers=1).begin().run(10)

    logged = [errors_logged(host, said) for said in ("A is refused.", "B is refused.")]
    host.run(3_600)
    logged.append(errors_logged(host, "B is refused. A is refused."))
    errors_logged(host, "")
    logged.append(errors_logged(host, "A is refused."))

    assert logged == [1, 1, 1, 1]


@pytest.mark.parametrize("stage", [Stage.WAITING, Stage.GIVEN, Stage.STAGED, Stage.ENDING])
def test_job_in_any_stage_ends_once_though_the_broker_dies_then(stage: Stage) -> None:
    """In every stage: the heir knows the job, and the word that was owed is said again."""
    host = Host(workers=1)
    host.failures["bad"] = m.Failure.FAILURE
    host.begin("a", "bad", "b", takes_s=15)
    host.run_until(lambda: any(e.stage is stage for e in host.pool.jobs.entries.values()))

    host.kill("broker")
    host.run(200)

    assert sorted(host.endings) == [
        ("a", m.Ending.DONE),
        ("b", m.Ending.DONE),
        ("bad", m.Ending.FAILED),
    ]


def test_ready_again_for_a_job_at_work_brings_its_newer_card_and_no_second_worker() -> None:
    host = Host(workers=2).begin("a", takes_s=60).run(10)
    newer = card("a", takes_s=61)
    host.leases["a"] = newer

    host.broker.say(m.Ready(newer))

    assert len(host.slots_of("a")) == 1
    assert host.pool.jobs.entries["a"].card == newer


def test_what_a_dead_supervisor_left_waits_for_workers_that_are_still_to_come() -> None:
    """Given back to the queue it would wait there, while the workers of this host are about to start."""
    host = Host(workers=1)
    host.leases["a"] = card("a")
    host.post(SlotEvent("broker", sl.Begin()))
    host.run(20)
    assert host.endings == []

    host.post(SlotEvent("w0", sl.Begin()))

    assert host.run(60).endings == [("a", m.Ending.DONE)]


def test_heir_of_an_idle_broker_is_told_the_same_number_again() -> None:
    host = Host(workers=2).begin().run(10)
    wanted = host.broker.wanted
    assert wanted > 0

    host.kill("broker")
    host.run(10)

    assert host.broker.wanted == wanted
