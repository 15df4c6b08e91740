"""The way of jobs through the pool, and what becomes of them when workers die."""

from __future__ import annotations

import signal
from typing import Any, Optional

import pytest

from supervisor.contract.exits import Exit
from supervisor.contract.wire import messages as m
from supervisor.pool.state import events as ev
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.events import MessageReceived
from supervisor.pool.state.jobs import OUTSIDE_KILLS_MOST
from tests.pool.puppet_children import Worker, card
from tests.pool.simulated_host import Host

SEGV = -11


def crash(worker: Worker) -> None:
    worker.end(SEGV)


# --- the good way -----------------------------------------------------------------------


def test_jobs_go_from_the_queue_to_done_once_each() -> None:
    host = Host(workers=2).begin(*"abcdef").run(120)

    assert host.ended_as(m.Ending.DONE) == list("abcdef")
    assert (len(host.begins), host.leases, host.pool.jobs.entries) == (6, {}, {})
    assert host.pool.totals == ev.Totals(done=6)
    assert sum(w.done for w in host.pool.workers()) == 6
    assert sum(w.audio_s_done for w in host.pool.workers()) == 60.0


def test_both_workers_work_at_the_same_time() -> None:
    host = Host(workers=2).begin(*"ab").run(10)

    assert [host.has("w0"), host.has("w1")] in ([["a"], ["b"]], [["b"], ["a"]])


def test_sixty_four_workers_get_one_job_each_and_all_come_through() -> None:
    names = [f"job{n:03}" for n in range(200)]
    host = Host(workers=64, read_ahead=4).begin(*names).run(90)

    assert host.ended_as(m.Ending.DONE) == names
    assert {slot for _, slot in host.begins} == {f"w{n}" for n in range(64)}


def test_worker_with_several_places_gets_several_jobs() -> None:
    host = Host(workers=1, places=3).begin(*"abcd").run(8)

    assert host.has("w0") == ["a", "b", "c"]
    assert host.run(30).ended_as(m.Ending.DONE) == list("abcd")


@pytest.mark.parametrize(("holding", "free"), [(3, 4), (1, 2), (0, 1), (None, 4), (5, 4)])
def test_room_that_was_counted_before_a_job_arrived_is_not_given_away_twice(
    holding: Optional[int], free: int
) -> None:
    """A worker said that it had room while jobs for it lay on the link: it got more than it could hold."""
    host = Host(workers=1, places=3).begin(*"abc").run(8)
    assert host.has("w0") == ["a", "b", "c"]

    host.pool.take(MessageReceived("w0", m.Room(4, holding)), 8.0)

    assert host.pool.members["w0"].free == free


def test_job_that_is_staged_already_is_committed_without_a_worker() -> None:
    host = Host(workers=0)
    host.leases["a"] = card("a", staged=True)
    host.staged.add("a")

    host.begin().run(5)

    assert (host.ended_as(m.Ending.DONE), host.begins) == (["a"], [])


def test_job_that_a_worker_gives_up_is_failed_with_its_reason_and_the_worker_goes_on() -> None:
    host = Host(workers=1)
    host.failures["a"] = m.Failure.REJECTED

    host.begin("a", "b").run(60)

    assert (host.ended_as(m.Ending.FAILED), host.ended_as(m.Ending.DONE)) == (["a"], ["b"])
    assert m.Fail("a", m.Failure.REJECTED, "no audio in it", attempt=1) in host.broker.heard
    assert host.slot("w0").restarts == 0


def test_lease_that_is_lost_stops_the_job_and_frees_the_worker() -> None:
    host = Host(workers=1).begin("a", takes_s=1000).run(10)
    del host.leases["a"]

    host.broker.say(m.Lost("a", "another worker has it"))

    assert m.StopJob("a", "another worker has it", attempt=1) in host.worker("w0").heard
    assert (host.has("w0"), host.pool.jobs.entries) == ([], {})
    host.enqueue("b")
    assert host.run(30).ended_as(m.Ending.DONE) == ["b"]


# --- what the broker is asked for ---------------------------------------------------------


def test_broker_is_asked_for_free_places_and_the_read_ahead() -> None:
    host = Host(workers=2, read_ahead=1).begin().run(5)
    assert host.broker.wanted == 3

    host.enqueue("a", takes_s=100)
    host.run(2)
    assert (host.has("w0") + host.has("w1"), host.broker.wanted) == (["a"], 2)

    host.enqueue("b", "c", "d", takes_s=100)
    host.run(2)
    assert (host.broker.wanted, len(host.pool.jobs.waiting()), len(host.queue)) == (0, 1, 1)


def test_nothing_is_asked_for_before_a_worker_is_ready() -> None:
    host = Host(workers=2).begin("a").run(3)

    assert (host.state("broker"), host.state("w0")) == ("ready", "starting")
    assert host.queue == [card("a")]
    assert not [word for word in host.broker.heard if isinstance(word, m.Wanted)]


def test_the_same_number_is_not_said_twice() -> None:
    host = Host(workers=2).begin(*"abcdefgh").run(120)

    counts = [word.count for word in host.broker.heard if isinstance(word, m.Wanted)]
    assert all(one != two for one, two in zip(counts, counts[1:]))


def test_leases_are_kept_every_5_s_while_there_are_jobs_and_not_after() -> None:
    host = Host(workers=1).begin("a", "b", takes_s=40).run(30)
    moments = [at_s for at_s, _ in host.kept]
    assert [round(two - one, 3) for one, two in zip(moments, moments[1:])] == [5.0] * (len(moments) - 1)
    assert len(moments) >= 4
    assert host.kept[-1][1] == ("a", "b")  # the one that waits in line as well

    host.run(80)
    told = len(host.kept)
    assert (host.ended_as(m.Ending.DONE), host.run(60) and len(host.kept)) == (["a", "b"], told)


# --- dead workers -------------------------------------------------------------------------


def test_job_of_a_dead_worker_is_with_another_slot_at_once_and_never_saw_the_queue() -> None:
    host = Host(workers=2).begin("a", takes_s=50).run(10)
    (first,) = host.slots_of("a")
    killed_at_s = host.now_s

    host.kill(first)

    (_, second) = host.slots_of("a")
    assert (second != first, host.now_s) == (True, killed_at_s)
    assert host.run(60).endings == [("a", m.Ending.DONE)]
    assert not [word for word in host.broker.heard if isinstance(word, m.Release)]


def test_neighbour_works_on_while_a_worker_is_replaced() -> None:
    host = Host(workers=2).begin("a", "b", takes_s=30).run(10)
    (dead,), (well,) = host.slots_of("a"), host.slots_of("b")

    host.kill(dead)
    host.run(60)

    assert (host.slots_of("b"), host.slot(well).restarts) == ([well], 0)
    assert host.ended_as(m.Ending.DONE) == ["a", "b"]


def test_job_waits_for_the_restart_where_there_is_no_other_slot() -> None:
    host = Host(workers=1).begin("a", takes_s=30).run(10)

    host.kill("w0")
    assert [entry.card.job_id for entry in host.pool.jobs.waiting()] == ["a"]

    assert host.run(60).endings == [("a", m.Ending.DONE)]
    assert host.slots_of("a") == ["w0", "w0"]


def test_jobs_are_given_back_when_every_slot_is_held() -> None:
    host = Host(workers=2).begin("a", takes_s=500).run(10)
    for name in ("w0", "w1"):
        host.kill(name, Exit.DEVICE_BROKEN)

    host.run(2)

    assert (host.state("w0"), host.state("w1")) == ("held", "held")
    assert host.endings == [("a", m.Ending.RELEASED)]
    assert (host.broker.wanted, [card.job_id for card in host.queue]) == (0, ["a"])


def test_job_is_not_charged_for_a_device_that_breaks() -> None:
    host = Host(workers=2).begin("a", takes_s=500).run(10)

    host.kill(host.slots_of("a")[0], Exit.DEVICE_BROKEN)

    assert not host.pool.jobs.entries["a"].suspect
    assert len(host.slots_of("a")) == 2


def test_late_words_about_a_job_that_somebody_else_has_change_nothing() -> None:
    host = Host(workers=2).begin("a", takes_s=50).run(10)
    first = host.slots_of("a")[0]
    host.kill(first)
    host.run(10)
    second = host.slots_of("a")[1]
    assert (first != second, host.state(first)) == (True, "ready")

    words: tuple[Any, ...] = (
        m.Staged("a", 1.0, 1.0),
        m.Failed("a", m.Failure.REJECTED, "late"),
        m.Staged("never heard of", 1.0, 1.0),
        m.Checkpoint("a", 5.0),
        m.Stopped("a"),
        m.Beat("working", 99, (m.Progress("a", "transcribing", 9.0, 10.0),)),
    )
    for word in words:
        host.post(MessageReceived(first, word))

    entry = host.pool.jobs.entries["a"]
    assert (entry.slot, entry.stage.value) == (second, "given")
    assert entry.audio_s != 10.0
    assert (host.endings, host.pool.members[first].done, host.checkpoints) == ([], 0, [])


def test_last_words_of_a_worker_count_though_it_dies_after_them() -> None:
    host = Host(workers=2).begin("a", takes_s=10)
    host.run_until(lambda: "a" in host.staged)
    host.kill(host.slots_of("a")[0])

    assert host.run(10).endings == [("a", m.Ending.DONE)]
    assert len(host.slots_of("a")) == 1


# --- suspects -----------------------------------------------------------------------------


def test_recording_that_kills_its_worker_fails_after_two_crashes_alone() -> None:
    host = Host(workers=2)
    host.fates["bad"] = crash

    host.begin("bad").run(60)

    assert host.endings == [("bad", m.Ending.FAILED)]
    fails = [word for word in host.broker.heard if isinstance(word, m.Fail)]
    assert [(fail.failure, fail.job_id) for fail in fails] == [(m.Failure.CRASH, "bad")]
    assert len(host.slots_of("bad")) == 3  # the first crash is not charged
    assert host.pool.totals.crashed == 3


def test_innocent_neighbours_of_a_bad_recording_never_fail() -> None:
    host = Host(workers=2, places=3, read_ahead=3)
    host.fates["bad"] = crash

    host.begin("a", "bad", "b", "c", "d", "e").run(600)

    assert host.endings.count(("bad", m.Ending.FAILED)) == 1
    assert host.ended_as(m.Ending.DONE) == ["a", "b", "c", "d", "e"]


def test_suspect_runs_alone_and_beside_it_nothing_begins() -> None:
    """The puppet itself fails when a suspect gets company; this makes sure that there was one."""
    host = Host(workers=1, places=3).begin("a", "b", "c", takes_s=20).run(8)
    assert host.has("w0") == ["a", "b", "c"]

    host.kill("w0", SEGV)
    host.run(8)

    assert len(host.has("w0")) == 1
    assert [job.alone for job in host.worker("w0").jobs.values()] == [True]
    assert host.run(120).ended_as(m.Ending.DONE) == ["a", "b", "c"]


def test_crashes_with_a_suspect_do_not_count_against_the_slot() -> None:
    host = Host(workers=1)
    host.fates["bad"] = crash

    host.begin("bad").run(60)

    assert host.endings == [("bad", m.Ending.FAILED)]
    assert (host.state("w0"), host.slot("w0").failures, host.slot("w0").restarts) == ("ready", 1, 3)


def test_kill_from_outside_is_not_charged_ten_times() -> None:
    host = Host(workers=1).begin("a", takes_s=500)
    for n in range(1, OUTSIDE_KILLS_MOST + 1):
        host.run_until(lambda: host.has("w0"))
        host.run(60)
        host.kill("w0")
        entry = host.pool.jobs.entries["a"]
        assert (entry.outside_kills, entry.suspect) == (n, False)

    host.run_until(lambda: host.has("w0"))
    host.kill("w0")
    assert host.pool.jobs.entries["a"].suspect
    for _ in range(2):
        host.run_until(lambda: host.has("w0"))
        host.kill("w0")
    assert host.run(2).endings == [("a", m.Ending.FAILED)]


def test_kill_by_the_kernel_for_want_of_memory_is_charged() -> None:
    host = Host(workers=1).begin("a", takes_s=500).run(10)

    host.kill("w0", -9, out_of_memory=True)

    assert host.pool.jobs.entries["a"].suspect


@pytest.mark.parametrize("how", ["silent", "stuck"])
def test_recording_that_stalls_its_worker_is_charged_like_a_crash(how: str) -> None:
    host = Host(workers=1)
    host.fates["bad"] = lambda worker: setattr(worker, how, True)

    host.begin("bad").run_until(lambda: host.signals, 400)
    assert host.signals == [("w0", signal.SIGUSR2)]  # all stacks into a file
    host.run(3)
    assert host.signals == [("w0", signal.SIGUSR2), ("w0", signal.SIGKILL)]
    assert host.pool.jobs.entries["bad"].suspect

    assert host.run(1200).endings == [("bad", m.Ending.FAILED)]


def test_restart_by_order_charges_nothing() -> None:
    host = Host(workers=1).begin("a", takes_s=500).run(10)
    for _ in range(5):
        host.post(ev.SlotEvent("w0", sl.Kill("restarted by operator")))
        host.run(10)

    entry = host.pool.jobs.entries["a"]
    assert (entry.suspect, entry.outside_kills, len(host.slots_of("a"))) == (False, 0, 6)


def test_crash_while_draining_is_charged_like_any_other() -> None:
    """It used to pass for an ordered end, so a bad recording could ride on drains and reloads."""
    host = Host(workers=2).begin("a", takes_s=50).run(10)
    first = host.slots_of("a")[0]
    host.drain(first, next_=sl.Next.RESTART)

    host.kill(first, SEGV)

    assert host.pool.jobs.entries["a"].suspect
