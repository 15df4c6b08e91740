"""One slot and the process in it: carries commands out in thought, and fails loudly at nonsense.

A process that is started twice, or a slot that counts as alive without one, is an error at
the moment it happens, whichever test brings it about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.slot import decide
from supervisor.pool.state.slot_types import SlotState


@dataclass(frozen=True)
class World:
    """What is true beside the slot's own word: `process` is none, ordered or running."""

    slot: sl.Slot
    process: str = "none"

    def possible(self, event: sl.Event) -> bool:
        """Say whether the outside can bring this event about now."""
        if isinstance(event, (sl.Spawned, sl.SpawnFailed)):
            return self.process == "ordered"
        if isinstance(event, sl.LeftBehindExited):
            return bool(self.slot.left_behind_pid)
        if isinstance(event, sl.Queued):  # before its first life, or in line for the next
            return self.process == "ordered" or self.slot.state is SlotState.STOPPED
        return self.process == "running" or not isinstance(event, sl.Exited)

    def take(self, event: sl.Event, policy: sl.Policy, now_s: float) -> tuple[World, tuple[sl.Command, ...]]:
        """Let the event happen; give what is true then and what was ordered."""
        process = self.process
        if isinstance(event, sl.Spawned):
            process = "running"
        elif isinstance(event, (sl.SpawnFailed, sl.Exited)):
            process = "none"
        slot, commands = decide(self.slot, event, policy, now_s)
        for command in commands:
            if isinstance(command, sl.LeaveBehind):
                process = "none"
            if isinstance(command, sl.Spawn):
                assert process == "none", f"started twice by {event} in {self.slot}"
                process = "ordered"
        world = World(slot, process)
        world.check(event)
        return world, commands

    def check(self, event: Optional[sl.Event] = None) -> None:
        """What holds in every moment of every life."""
        slot = self.slot
        assert (slot.state in sl.ALIVE) == (self.process != "none"), (event, self)
        assert (slot.hold is not sl.Hold.NO) == (slot.state is SlotState.HELD), (event, self)
        assert slot.failures >= 0
        if slot.wake_at_s is None:
            resting = slot.state is SlotState.STOPPED
            lost = slot.state is SlotState.KILLING and slot.signalled == "lost"
            queued = slot.state is SlotState.STARTING and self.process == "ordered"
            by_others = slot.hold in (sl.Hold.SETTINGS, sl.Hold.PROOF)
            assert resting or lost or queued or by_others, (event, self)


def moved(was: sl.Slot, now: sl.Slot, commands: tuple[sl.Command, ...]) -> bool:
    """Say whether the slot made a move: to another state, or to its next life."""
    return was.state is not now.state or any(isinstance(command, sl.Spawn) for command in commands)
