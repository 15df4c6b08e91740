"""How the service comes to its end: told to, or because it can't work. PURE.

A stop is over when nobody lives and nothing is owed. A service that can't work for long
(no broker, no ready worker) gives up: it ends as failed, so that systemd and the fleet see it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from supervisor import slot as sl
from supervisor.contract.exits import Exit
from supervisor.pool_types import BROKER, EndProcess, Mode, Stop
from supervisor.slot import Slot, SlotState

if TYPE_CHECKING:
    from supervisor.pool import Pool

BROKER_MISSED_MOST_S = 300.0
GIVE_UP_WITHIN_S = 10.0
BROKER_RESTARTS_MOST = 3  # while stopping
LISTEN_S = 1.0  # as a slot's policy has it


class Ending:
    """What is known of the end while it comes nearer."""

    def __init__(self, unready_most_s: Optional[float]) -> None:
        self._unready_most_s = unready_most_s
        self._unready_since_s: Optional[float] = None
        self._broker_missed_since_s: Optional[float] = None
        self._gave_up = ""
        self._late = False  # a stop's deadline has passed
        self._listens_until_s = 0.0  # after a pause: what children said is read before they are killed
        self._restarts_allowed = 0  # of the broker, while stopping

    def next_wakes_s(self, pool: Pool) -> list[Optional[float]]:
        """Say when it must be looked at again."""
        wakes: list[Optional[float]] = []
        if self._broker_missed_since_s is not None and not self._gave_up:
            wakes.append(self._broker_missed_since_s + BROKER_MISSED_MOST_S)
        if self._unready_since_s is not None and self._unready_most_s is not None:
            wakes.append(self._unready_since_s + self._unready_most_s)
        if pool.mode is Mode.STOPPING and not self._late:
            wakes.append(self._ends_at_s(pool))
        return wakes

    def pass_over(self, lost_s: float, now_s: float) -> None:
        """Let the last `lost_s` seconds not count as a time without broker or worker."""
        if self._unready_since_s is not None:
            self._unready_since_s += lost_s
        if self._broker_missed_since_s is not None:
            self._broker_missed_since_s += lost_s
        self._listens_until_s = now_s + LISTEN_S

    def stop_begins(self, pool: Pool, stop: Stop) -> None:
        """A broker that dies from now on may be started again so many times, for what is owed."""
        if stop.fails:
            self._gave_up = stop.why
        if BROKER in pool.members:
            self._restarts_allowed = pool.members[BROKER].slot.restarts + BROKER_RESTARTS_MOST

    def settle(self, pool: Pool, now_s: float) -> None:
        """Give up where there is reason to; bring a stop to its end."""
        self._watch_broker(pool, now_s)
        self._watch_readiness(pool, now_s)
        if pool.mode is Mode.STOPPING:
            self._finish_stop(pool, now_s)

    def _watch_broker(self, pool: Pool, now_s: float) -> None:
        """Without a broker for long there is no service."""
        broker = pool.members.get(BROKER)
        if broker is None or broker.slot.state in (SlotState.READY, SlotState.DRAINING, SlotState.STOPPED):
            self._broker_missed_since_s = None
            return
        if self._broker_missed_since_s is None:
            self._broker_missed_since_s = now_s
        if now_s - self._broker_missed_since_s >= BROKER_MISSED_MOST_S:
            self._give_up(pool, "no broker for 5 minutes", now_s)

    def _watch_readiness(self, pool: Pool, now_s: float) -> None:
        """Workers that were told to rest are no sign of trouble; the others must get ready."""
        states = {w.slot.state for w in pool.workers() if not _is_resting(w.slot)}
        ready = states & {SlotState.READY, SlotState.DRAINING} or (pool.workers() and not states)
        if self._unready_most_s is None or pool.mode is not Mode.RUNNING or ready:
            self._unready_since_s = None
            return
        if self._unready_since_s is None:
            self._unready_since_s = now_s
        if now_s - self._unready_since_s >= self._unready_most_s:
            self._give_up(pool, f"no worker has been ready for {self._unready_most_s:.0f} s", now_s)

    def _give_up(self, pool: Pool, why: str, now_s: float) -> None:
        """End the process as failed, after giving back what can be given back."""
        if not self._gave_up:
            self._gave_up = why
            pool.note("error", "the service gives up", {"reason": why})
            pool.stop(Stop(now_s + GIVE_UP_WITHIN_S, why), now_s)

    def _finish_stop(self, pool: Pool, now_s: float) -> None:
        """End the process once everything is finished, given back, or can't be helped."""
        ends_at_s = self._ends_at_s(pool)
        if not self._late and ends_at_s is not None and now_s >= ends_at_s:
            self._late = True
            for member in pool.members.values():
                pool.decide(member, sl.Kill("deadline reached", sl.Next.REST), now_s)
        alive = [x for x in pool.members.values() if x.slot.state in sl.ALIVE]
        heir_comes = BROKER in pool.members and pool.members[BROKER].slot.state is SlotState.BACKOFF
        if alive and all(x.slot.signalled == "lost" for x in alive):
            names = ", ".join(
                f"{x.slot.name} (pid {x.slot.pid}{x.device and f' on {x.device}'})" for x in alive
            )
            pool.end(EndProcess(Exit.FAILED, f"left behind, would not die: {names}"))
        elif not self._late and self._broker_is_missed(pool):
            pool.decide(pool.members[BROKER], sl.Begin(), now_s)
        elif not alive and not heir_comes:
            pool.end(self._end_of_stop(pool))

    def _ends_at_s(self, pool: Pool) -> Optional[float]:
        """Say when a stop must be over."""
        return None if pool.deadline_at_s is None else max(pool.deadline_at_s, self._listens_until_s)

    def _end_of_stop(self, pool: Pool) -> EndProcess:
        """Nobody is left: all is well if no job is left either."""
        if self._gave_up:
            return EndProcess(Exit.FAILED, self._gave_up)
        if not pool.ledger.entries:
            return EndProcess(Exit.OK, "stopped")
        left = f"{len(pool.ledger.entries)} jobs not given back; the queue shows them again later"
        return EndProcess(Exit.FAILED, left)

    def _broker_is_missed(self, pool: Pool) -> bool:
        """A broker that died while stopping still owes commits and releases: its heir does them."""
        broker = pool.members.get(BROKER)
        owed = any(entry.pending is not None for entry in pool.ledger.entries.values())
        resting = broker is not None and broker.slot.state is SlotState.STOPPED
        return owed and resting and broker is not None and broker.slot.restarts < self._restarts_allowed


def _is_resting(slot: Slot) -> bool:
    """Say whether somebody told this slot to rest, so that its rest is no sign of trouble."""
    return slot.state is SlotState.STOPPED and slot.next is sl.Next.REST
