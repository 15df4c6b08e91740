"""The table of moves is the truth: what really happens is exactly what it names.

Walks every slot that can come to be, through every event and several spans of time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from supervisor.contract.exits import Exit
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.slot import decide
from supervisor.pool.state.slot_types import MOVES, Next, Policy, Slot, SlotState
from tests.pool.slot_states import World, moved

WORKER = Policy(
    start_s=2, silence_s=1, stall_s=2, hold_after=2, probe_s=1, backoff_first_s=0.5, backoff_most_s=1,
    calm_s=1, dump_s=1, gone_s=1, reserve_s=1,
)  # fmt: skip
BROKER = replace(WORKER, may_hold=False, drains_while_starting=True, reserve_s=0)
GPUWATCH = replace(WORKER, may_hold=False, may_leave_behind=True)
POLICIES = {"worker": WORKER, "broker": BROKER, "gpuwatch": GPUWATCH}
STEPS_S = (0.0, 1.0, 2.0)
FAR_S = 2.0  # beyond every budget above: moments further away are all alike


def events(now_s: float) -> Iterator[sl.Event]:
    """Every event, with each kind of content that could make a difference."""
    yield from (sl.Begin(), sl.Queued("why"), sl.Spawned(7), sl.BecameReady(), sl.FinishedJob(), sl.Tick())
    yield from (sl.SupervisorPaused(lost_s) for lost_s in (5.0, 4000.0))
    yield sl.LeftBehindExited()
    yield from (sl.HoldIt("why", hold) for hold in (sl.Hold.SETTINGS, sl.Hold.PROOF))
    yield sl.SpawnFailed("why", 1.0, blocked=True)
    yield from (sl.Heartbeat(moved) for moved in (True, False))
    yield sl.SpawnFailed("why", 1.0)
    for next_ in Next:
        yield from (sl.BeginDrain(now_s + by_s, "why", next_) for by_s in (0.0, 3.0))
        yield from (sl.Kill("why", next_, fault) for fault in (True, False))
    ends = (0, 1, -9, -11, Exit.RECYCLE, Exit.DEVICE_BROKEN, Exit.MODEL_BROKEN, Exit.SETTINGS_WRONG)
    for code in ends:
        yield sl.Exited(int(code), True, 1.0)
    yield sl.Exited(-6, True, 1.0, cure="Install it")
    yield from (sl.Exited(int(code), False, 1.0) for code in (1, Exit.DEVICE_BROKEN))


def seen_from_now(world: World, now_s: float) -> World:
    """The same world with `now_s` as zero, and all that can't matter any more left out."""

    def ahead(at_s: float) -> float:
        return max(-FAR_S, min(FAR_S, at_s - now_s))

    slot = world.slot
    lives = slot.state in sl.ALIVE
    own = replace(
        slot,
        reason="",
        pid=0,
        left_behind_pid=min(slot.left_behind_pid, 1),
        since_s=0.0,
        spawned_at_s=0.0,
        restarts=0,
        failures=min(slot.failures, WORKER.hold_after + 1),
        moved_at_s=ahead(slot.moved_at_s) if slot.state is SlotState.READY else 0.0,
        ready_at_s=ahead(slot.ready_at_s) if lives and slot.ready_at_s is not None else None,
        wake_at_s=None if slot.wake_at_s is None else ahead(slot.wake_at_s),
    )
    return World(own, world.process)


def walk(kind: str) -> dict[tuple[SlotState, SlotState], sl.Event]:
    """Visit all that can be reached from a new slot; give each move with an event that made it."""
    policy = POLICIES[kind]
    first = World(Slot("slot", kind))
    known, ahead = {first}, [first]
    made: dict[tuple[SlotState, SlotState], sl.Event] = {}
    while ahead:
        world = ahead.pop()
        for now_s in STEPS_S:
            for event in events(now_s):
                if not world.possible(event):
                    continue
                then, commands = world.take(event, policy, now_s)
                if moved(world.slot, then.slot, commands):
                    made[world.slot.state, then.slot.state] = event
                seen = seen_from_now(then, now_s)
                if seen not in known:
                    known.add(seen)
                    ahead.append(seen)
    assert len(known) > 100, "the walk went nowhere"
    return made


LEGAL = {(was, now) for was, nows in MOVES.items() for now in nows}


def test_the_table_names_every_state() -> None:
    assert set(MOVES) == set(SlotState)


def test_the_moves_really_made_are_those_of_the_table() -> None:
    """One test: the walk takes seconds, and tests side by side would each make it."""
    made = {kind: set(walk(kind)) for kind in POLICIES}

    for kind, moves in made.items():
        assert moves - LEGAL == set(), f"{kind} makes moves that the table does not allow"
    assert LEGAL - (made["worker"] | made["broker"]) == set(), "the table allows moves that nobody makes"
    # What may not be held is held by a person alone: HoldIt, before a process exists.
    to_held = {was for was, now in made["broker"] if now is SlotState.HELD}
    assert to_held == {SlotState.STOPPED, SlotState.BACKOFF}


@pytest.mark.parametrize("state", [s for s in SlotState if s not in sl.ALIVE])
@pytest.mark.parametrize(
    "event",
    [
        sl.Exited(-9),
        sl.Exited(int(Exit.DEVICE_BROKEN)),
        sl.Spawned(9),
        sl.SpawnFailed("late"),
        sl.BecameReady(),
        sl.Heartbeat(True),
        sl.Tick(),
    ],
)
def test_late_words_of_a_dead_process_move_nothing(state: SlotState, event: sl.Event) -> None:
    slot = Slot("slot", "worker", state, wake_at_s=None if state is SlotState.STOPPED else 10.0)

    after, commands = decide(slot, event, Policy(), now_s=5.0)

    assert (after.state, after.wake_at_s, commands) == (state, slot.wake_at_s, ())
