"""Draws the moves of a slot and the events that make them, from `decide` itself, into `architecture.md`.

    python -m docs.draw_slot      from the top of the repository

Lives of a worker, a broker and a gpuwatch are led into every state, and every event is tried there, now and
when the slot's own time has come. States that differ in figures alone are tried once, so this takes a second;
`tests/pool/test_slot.py` proves the table of moves on all of them.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from docs.draw_rooms import PAGE, put
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.slot_types import MOVES, SlotState
from tests.pool.slot_states import World, moved
from tests.pool.test_slot import POLICIES, events

Move = tuple[SlotState, SlotState]
HOLD_AFTER = 3  # enough for a back-off between the first failure and the hold


def slot() -> str:
    """Give the picture of a slot's life as a block of Mermaid."""
    found = made()
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> STOPPED"]
    for was in SlotState:
        for now in (state for state in SlotState if state in MOVES[was]):
            names = ", ".join(_label(name, kinds) for name, kinds in sorted(found[was, now].items()))
            lines.append(f"    {was.name} --> {now.name}: {names}")
    return "\n".join([*lines, "```"])


def made() -> Mapping[Move, Mapping[str, set[str]]]:
    """Give each move that is really made: the events that make it, and the kinds of children."""
    found: dict[Move, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for kind in POLICIES:
        for move, name in _moves_of(kind):
            found[move][name].add(kind)
    return found


def _moves_of(kind: str) -> set[tuple[Move, str]]:
    first = World(sl.Slot("slot", kind))
    policy = replace(POLICIES[kind], hold_after=HOLD_AFTER)
    known, ahead, found = {_gist(first)}, [(first, 0.0)], set()
    while ahead:
        world, at_s = ahead.pop()
        for now_s in {at_s, max(at_s, world.slot.wake_at_s or 0.0)}:
            for event in events(now_s):
                if not _can_come(world, event):
                    continue
                then, commands = world.take(event, policy, now_s)
                if moved(world.slot, then.slot, commands):
                    found.add(((world.slot.state, then.slot.state), type(event).__name__))
                if _gist(then) not in known:
                    known.add(_gist(then))
                    ahead.append((then, now_s))
    return found


def _can_come(world: World, event: sl.Event) -> bool:
    """Say whether the event can come about: nobody is heard before he was started."""
    is_heard = isinstance(event, (sl.BecameReady, sl.Heartbeat, sl.FinishedJob))
    return world.possible(event) and not (is_heard and world.process != "running")


def _gist(world: World) -> tuple[object, ...]:
    """Give what of a world decides which moves it can make."""
    slot = world.slot
    failures = min(slot.failures, HOLD_AFTER)
    past = failures, slot.ready_at_s is None, slot.wake_at_s is None, bool(slot.left_behind_pid)
    return slot.state, slot.next, slot.hold, slot.signalled, slot.at_fault, world.process, past


def _label(event: str, kinds: set[str]) -> str:
    return event if "worker" in kinds else f"{event} ({', '.join(sorted(kinds))})"


if __name__ == "__main__":
    PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), "slot", slot()), encoding="utf-8")
    sys.stdout.write(f"drawn: {PAGE.name}\n")
