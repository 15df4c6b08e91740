"""The pool decides for the whole host: one event in, actions out, rules in a fixed order. PURE.

`Pool.take(event, now_s)` returns the resulting actions in order. Nothing here waits,
reads a clock or touches a process, so a day of work is tested in milliseconds.
The state is in `state.py` and each rule has its own file. This file maps each event to
a handler, and runs the rules in a fixed order after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Optional

from supervisor.contract.wire import messages as m
from supervisor.pool.rules.device_holds import DeviceHolds
from supervisor.pool.rules.dispatch import dispatch_jobs, request_jobs
from supervisor.pool.rules.drain import DrainDecisions
from supervisor.pool.rules.exit_causes import classify_exit, with_blocked_time, with_oom_fallback
from supervisor.pool.rules.lease_extension import LeaseExtension
from supervisor.pool.rules.messages_in import ChildMessages
from supervisor.pool.rules.shutdown import Shutdown
from supervisor.pool.rules.split_helpers import SplitHelpers
from supervisor.pool.rules.start_queue import StartQueue
from supervisor.pool.rules.work_stealing import even_out
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.events import (
    BROKER,
    Action,
    Crashed,
    Died,
    DrainSlots,
    Due,
    Member,
    MessageReceived,
    Mode,
    Paused,
    PoolEvent,
    ReleaseSlot,
    Resume,
    SlotEvent,
    Stop,
)
from supervisor.pool.state.jobs import Death
from supervisor.pool.state.slot_types import SlotState
from supervisor.pool.state.state import PoolState


class Pool(PoolState):
    """All slots and jobs of one host, and the rules between them."""

    def __init__(
        self, read_ahead: int = 1, loading_most: int = 2, unready_most_s: Optional[float] = None
    ) -> None:
        super().__init__(read_ahead)
        self.device_holds = DeviceHolds()
        self.split_helpers = SplitHelpers()
        self._drain_decisions = DrainDecisions()
        self._lease_extension = LeaseExtension()
        self._start_queue = StartQueue(loading_most)
        self._shutdown = Shutdown(unready_most_s)
        self._messages = ChildMessages(self, self.device_holds, self.split_helpers)

    def take(self, event: PoolEvent, now_s: float) -> list[Action]:
        """Decide on `event`: return the actions to carry out, in order."""
        return [*self.steps(event, now_s)]

    def steps(self, event: PoolEvent, now_s: float) -> Iterator[Action]:
        """Yield the actions as they are decided, so that starts are carried out before other rules run.

        No other event may be taken before the last step.
        """
        self.actions = []
        _HANDLERS[type(event)](self, event, now_s)
        if is_sign_of_life(event):
            yield from self.actions
            return
        self._start_queue.start_next(self, self.device_holds, now_s)
        yield from self.actions
        self.actions = []
        self._apply_rules(now_s)
        yield from self.actions

    def next_wake_s(self) -> Optional[float]:
        """Return when the next `Due` event is needed; None: no timer is set."""
        wakes = [member.slot.wake_at_s for member in self.members.values()]
        wakes += [
            self._lease_extension.wake_at_s,
            self.device_holds.next_wake_s(),
            self._drain_decisions.wake_at_s,
        ]
        wakes += self._shutdown.next_wakes_s(self)
        return min((wake for wake in wakes if wake is not None), default=None)

    def _apply_rules(self, now_s: float) -> None:
        """Run every rule once, in this order, after each event.

        Jobs are dispatched, the broker is updated, and a drain or stop is completed.
        """
        self._drain_decisions.after_event(self, now_s)
        dispatch_jobs(self, self.split_helpers, now_s)
        even_out(self, self.split_helpers, now_s)
        self.split_helpers.after_event(self)
        self._give_back_waiting()
        self._lease_extension.after_event(self, now_s)
        self._finish_drain()
        self.device_holds.after_event(self, now_s)
        self._start_queue.start_next(self, self.device_holds, now_s)  # of devices just released
        request_jobs(self)  # after the starts: the broker would compete with a new process for a core
        self._shutdown.after_event(self, now_s)

    def _give_back_waiting(self) -> None:
        """Return jobs to the queue if no slot on this host can take them soon."""
        if self.takers() or self._awaits_first_workers():
            return
        for entry in self.jobs.waiting():
            why = "no slot can take it soon" if self.mode is Mode.RUNNING else self.mode.value
            release = m.Release(entry.card.job_id, why, entry.card.attempt)
            self.send(BROKER, self.jobs.end(entry, release))

    def _awaits_first_workers(self) -> bool:
        """True before the first workers start: jobs left by a dead supervisor wait for them."""
        fresh = all(w.slot.state is SlotState.STOPPED and not w.slot.spawned_at_s for w in self.workers())
        return self.mode is Mode.RUNNING and fresh

    def _finish_drain(self) -> None:
        if self.mode is Mode.DRAINING and not any(w.slot.state in sl.ALIVE for w in self.workers()):
            self.mode, self.deadline_at_s = Mode.DRAINED, None  # a later stop sets its own deadline
            self.note("info", "drained", {"event": "drained"})

    # --- events -----------------------------------------------------------------------

    def _on_message(self, event: MessageReceived, now_s: float) -> None:
        member = self.members.get(event.name)
        if member is not None:
            self._messages.take(member, event.message, now_s)

    def _on_slot_event(self, event: SlotEvent, now_s: float) -> None:
        member = self.members[event.name]
        self.decide(member, with_blocked_time(member, event.event, now_s), now_s)
        if event.name == BROKER and isinstance(event.event, sl.Spawned) and self.mode is Mode.STOPPING:
            by_s = now_s if self.deadline_at_s is None else self.deadline_at_s
            self.decide(member, sl.BeginDrain(by_s, "stopping"), now_s)

    def _on_died(self, event: Died, now_s: float) -> None:
        member = self.members[event.name]
        member.free, member.moves, member.gone_at_s = 0, -1, now_s
        charged = True
        death = classify_exit(member, event)
        member.by_device = False
        if death is not Death.ORDERED:
            jobs = tuple(entry.card.job_id for entry in self.jobs.given_to(event.name))
            xids = self.device_holds.xids_of(member, now_s)
            ended = death.value, event.returncode, event.out_of_memory
            self.actions.append(Crashed(member.slot, *ended, jobs, xids))
        if member.slot.kind == "worker":
            self.split_helpers.on_exit(self, event.name, death is Death.ORDERED)
            charged = self._take_jobs_back(member, death)
        if event.name == BROKER:
            self.outages.forget_broker()
        exited = sl.Exited(event.returncode, charged, event.jitter_ratio, event.said, event.cure)
        self.decide(member, with_oom_fallback(self, member, exited, event.out_of_memory), now_s)

    def _take_jobs_back(self, member: Member, death: Death) -> bool:
        """Free the jobs of a worker that exited; return whether the exit counts against the slot."""
        entries = self.jobs.given_to(member.slot.name)
        suspected = any(entry.suspect for entry in entries)
        if death is not Death.ORDERED:
            self.totals.crashed += 1
        for fail in self.jobs.take_back(member.slot.name, death):
            self.send(BROKER, fail)
        for entry in entries:
            facts = {"slot": member.slot.name, "job_id": entry.card.job_id, "death": death.value}
            self.note("warning", "job taken back from a dead worker", {"event": "job-taken-back", **facts})
        return not suspected

    def _on_drain(self, event: DrainSlots, now_s: float) -> None:
        everyone = not event.names
        if self.mode is Mode.STOPPING:
            # A notice can only move the deadline earlier.
            if everyone and self.bring_deadline_nearer(event.deadline_at_s, event.why):
                for member in self.members.values():
                    self.decide(member, sl.BeginDrain(event.deadline_at_s, event.why), now_s)
            return
        resting = all(w.slot.state is SlotState.STOPPED for w in self.workers())
        if everyone and self.mode is Mode.DRAINED and resting:
            return
        if everyone:
            self.bring_deadline_nearer(event.deadline_at_s, event.why)
            self.mode = Mode.DRAINING
        # A draining host starts no process, not even a restart for a reload.
        next_ = event.next if self.mode is Mode.RUNNING else sl.Next.REST
        for member in self.workers_named(event.names):
            self.decide(member, sl.BeginDrain(event.deadline_at_s, event.why, next_), now_s)

    def _on_resume(self, event: Resume, now_s: float) -> None:
        if self.mode is Mode.STOPPING:
            return
        self.mode, self.deadline_at_s, self.why = Mode.RUNNING, None, ""
        for member in self.workers_named(event.names):
            self.decide(member, sl.Begin(), now_s)

    def _on_release(self, event: ReleaseSlot, now_s: float) -> None:
        member = self.members[event.name]
        self.device_holds.release(self, member)
        self.decide(member, sl.Begin(), now_s)

    def _on_stop(self, event: Stop, now_s: float) -> None:
        self._shutdown.stop(self, event, now_s)

    def _on_due(self, event: Due, now_s: float) -> None:
        for member in self.members.values():
            self.decide(member, sl.Tick(), now_s)

    def _on_paused(self, event: Paused, now_s: float) -> None:
        """Exclude a time in which this process did not run from every budget.

        No message was read meanwhile, so silence proves nothing: each child's heartbeat timeout restarts,
        and every other budget is extended by the lost time. Deadlines of drains and stops stay, since the
        machine is taken anyway; but unread messages are read before any child is killed for a deadline.
        """
        names = [member.slot.name for member in self.members.values() if member.slot.state in sl.ALIVE]
        facts = {"lost_s": round(event.lost_s, 1), "slots": ", ".join(names)}
        self.note(
            "warning",
            "supervisor was paused; that time counts against no child process",
            {"event": "supervisor-paused", **facts},
        )
        for member in self.members.values():
            member.last_message_at_s += event.lost_s
            self.decide(member, sl.SupervisorPaused(event.lost_s), now_s)
        self.jobs.exclude_pause(event.lost_s)
        self.device_holds.exclude_pause(event.lost_s)
        self._shutdown.exclude_pause(event.lost_s, now_s)


def is_sign_of_life(event: PoolEvent) -> bool:
    """Return whether this event is only a sign of life: a heartbeat or the state of the queue.

    Such events change no slot or job, and move `next_wake_s` only later, so the rules need not run
    after them. 64 workers send six of them a second.
    """
    return isinstance(event, MessageReceived) and isinstance(event.message, (m.Beat, m.QueueState))


_HANDLERS: Mapping[type, Any] = {
    MessageReceived: Pool._on_message,
    SlotEvent: Pool._on_slot_event,
    Died: Pool._on_died,
    DrainSlots: Pool._on_drain,
    Resume: Pool._on_resume,
    ReleaseSlot: Pool._on_release,
    Stop: Pool._on_stop,
    Due: Pool._on_due,
    Paused: Pool._on_paused,
}
