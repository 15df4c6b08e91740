"""One slot and a clock that moves: a life told event by event."""

from __future__ import annotations

import signal
from dataclasses import replace

from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.slot import decide
from supervisor.pool.state.slot_types import Policy, Slot, SlotState

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
            self.slot, self.said = decide(self.slot, event, self.policy, self.now_s)
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


def held_by_crashes() -> Life:
    life = started().crash()
    for _ in range(4):
        life.due().take(sl.Spawned(42)).crash()
    return life
