"""Shutdown of the service, on request or because it cannot work. PURE.

A stop ends when no child runs and no job is unsettled. A service that cannot work for long
(no broker, no ready worker) exits as failed, so that systemd and the fleet see it.
"""

from __future__ import annotations

from typing import Optional

from supervisor.contract.exits import Exit
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.events import BROKER, GPUWATCH, EndProcess, Mode, Stop
from supervisor.pool.state.slot_types import Slot, SlotState
from supervisor.pool.state.state import PoolState

BROKER_MISSED_MOST_S = 300.0
GIVE_UP_WITHIN_S = 10.0
BROKER_RESTARTS_MOST = 3  # while stopping
LISTEN_S = 1.0  # as a slot's policy has it


class Shutdown:
    """The progress of a stop, and the timers that start one."""

    def __init__(self, unready_most_s: Optional[float]) -> None:
        self._unready_most_s = unready_most_s
        self._unready_since_s: Optional[float] = None
        self._broker_missed_since_s: Optional[float] = None
        self._gave_up = ""
        self._late = False  # the deadline of a stop has passed
        self._listens_until_s = 0.0  # after a pause: unread messages are read before children are killed
        self._restarts_allowed = 0  # of the broker, while stopping

    def next_wakes_s(self, state: PoolState) -> list[Optional[float]]:
        """Return the times at which a timer of this rule expires."""
        wakes: list[Optional[float]] = []
        if self._broker_missed_since_s is not None and not self._gave_up:
            wakes.append(self._broker_missed_since_s + BROKER_MISSED_MOST_S)
        if self._unready_since_s is not None and self._unready_most_s is not None:
            wakes.append(self._unready_since_s + self._unready_most_s)
        if state.mode is Mode.STOPPING and not self._late:
            wakes.append(self._ends_at_s(state))
        return wakes

    def exclude_pause(self, lost_s: float, now_s: float) -> None:
        """Exclude the last `lost_s` seconds from the time without a broker or a ready worker."""
        if self._unready_since_s is not None:
            self._unready_since_s += lost_s
        if self._broker_missed_since_s is not None:
            self._broker_missed_since_s += lost_s
        self._listens_until_s = now_s + LISTEN_S

    def stop(self, state: PoolState, event: Stop, now_s: float) -> None:
        """Drain all workers and let the broker release the other jobs; a second stop kills at once."""
        again = state.mode is Mode.STOPPING
        if not again:
            self._begin_stop(state, event)
        state.bring_deadline_nearer(event.deadline_at_s, event.why)
        by_s = event.deadline_at_s if state.deadline_at_s is None else state.deadline_at_s
        for member in state.workers():
            order = sl.Kill(event.why, sl.Next.REST) if again else sl.BeginDrain(by_s, event.why)
            state.decide(member, order, now_s)
        for name, order in (
            (BROKER, sl.BeginDrain(by_s, event.why)),
            (GPUWATCH, sl.Kill(event.why, sl.Next.REST)),
        ):
            if name in state.members:
                state.decide(state.members[name], order, now_s)

    def _begin_stop(self, state: PoolState, stop: Stop) -> None:
        """A broker that dies from now on may be started again so many times, for what is owed."""
        state.mode = Mode.STOPPING
        if stop.fails:
            self._gave_up = stop.why
        if BROKER in state.members:
            self._restarts_allowed = state.members[BROKER].slot.restarts + BROKER_RESTARTS_MOST

    def after_event(self, state: PoolState, now_s: float) -> None:
        """Give up if a timer expired; complete a stop."""
        self._watch_broker(state, now_s)
        self._watch_readiness(state, now_s)
        if state.mode is Mode.STOPPING:
            self._finish_stop(state, now_s)

    def _watch_broker(self, state: PoolState, now_s: float) -> None:
        """Give up after too long without a broker."""
        broker = state.members.get(BROKER)
        if broker is None or broker.slot.state in (SlotState.READY, SlotState.DRAINING, SlotState.STOPPED):
            self._broker_missed_since_s = None
            return
        if self._broker_missed_since_s is None:
            self._broker_missed_since_s = now_s
        if now_s >= self._broker_missed_since_s + BROKER_MISSED_MOST_S:
            self._give_up(state, "no broker for 5 minutes", now_s)

    def _watch_readiness(self, state: PoolState, now_s: float) -> None:
        """Give up after too long without a ready worker; workers that were asked to stop do not count."""
        states = {w.slot.state for w in state.workers() if not _is_resting(w.slot)}
        ready = states & {SlotState.READY, SlotState.DRAINING} or (state.workers() and not states)
        if self._unready_most_s is None or state.mode is not Mode.RUNNING or ready:
            self._unready_since_s = None
            return
        if self._unready_since_s is None:
            self._unready_since_s = now_s
        if now_s >= self._unready_since_s + self._unready_most_s:
            self._give_up(state, f"no worker has been ready for {self._unready_most_s:.0f} s", now_s)

    def _give_up(self, state: PoolState, why: str, now_s: float) -> None:
        """Stop the service as failed, after releasing the jobs that can be released."""
        if not self._gave_up:
            self._gave_up = why
            state.note("error", "service gives up", {"event": "service-gives-up", "reason": why})
            self.stop(state, Stop(now_s + GIVE_UP_WITHIN_S, why), now_s)

    def _finish_stop(self, state: PoolState, now_s: float) -> None:
        """End the process once every job is finished or released, or the deadline has passed."""
        ends_at_s = self._ends_at_s(state)
        if not self._late and ends_at_s is not None and now_s >= ends_at_s:
            self._late = True
            for member in state.members.values():
                state.decide(member, sl.Kill("deadline reached", sl.Next.REST), now_s)
        alive = [x for x in state.members.values() if x.slot.state in sl.ALIVE]
        broker_restarts = BROKER in state.members and state.members[BROKER].slot.state is SlotState.BACKOFF
        if alive and all(x.slot.signalled is sl.Signalled.LOST for x in alive):
            names = ", ".join(
                f"{x.slot.name} (pid {x.slot.pid}{x.device and f' on {x.device}'})" for x in alive
            )
            state.end(EndProcess(Exit.FAILED, f"left behind, would not die: {names}"))
        elif not self._late and self._broker_is_missed(state):
            state.decide(state.members[BROKER], sl.Begin(), now_s)
        elif not alive and not broker_restarts:
            state.end(self._end_of_stop(state))

    def _ends_at_s(self, state: PoolState) -> Optional[float]:
        """Return the time at which a stop kills what still runs."""
        return None if state.deadline_at_s is None else max(state.deadline_at_s, self._listens_until_s)

    def _end_of_stop(self, state: PoolState) -> EndProcess:
        """No child is left: return OK if no job is left either."""
        if self._gave_up:
            return EndProcess(Exit.FAILED, self._gave_up)
        if not state.jobs.entries:
            return EndProcess(Exit.OK, "stopped")
        left = f"{len(state.jobs.entries)} jobs not given back; the queue shows them again later"
        return EndProcess(Exit.FAILED, left)

    def _broker_is_missed(self, state: PoolState) -> bool:
        """True if the broker exited during a stop with work left, which its successor must do."""
        broker = state.members.get(BROKER)
        owed = any(entry.pending is not None for entry in state.jobs.entries.values())
        resting = broker is not None and broker.slot.state is SlotState.STOPPED
        return owed and resting and broker is not None and broker.slot.restarts < self._restarts_allowed


def _is_resting(slot: Slot) -> bool:
    """Return whether the slot was asked to stop, which is no fault."""
    return slot.state is SlotState.STOPPED and slot.next is sl.Next.REST
