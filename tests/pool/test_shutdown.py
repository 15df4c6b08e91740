"""Draining, resuming and stopping: everything is finished or given back, in time."""

from __future__ import annotations

from supervisor.contract.exits import Exit
from supervisor.contract.wire import messages as m
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.events import Mode, Resume, SlotEvent
from tests.pool.simulated_host import Host


def working(**counts: int) -> Host:
    """Two workers with a job of 30 s each, and one more job in line."""
    return Host(**{"workers": 2, **counts}).begin("a", "b", "c", takes_s=30).run(10)


# --- drain and resume -------------------------------------------------------------------


def test_drain_gives_back_what_waits_at_once_and_finishes_what_runs() -> None:
    host = working()

    host.drain()
    host.run(1)
    assert (host.endings, host.pool.mode) == ([("c", m.Ending.RELEASED)], Mode.DRAINING)

    host.run(40)
    assert (host.ended_as(m.Ending.DONE), host.pool.mode) == (["a", "b"], Mode.DRAINED)
    assert sorted(host.processes) == ["broker", "gpuwatch"]
    assert host.ended is None


def test_nothing_is_received_while_drained() -> None:
    host = working()
    host.drain()
    host.run(60)

    host.enqueue("d")
    host.run(600)

    assert (host.broker.wanted, [card.job_id for card in host.queue]) == (0, ["c", "d"])
    assert host.state("w0") == host.state("w1") == "stopped"


def test_slot_that_was_removed_is_not_begun_by_resume() -> None:
    """The slot that says why there is no device goes when CPU places are found: `drain` and `resume`
    then met it all the same, and the supervisor answered with a KeyError."""
    host = working()
    host.pool.add("gpu0", "worker", sl.Policy())
    host.pool.remove("gpu0")
    host.drain()
    host.run(60)

    host.post(Resume(()))
    host.run(60)

    assert host.state("w0") == host.state("w1") == "ready"


def test_resume_takes_up_work_again() -> None:
    host = working()
    host.drain()
    host.run(60)

    host.post(Resume(()))
    host.run(60)

    assert (host.pool.mode, host.ended_as(m.Ending.DONE)) == (Mode.RUNNING, ["a", "b", "c"])


def test_resume_before_the_drain_is_over_lets_workers_finish_and_start_again() -> None:
    host = working()
    host.drain()
    host.run(1)

    host.post(Resume(()))
    host.run(120)

    assert (host.pool.mode, host.ended_as(m.Ending.DONE)) == (Mode.RUNNING, ["a", "b", "c"])
    assert host.state("w0") == "ready"


def test_drain_deadline_kills_and_gives_back_what_did_not_finish() -> None:
    host = Host(workers=1).begin("a", takes_s=500).run(10)
    host.worker("w0").stuck = True
    drained_at_s = host.now_s

    host.drain(within_s=60)
    host.run(54.5)
    assert (host.has("w0"), host.pool.deadline_at_s) == (["a"], drained_at_s + 60)

    host.run(2)
    assert (host.signals, host.endings) == ([("w0", 9)], [("a", m.Ending.RELEASED)])
    assert (host.pool.mode, host.state("w0")) == (Mode.DRAINED, "stopped")


def test_second_drain_with_a_later_deadline_changes_nothing() -> None:
    host = Host(workers=1).begin("a", takes_s=500).run(10)
    begun_s = host.now_s

    host.drain(within_s=30)
    host.drain(within_s=300)

    assert (host.pool.deadline_at_s, host.slot("w0").wake_at_s) == (begun_s + 30, begun_s + 25)


def test_drain_of_one_slot_hands_its_neighbour_the_work() -> None:
    host = working()
    host.drain("w0")
    host.run(80)

    assert (host.pool.mode, host.state("w0"), host.state("w1")) == (Mode.RUNNING, "stopped", "ready")
    assert host.ended_as(m.Ending.DONE) == ["a", "b", "c"]
    assert host.slots_of("c") == ["w1"]


def test_restart_of_a_slot_finishes_its_job_first() -> None:
    host = working()
    host.drain("w0", next_=sl.Next.RESTART)
    host.run(120)

    assert (host.ended_as(m.Ending.DONE), host.slot("w0").restarts) == (["a", "b", "c"], 1)
    assert [len(host.slots_of(job)) for job in "abc"] == [1, 1, 1]


def test_reload_in_a_draining_host_starts_nothing_again() -> None:
    """A restart for new settings used to turn the drain's rest into a new life: never drained."""
    host = working()
    host.drain()
    host.drain("w0", next_=sl.Next.RESTART)
    host.run(120)

    assert (host.pool.mode, host.state("w0")) == (Mode.DRAINED, "stopped")


def test_worker_that_still_starts_is_drained_as_well() -> None:
    host = Host(workers=1).begin("a").run(2)
    assert host.state("w0") == "starting"

    host.drain()
    host.run(1)

    assert (host.pool.mode, host.state("w0")) == (Mode.DRAINED, "stopped")


# --- stop -------------------------------------------------------------------------------


def test_stop_finishes_what_runs_gives_back_the_rest_and_ends_well() -> None:
    host = working()
    host.stop()
    host.run(110)

    assert host.ended is not None
    assert host.ended.code is Exit.OK
    assert (host.ended_as(m.Ending.DONE), host.ended_as(m.Ending.RELEASED)) == (["a", "b"], ["c"])
    assert (host.processes, host.leases, host.signals) == ({}, {}, [("gpuwatch", 9)])


def test_stop_of_an_idle_host_ends_at_once() -> None:
    host = Host(workers=2).begin().run(10)
    begun_s = host.now_s

    host.stop()
    host.run(30)

    assert host.ended is not None
    assert (host.ended.code, host.now_s) == (Exit.OK, begun_s)


def test_stop_before_anything_is_ready_ends_well() -> None:
    host = Host(workers=2).begin("a")
    host.stop()
    host.run(30)

    assert host.ended is not None
    assert (host.ended.code, host.processes) == (Exit.OK, {})


def test_stop_interrupts_back_off() -> None:
    host = Host(workers=1)
    host.starts_fail.add("w0")
    host.begin().run(1)
    assert host.state("w0") == "backoff"

    host.stop()
    host.run(1)

    assert host.ended is not None
    assert host.ended.code is Exit.OK


def test_stop_kills_what_is_not_finished_5_s_before_the_deadline_and_gives_it_back() -> None:
    host = Host(workers=1).begin("a", takes_s=500).run(10)
    host.worker("w0").stuck = True
    begun_s = host.now_s
    host.stop(within_s=110)
    host.run(300)

    assert host.ended is not None
    assert (host.ended.code, host.endings) == (Exit.OK, [("a", m.Ending.RELEASED)])
    assert begun_s + 105 <= host.now_s < begun_s + 110


def test_second_stop_means_now() -> None:
    host = Host(workers=1).begin("a", takes_s=80).run(10)
    host.stop(within_s=110)
    host.run(5)
    begun_s = host.now_s

    host.stop(within_s=5)
    host.run(60)

    assert host.ended is not None
    assert (host.ended.code, host.endings) == (Exit.OK, [("a", m.Ending.RELEASED)])
    assert host.now_s - begun_s < 5


def test_stop_long_after_a_drain_has_a_deadline_of_its_own() -> None:
    """It took the drain's, long past, and so killed a broker that still had something to give back."""
    host = working()
    host.drain(within_s=50)
    host.run(3600)
    host.leases["late"] = host.queue[0]

    host.stop(within_s=110)
    host.run(1)
    assert (host.pool.deadline_at_s or 0) > host.now_s + 100
    assert ("broker", 9) not in host.signals

    del host.leases["late"]
    host.broker.hear(m.Leave(host.now_s + 1))
    assert host.ended is not None
    assert host.ended.code is Exit.OK


def test_broker_that_dies_while_stopping_is_started_again_for_what_is_owed() -> None:
    host = working()
    host.stop()
    host.run(5)
    host.kill("broker")
    assert "broker" not in host.processes  # nothing is owed yet

    host.run(100)

    assert host.ended is not None
    assert (host.ended.code, host.ended_as(m.Ending.DONE), host.leases) == (Exit.OK, ["a", "b"], {})


def test_broker_that_dies_again_and_again_while_stopping_is_given_up_and_the_end_says_so() -> None:
    host = working()
    host.stop()
    for _ in range(80):
        if "broker" in host.processes:
            host.kill("broker")
        host.run(0.6)

    assert host.ended is not None
    assert host.ended.code is Exit.FAILED
    assert "3 jobs not given back" in host.ended.why


def test_broker_whose_heir_does_not_start_at_first_is_waited_for_while_stopping() -> None:
    """A heir in back-off used to pass for an end: exit 0 with transcripts not committed."""
    host = working()
    host.stop()
    host.run(5)
    host.starts_fail.add("broker")
    host.kill("broker")
    host.run(26)
    assert (host.ended, sorted(host.staged)) == (None, ["a", "b"])

    host.starts_fail.clear()
    host.run(30)

    assert host.ended is not None
    assert (host.ended.code, host.ended_as(m.Ending.DONE)) == (Exit.OK, ["a", "b"])


def test_worker_that_survives_sigkill_is_named_and_the_end_is_failed() -> None:
    host = Host(workers=2).begin("a", takes_s=500).run(10)
    stuck = host.slots_of("a")[0]
    host.worker(stuck).immortal = host.worker(stuck).stuck = True
    pid = host.worker(stuck).pid

    host.stop(within_s=30)
    host.run(120)

    assert host.ended is not None
    assert host.ended.code is Exit.FAILED
    assert host.ended.why == f"left behind, would not die: {stuck} (pid {pid})"
    assert host.alarms == [f"pid {pid} does not die after SIGKILL; its device is not used again"]


def test_drain_and_resume_mean_nothing_once_the_end_is_ordered() -> None:
    host = working()
    host.stop()
    host.post(Resume(()))
    host.drain("w0", next_=sl.Next.RESTART)
    host.run(110)

    assert host.ended is not None
    assert host.ended.code is Exit.OK
    assert host.slot("w0").restarts == 0


def test_notice_during_a_stop_brings_the_brokers_deadline_nearer_too() -> None:
    host = working()
    host.stop(within_s=110)

    host.drain(within_s=20)

    leaves = [word.deadline_at_s for word in host.broker.heard if isinstance(word, m.Leave)]
    assert leaves[-1] == host.now_s + 20


def test_job_in_line_is_given_back_when_the_only_worker_does_not_die() -> None:
    """A slot whose process survives SIGKILL takes nothing any more, though its process lives."""
    host = Host(workers=1).begin("a", "b", takes_s=300).run(10)
    host.worker("w0").immortal = True

    host.post(SlotEvent("w0", sl.Kill("stalled", fault=True)))
    host.run(60)

    assert host.slot("w0").state is sl.SlotState.KILLING
    assert host.ended_as(m.Ending.RELEASED) == ["b"]
