"""How long a slot may be silent, stuck, starting or draining, reckoned by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.slot_types import Next, SlotState
from tests.pool.slot_life import (
    KILL,
    POLICY,
    STACKS,
    Life,
    held_by_crashes,
    ready,
    started,
)

# --- silence, stall, start-up ---------------------------------------------------------


def test_worker_that_falls_silent_is_asked_for_its_stacks_after_30_s_and_killed_2_s_later() -> None:
    life = ready().after(10, sl.Heartbeat())
    assert life.waits_s == 30.0

    life.due()
    assert (life.state, life.said, life.waits_s) == (SlotState.KILLING, (STACKS,), 2.0)
    assert life.slot.reason == "silent for 30 s"

    life.due()
    assert (life.said, life.waits_s) == ((KILL,), 5.0)


def test_worker_that_talks_but_gets_nowhere_is_killed_after_300_s() -> None:
    life = ready()
    for _ in range(29):
        life.after(10, sl.Heartbeat(moved=False))
        assert life.state is SlotState.READY
    assert life.waits_s == 10.0

    life.after(5, sl.Heartbeat(moved=False)).due()

    assert (life.state, life.said) == (SlotState.KILLING, (STACKS,))
    assert life.slot.reason == "no progress for 300 s"


def test_budget_follows_the_phase_and_the_reason_names_it() -> None:
    life = ready()
    for _ in range(5):
        life.after(10, sl.Heartbeat(False, 60.0, "decoding"))
    assert life.waits_s == 10.0

    life.after(5, sl.Heartbeat(False, 300.0, "transcribing"))
    assert life.waits_s == 30.0

    life.after(5, sl.Heartbeat(False, 60.0, "writing")).due()
    assert life.slot.reason == "no progress for 60 s while writing"


def test_progress_starts_the_budget_anew() -> None:
    life = ready().after(20, sl.Heartbeat(moved=False)).after(5, sl.Heartbeat(moved=True))

    assert (life.waits_s, life.slot.moved_at_s) == (30.0, life.now_s)


def test_model_that_never_finishes_loading_is_killed_and_counted() -> None:
    life = started().after(179, sl.Tick())
    assert life.state is SlotState.STARTING

    life.due()
    assert (life.said, life.slot.reason) == ((STACKS,), "not ready within 180 s")

    life.due().take(sl.Exited(-9))
    assert (life.state, life.slot.failures) == (SlotState.BACKOFF, 1)


def test_stalled_worker_counts_as_a_failed_life() -> None:
    life = ready().due().due().take(sl.Exited(-9))

    assert (life.state, life.slot.failures) == (SlotState.STARTING, 1)
    assert life.slot.reason == "silent for 30 s; killed by SIGKILL"


def test_hanging_broker_is_killed_without_stacks_and_counted() -> None:
    """It used to be started again at once for ever: only crashes were counted."""
    life = Life("broker", replace(POLICY, may_hold=False)).take(sl.Begin(), sl.Spawned(41)).due()

    assert (life.state, life.said) == (SlotState.KILLING, (KILL,))
    assert life.take(sl.Exited(-9)).state is SlotState.BACKOFF
    assert life.slot.failures == 1


def test_process_that_survives_sigkill_raises_an_alarm_after_5_s_and_is_never_replaced() -> None:
    life = ready().take(sl.Kill("told to"))
    assert (life.said, life.waits_s) == ((KILL,), 5.0)

    life.due()
    assert life.said == (sl.Alarm("pid 41 does not die after SIGKILL; its device is not used again"),)
    assert (life.slot.signalled, life.slot.wake_at_s) == ("lost", None)

    life.after(10**6, sl.Tick(), sl.Begin(), sl.Kill("again"))
    assert (life.state, life.said) == (SlotState.KILLING, (KILL,))
    assert life.take(sl.Exited(-9)).state is SlotState.STARTING


# --- drain, kill ----------------------------------------------------------------------


def test_drained_worker_is_told_the_deadline_and_killed_5_s_before_it() -> None:
    life = ready()
    by_s = life.now_s + 110

    life.take(sl.BeginDrain(by_s, "drain"))
    assert (life.state, life.said, life.waits_s) == (SlotState.DRAINING, (sl.TellDrain(by_s),), 105.0)

    life.due()
    assert (life.state, life.said) == (SlotState.KILLING, (KILL,))
    assert life.take(sl.Exited(-9)).state is SlotState.STOPPED


def test_the_earliest_deadline_wins_in_whatever_order_they_come() -> None:
    life = ready()
    begun_s = life.now_s

    life.take(sl.BeginDrain(begun_s + 60, "first"), sl.BeginDrain(begun_s + 90, "later"))
    assert (life.slot.wake_at_s, life.said) == (begun_s + 55, ())

    life.take(sl.BeginDrain(begun_s + 20, "sooner"))
    assert (life.slot.wake_at_s, life.said) == (begun_s + 15, (sl.TellDrain(begun_s + 20),))


def test_deadline_in_the_past_means_at_once() -> None:
    life = ready()

    life.take(sl.BeginDrain(life.now_s - 50, "late notice"))
    assert life.waits_s == 0

    assert life.due().said == (KILL,)


def test_worker_that_still_starts_has_nothing_to_finish_and_is_killed() -> None:
    life = started().take(sl.BeginDrain(2000.0, "drain"))

    assert (life.state, life.said) == (SlotState.KILLING, (KILL,))
    assert life.take(sl.Exited(-9)).state is SlotState.STOPPED


def test_broker_that_still_starts_may_hold_leases_and_is_asked_to_leave() -> None:
    policy = replace(POLICY, may_hold=False, reserve_s=0.0, drains_while_starting=True)
    life = Life("broker", policy).take(sl.Begin(), sl.Spawned(41), sl.BeginDrain(1100.0, "stop"))

    assert (life.state, life.said, life.waits_s) == (SlotState.DRAINING, (sl.TellDrain(1100.0),), 100.0)


def test_drain_for_a_restart_starts_again_uncounted() -> None:
    life = ready().take(sl.BeginDrain(2000.0, "restart", Next.RESTART), sl.Exited(0))

    assert (life.state, life.slot.failures, life.slot.restarts) == (SlotState.STARTING, 0, 1)


def test_crash_while_draining_for_a_restart_is_counted() -> None:
    life = ready().take(sl.BeginDrain(2000.0, "restart", Next.RESTART)).crash()

    assert life.slot.failures == 1


@pytest.mark.parametrize("held", [True, False])
def test_drain_for_a_restart_leaves_a_slot_without_a_process_as_it_is(held: bool) -> None:
    """A reload used to put a slot in back-off to rest for ever."""
    life = held_by_crashes() if held else started().crash()
    was = life.slot

    life.take(sl.BeginDrain(2000.0, "reload", Next.RESTART))

    assert (life.slot, life.said) == (was, ())


def test_resume_lets_a_draining_worker_finish_and_start_again() -> None:
    life = ready().take(sl.BeginDrain(2000.0, "drain"), sl.Begin())
    assert life.state is SlotState.DRAINING

    assert life.take(sl.Exited(0)).state is SlotState.STARTING


def test_order_to_rest_outlives_a_link_that_breaks_later() -> None:
    """A broken link while a drained worker was being killed used to start it again."""
    life = ready().take(sl.BeginDrain(1010.0, "drain")).due()
    assert life.state is SlotState.KILLING

    life.take(sl.Kill("it sent what is no message", fault=True), sl.Exited(-9))

    assert (life.state, life.said) == (SlotState.STOPPED, ())


def test_start_that_fails_after_the_order_to_stop_ends_in_rest() -> None:
    """It used to wait for the reaping of a process that never was, and raise an alarm about pid 0."""
    life = Life().take(sl.Begin(), sl.BeginDrain(1100.0, "stop"), sl.SpawnFailed("no such file"))

    assert (life.state, life.slot.wake_at_s) == (SlotState.STOPPED, None)


def test_kill_that_was_ordered_is_not_a_failure_but_a_broken_link_is() -> None:
    ordered = ready().take(sl.Kill("restarted by operator"), sl.Exited(-9))
    broken = ready().take(sl.Kill("it sent what is no message", fault=True), sl.Exited(-9))

    assert (ordered.state, ordered.slot.failures) == (SlotState.STARTING, 0)
    assert (broken.state, broken.slot.failures) == (SlotState.STARTING, 1)
