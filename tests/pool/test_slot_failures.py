"""What failed lives cost a slot, reckoned by hand: waits, holds, forgiveness."""

from __future__ import annotations

from dataclasses import replace

import pytest

from supervisor.contract.exits import Exit
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.slot import backoff_s, decide
from supervisor.pool.state.slot_types import Hold, SlotState
from tests.pool.slot_life import (
    CRASHED,
    POLICY,
    Life,
    held_by_crashes,
    ready,
    started,
)

# --- back-off -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failures", "most_s"), [(1, 1), (2, 2), (3, 4), (4, 8), (6, 32), (7, 60), (31, 60), (10**6, 60)]
)
def test_backoff_doubles_from_one_second_to_a_minute_and_is_drawn_by_full_jitter(
    failures: int, most_s: float
) -> None:
    assert backoff_s(failures, 1.0, POLICY) == most_s
    assert backoff_s(failures, 0.25, POLICY) == most_s / 4
    assert backoff_s(failures, 0.0, POLICY) == 0


def test_first_crash_after_a_life_that_was_ready_is_followed_by_a_start_at_once() -> None:
    life = ready().crash()

    assert (life.state, life.said, life.slot.restarts) == (SlotState.STARTING, (sl.Spawn(),), 1)
    assert life.slot.failures == 1


def test_second_crash_of_a_short_life_waits() -> None:
    life = ready().crash().take(sl.Spawned(42)).after(5, sl.BecameReady()).crash(0.5)

    assert (life.state, life.waits_s, life.said) == (SlotState.BACKOFF, 1.0, ())  # half of two seconds


def test_life_that_never_got_ready_waits_from_the_first_crash_on() -> None:
    life = started().crash()

    assert (life.state, life.waits_s) == (SlotState.BACKOFF, 1.0)


def test_backoff_ends_in_a_start_when_its_moment_comes_and_not_before() -> None:
    life = started().crash()

    assert life.after(0.9, sl.Tick()).state is SlotState.BACKOFF
    assert life.due().state is SlotState.STARTING
    assert life.said == (sl.Spawn(),)


def test_spawn_that_fails_counts_as_a_failed_life() -> None:
    life = Life().take(sl.Begin(), sl.SpawnFailed("the place is taken by pid 9"))

    assert (life.state, life.slot.failures, life.waits_s) == (SlotState.BACKOFF, 1, 1.0)
    assert life.slot.reason == "the place is taken by pid 9"


# --- held ---------------------------------------------------------------------------


def test_fifth_failed_life_in_a_row_holds_the_slot_and_the_fourth_does_not() -> None:
    life = started().crash()
    for failures in (2, 3, 4):
        life.due().take(sl.Spawned(42)).crash()
        assert (life.state, life.slot.failures) == (SlotState.BACKOFF, failures)

    life.due().take(sl.Spawned(43)).crash()

    assert (life.state, life.slot.hold, life.waits_s) == (SlotState.HELD, Hold.CRASH_LOOP, 300.0)
    assert life.slot.reason == "5 failed lives in a row, last: killed by SIGSEGV"


def test_held_slot_is_probed_once_in_five_minutes_and_held_again_if_the_probe_fails() -> None:
    life = held_by_crashes()

    assert life.after(299, sl.Tick()).state is SlotState.HELD
    assert life.due().state is SlotState.STARTING
    assert life.take(sl.Spawned(44)).crash().state is SlotState.HELD
    assert life.waits_s == 300.0


def test_probe_that_gets_ready_and_crashes_at_once_is_held_again() -> None:
    life = held_by_crashes().due().take(sl.Spawned(44), sl.BecameReady()).after(1).crash()

    assert life.state is SlotState.HELD


def test_probe_that_finishes_a_job_is_a_slot_like_any_other() -> None:
    life = held_by_crashes().due().take(sl.Spawned(44), sl.BecameReady(), sl.FinishedJob()).crash()

    assert (life.state, life.slot.failures) == (SlotState.STARTING, 1)


def test_calm_minute_forgets_what_was_before() -> None:
    life = ready().crash().take(sl.Spawned(42), sl.BecameReady())
    assert life.slot.failures == 1

    life.after(60).crash()

    assert (life.state, life.slot.failures) == (SlotState.STARTING, 1)


def test_a_second_less_than_a_calm_minute_forgets_nothing() -> None:
    life = ready().crash().take(sl.Spawned(42), sl.BecameReady()).after(59).crash()

    assert (life.state, life.slot.failures) == (SlotState.BACKOFF, 2)


@pytest.mark.parametrize(
    ("code", "hold", "wakes"),
    [
        (Exit.DEVICE_BROKEN, Hold.DEVICE, True),
        (Exit.MODEL_BROKEN, Hold.SETTINGS, False),
        (Exit.SETTINGS_WRONG, Hold.SETTINGS, False),
    ],
)
@pytest.mark.parametrize("charged", [True, False])
def test_worker_that_says_what_is_wrong_is_held_for_it_whatever_job_it_had(
    code: Exit, hold: Hold, wakes: bool, charged: bool
) -> None:
    """A broken device used to be started again at once when a suspect job was at hand."""
    life = started().take(sl.Exited(int(code), charged))

    assert (life.state, life.slot.hold, life.said) == (SlotState.HELD, hold, ())
    assert (life.slot.wake_at_s == life.now_s + 300.0) if wakes else life.slot.wake_at_s is None


@pytest.mark.parametrize("event", [sl.Tick(), sl.BecameReady(), sl.Heartbeat(), sl.HoldIt("x"), sl.Exited(1)])
def test_hold_for_the_settings_is_ended_by_nothing_but_a_person(event: sl.Event) -> None:
    life = started().take(sl.Exited(int(Exit.MODEL_BROKEN))).after(10**6, event)

    assert life.state is SlotState.HELD
    assert life.take(sl.Begin()).state is SlotState.STARTING


def test_begin_forgives_all_failures() -> None:
    life = held_by_crashes().take(sl.Begin())

    assert (life.state, life.slot.failures, life.slot.hold) == (SlotState.STARTING, 0, Hold.NO)


@pytest.mark.parametrize("code", [1, CRASHED, Exit.DEVICE_BROKEN, Exit.MODEL_BROKEN, Exit.SETTINGS_WRONG])
def test_broker_is_never_held(code: int) -> None:
    life = Life("broker", replace(POLICY, may_hold=False, backoff_most_s=10.0)).take(sl.Begin())
    for _ in range(12):
        life.take(sl.Spawned(42), sl.Exited(int(code)))
        assert life.state is SlotState.BACKOFF
        assert life.waits_s <= 10.0
        life.due()


@pytest.mark.parametrize(
    "exited", [sl.Exited(int(Exit.RECYCLE)), sl.Exited(CRASHED, charged=False)], ids=["recycled", "suspect"]
)
def test_end_that_is_nobodys_fault_is_followed_by_a_start_and_not_counted(exited: sl.Exited) -> None:
    life = started()
    for _ in range(10):
        life.take(exited, sl.Spawned(42))

    assert (life.state, life.slot.failures, life.slot.restarts) == (SlotState.STARTING, 0, 10)


def test_slot_that_waits_for_proof_is_not_tried_again_by_the_clock() -> None:
    """It was held for a crash loop, to be probed every five minutes; then its device was found broken."""
    looping = sl.Slot("gpu0", "worker", sl.SlotState.HELD, hold=sl.Hold.CRASH_LOOP, wake_at_s=1300.0)

    held, commands = decide(looping, sl.HoldIt("XID 79", sl.Hold.PROOF), sl.Policy(), 1000.0)
    later, more = decide(held, sl.Tick(), sl.Policy(), 9999.0)

    assert (held.wake_at_s, commands) == (None, ())
    assert (later.state, more) == (sl.SlotState.HELD, ())
