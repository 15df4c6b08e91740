"""Hypothesis picks orders and times for one slot; what must always hold is checked after each step."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from supervisor.contract.exits import Exit
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.slot_types import Next, Policy, Slot, SlotState
from tests.pool.slot_states import World

CODES = st.sampled_from([0, 1, -6, -9, -11, *map(int, (Exit.RECYCLE, Exit.DEVICE_BROKEN, Exit.MODEL_BROKEN))])
RATIOS = st.floats(0, 1)
SPANS_S = st.floats(0, 400)
KINDS = {
    "worker": Policy(),
    "broker": replace(Policy(), may_hold=False, reserve_s=0.0, drains_while_starting=True),
}


class SlotLife(RuleBasedStateMachine):
    @initialize(kind=st.sampled_from(sorted(KINDS)))
    def make(self, kind: str) -> None:
        self.policy = KINDS[kind]
        self.world = World(Slot("slot", kind))
        self.now_s = 1000.0

    def take(self, event: sl.Event) -> None:
        if self.world.possible(event):
            self.world, _ = self.world.take(event, self.policy, self.now_s)

    @rule(by_s=SPANS_S)
    def wait(self, by_s: float) -> None:
        self.now_s += by_s
        self.take(sl.Tick())

    @rule()
    def sleep_until_due(self) -> None:
        wake_at_s = self.world.slot.wake_at_s
        if wake_at_s is not None:
            self.now_s = max(self.now_s, wake_at_s)
            self.take(sl.Tick())
            after = self.world.slot.wake_at_s
            assert after is None or after > self.now_s or after != wake_at_s, "a wake that changes nothing"

    @rule(by_s=SPANS_S)
    def nobody_listens(self, by_s: float) -> None:
        """A pause of the supervisor kills and begins nothing, however long it was."""
        self.now_s += by_s
        if self.world.possible(sl.SupervisorPaused(by_s)):
            was = self.world.slot
            self.world, commands = self.world.take(sl.SupervisorPaused(by_s), self.policy, self.now_s)
            assert (commands, self.world.slot.state) == ((), was.state)

    @rule()
    def begin(self) -> None:
        self.take(sl.Begin())

    @precondition(lambda self: self.world.process == "ordered")
    @rule(works=st.booleans(), ratio=RATIOS)
    def answer_the_start(self, works: bool, ratio: float) -> None:
        self.take(sl.Spawned(77) if works else sl.SpawnFailed("no", ratio))

    @rule()
    def wait_in_line(self) -> None:
        self.take(sl.Queued("others load"))

    @precondition(lambda self: self.world.process == "running")
    @rule(what=st.sampled_from([sl.BecameReady(), sl.Heartbeat(True), sl.Heartbeat(False), sl.FinishedJob()]))
    def child_speaks(self, what: sl.Event) -> None:
        self.take(what)

    @precondition(lambda self: self.world.process == "running")
    @rule(code=CODES, charged=st.booleans(), ratio=RATIOS)
    def child_ends(self, code: int, charged: bool, ratio: float) -> None:
        self.take(sl.Exited(code, charged, ratio))

    @rule(by_s=st.floats(-10, 200), next_=st.sampled_from(Next))
    def drain(self, by_s: float, next_: Next) -> None:
        self.take(sl.BeginDrain(self.now_s + by_s, "drain", next_))

    @rule(next_=st.sampled_from(Next), fault=st.booleans())
    def kill(self, next_: Next, fault: bool) -> None:
        self.take(sl.Kill("kill", next_, fault))

    @rule()
    def hold(self) -> None:
        self.take(sl.HoldIt("no model"))

    @rule(order_again=st.booleans(), code=CODES, breaks=st.booleans(), ratio=RATIOS)
    def drained_slot_always_comes_to_rest(
        self, order_again: bool, code: int, breaks: bool, ratio: float
    ) -> None:
        """From wherever it is: told to rest, it rests, whatever its process does on the way."""
        self.take(sl.BeginDrain(self.now_s + 50, "drain", Next.REST))
        if self.world.process == "ordered" and order_again:
            self.take(sl.SpawnFailed("no", ratio))
        self.take(sl.Spawned(78))
        if breaks:
            self.take(sl.Kill("its link broke", fault=True))
        if order_again:
            self.take(sl.BeginDrain(self.now_s + 10, "drain", Next.REST))
        self.sleep_until_due()
        self.take(sl.Exited(code, True, ratio))
        assert self.world.slot.state is SlotState.STOPPED

    @invariant()
    def holds(self) -> None:
        self.world.check()
        slot = self.world.slot
        if slot.wake_at_s is not None and slot.state is SlotState.BACKOFF:
            assert slot.wake_at_s - slot.since_s <= self.policy.backoff_most_s
        if not self.policy.may_hold:
            assert slot.hold in (sl.Hold.NO, sl.Hold.SETTINGS)


SlotLife.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestSlotLife = SlotLife.TestCase
