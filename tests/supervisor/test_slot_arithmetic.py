"""The figures of one slot's life, reckoned by hand: waits, budgets, deadlines, forgiveness."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from supervisor import slot as sl
from supervisor.contract.exits import Exit
from supervisor.slot import Hold, Next, Policy, Slot, SlotState

POLICY = Policy()  # the defaults are the product's: 180 s to start, 30 of silence, held after five
STACKS, KILL = sl.Signal(signal.SIGUSR2), sl.Signal(signal.SIGKILL)
CRASHED = -int(signal.SIGSEGV)


class Life:
    """A slot and a clock that moves; `said` holds what the last event ordered."""

    def __init__(self, kind: str = "worker", policy: Policy = POLICY) -> None:
        self.slot = Slot("gpu0", kind)
        self.policy = policy
        self.now_s = 1000.0
        self.said: tuple[sl.Command, ...] = ()

    def take(self, *events: sl.Event) -> Life:
        for event in events:
            self.slot, self.said = sl.decide(self.slot, event, self.policy, self.now_s)
        return self

    def after(self, by_s: float, *events: sl.Event) -> Life:
        self.now_s += by_s
        return self.take(*events)

    def due(self) -> Life:
        """Let the moment come that the slot asked for."""
        assert self.slot.wake_at_s is not None
        self.now_s = max(self.now_s, self.slot.wake_at_s)
        return self.take(sl.Tick())

    def crash(self, jitter_ratio: float = 1.0, charged: bool = True) -> Life:
        return self.take(sl.Exited(CRASHED, charged, jitter_ratio))

    @property
    def state(self) -> SlotState:
        return self.slot.state

    @property
    def waits_s(self) -> float:
        assert self.slot.wake_at_s is not None
        return self.slot.wake_at_s - self.now_s


def started(**policy: float) -> Life:
    return Life(policy=replace(POLICY, **policy)).take(sl.Begin(), sl.Spawned(41))  # type: ignore[arg-type]  # lengths only


def ready(**policy: float) -> Life:
    return started(**policy).after(5, sl.BecameReady())


# --- back-off -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failures", "most_s"), [(1, 1), (2, 2), (3, 4), (4, 8), (6, 32), (7, 60), (31, 60), (10**6, 60)]
)
def test_backoff_doubles_from_one_second_to_a_minute_and_is_drawn_by_full_jitter(
    failures: int, most_s: float
) -> None:
    assert sl.backoff_s(failures, 1.0, POLICY) == most_s
    assert sl.backoff_s(failures, 0.25, POLICY) == most_s / 4
    assert sl.backoff_s(failures, 0.0, POLICY) == 0


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


def held_by_crashes() -> Life:
    life = started().crash()
    for _ in range(4):
        life.due().take(sl.Spawned(42)).crash()
    return life


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

    life.take(sl.Drain(by_s, "drain"))
    assert (life.state, life.said, life.waits_s) == (SlotState.DRAINING, (sl.TellDrain(by_s),), 105.0)

    life.due()
    assert (life.state, life.said) == (SlotState.KILLING, (KILL,))
    assert life.take(sl.Exited(-9)).state is SlotState.STOPPED


def test_the_earliest_deadline_wins_in_whatever_order_they_come() -> None:
    life = ready()
    begun_s = life.now_s

    life.take(sl.Drain(begun_s + 60, "first"), sl.Drain(begun_s + 90, "later"))
    assert (life.slot.wake_at_s, life.said) == (begun_s + 55, ())

    life.take(sl.Drain(begun_s + 20, "sooner"))
    assert (life.slot.wake_at_s, life.said) == (begun_s + 15, (sl.TellDrain(begun_s + 20),))


def test_deadline_in_the_past_means_at_once() -> None:
    life = ready()

    life.take(sl.Drain(life.now_s - 50, "late notice"))
    assert life.waits_s == 0

    assert life.due().said == (KILL,)


def test_worker_that_still_starts_has_nothing_to_finish_and_is_killed() -> None:
    life = started().take(sl.Drain(2000.0, "drain"))

    assert (life.state, life.said) == (SlotState.KILLING, (KILL,))
    assert life.take(sl.Exited(-9)).state is SlotState.STOPPED


def test_broker_that_still_starts_may_hold_leases_and_is_asked_to_leave() -> None:
    policy = replace(POLICY, may_hold=False, reserve_s=0.0, drains_while_starting=True)
    life = Life("broker", policy).take(sl.Begin(), sl.Spawned(41), sl.Drain(1100.0, "stop"))

    assert (life.state, life.said, life.waits_s) == (SlotState.DRAINING, (sl.TellDrain(1100.0),), 100.0)


def test_drain_for_a_restart_starts_again_uncounted() -> None:
    life = ready().take(sl.Drain(2000.0, "restart", Next.RESTART), sl.Exited(0))

    assert (life.state, life.slot.failures, life.slot.restarts) == (SlotState.STARTING, 0, 1)


def test_crash_while_draining_for_a_restart_is_counted() -> None:
    life = ready().take(sl.Drain(2000.0, "restart", Next.RESTART)).crash()

    assert life.slot.failures == 1


@pytest.mark.parametrize("held", [True, False])
def test_drain_for_a_restart_leaves_a_slot_without_a_process_as_it_is(held: bool) -> None:
    """A reload used to put a slot in back-off to rest for ever."""
    life = held_by_crashes() if held else started().crash()
    was = life.slot

    life.take(sl.Drain(2000.0, "reload", Next.RESTART))

    assert (life.slot, life.said) == (was, ())


def test_resume_lets_a_draining_worker_finish_and_start_again() -> None:
    life = ready().take(sl.Drain(2000.0, "drain"), sl.Begin())
    assert life.state is SlotState.DRAINING

    assert life.take(sl.Exited(0)).state is SlotState.STARTING


def test_order_to_rest_outlives_a_link_that_breaks_later() -> None:
    """A broken link while a drained worker was being killed used to start it again."""
    life = ready().take(sl.Drain(1010.0, "drain")).due()
    assert life.state is SlotState.KILLING

    life.take(sl.Kill("it sent what is no message", fault=True), sl.Exited(-9))

    assert (life.state, life.said) == (SlotState.STOPPED, ())


def test_start_that_fails_after_the_order_to_stop_ends_in_rest() -> None:
    """It used to wait for the reaping of a process that never was, and raise an alarm about pid 0."""
    life = Life().take(sl.Begin(), sl.Drain(1100.0, "stop"), sl.SpawnFailed("no such file"))

    assert (life.state, life.slot.wake_at_s) == (SlotState.STOPPED, None)


def test_kill_that_was_ordered_is_not_a_failure_but_a_broken_link_is() -> None:
    ordered = ready().take(sl.Kill("restart asked for"), sl.Exited(-9))
    broken = ready().take(sl.Kill("it sent what is no message", fault=True), sl.Exited(-9))

    assert (ordered.state, ordered.slot.failures) == (SlotState.STARTING, 0)
    assert (broken.state, broken.slot.failures) == (SlotState.STARTING, 1)
