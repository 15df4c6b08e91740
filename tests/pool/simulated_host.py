"""A host in virtual time: a real `Pool`, puppets for children, and a clock that only moves on.

Carries actions out as `effects.py` and `loop.py` do. Fails loudly when two processes share a
slot, when two workers have one job, or when the pool asks to be woken without end.
"""

from __future__ import annotations

import heapq
import signal
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Optional

from supervisor.contract.wire import messages as m
from supervisor.pool.pool import Pool, is_sign_of_life
from supervisor.pool.state import events as ev
from supervisor.pool.state import slot_types as sl
from tests.pool.puppet_children import (
    LOAD_S,
    Broker,
    Gpuwatch,
    Puppet,
    Worker,
    card,
)

WORKER = sl.Policy()
BROKER = sl.Policy(
    start_s=60.0, silence_s=20.0, may_hold=False, reserve_s=0.0, drains_while_starting=True,
    backoff_most_s=10.0,
)  # fmt: skip
KINDS = {"broker": Broker, "gpuwatch": Gpuwatch, "worker": Worker}
WAKES_AT_ONCE_MOST = 5


class Host:
    """One supervisor's world."""

    def __init__(
        self,
        workers: int = 2,
        read_ahead: int = 1,
        places: int = 1,
        loading_most: int = 64,
        unready_most_s: Optional[float] = None,
        now_s: float = 1000.0,
    ) -> None:
        self.now_s = now_s
        self.places, self.load_s, self.broker_start_s = places, LOAD_S, 0.5
        self.queue: list[m.JobCard] = []  # what can be received
        self.leases: dict[str, m.JobCard] = {}  # held by the broker, whichever process that is
        self.staged: set[str] = set()
        self.worked_s: dict[str, float] = {}  # by job: what its checkpoint holds
        self.checkpoints: list[tuple[str, float]] = []  # as the broker was told
        self.tells_progress = True
        self.first_window_s = 0.5  # until a job has begun in earnest
        self.endings: list[tuple[str, m.Ending]] = []
        self.kept: list[tuple[float, tuple[str, ...]]] = []
        self.fates: dict[str, Callable[[Worker], None]] = {}
        self.failures: dict[str, m.Failure] = {}
        self.starts_fail: set[str] = set()
        self.blocked = False  # they fail because somebody else is there
        self.processes: dict[str, Puppet] = {}
        self.begins: list[tuple[str, str]] = []  # (job, slot), as workers got them
        self.alarms: list[str] = []
        self.gpus: list[m.Device] = []  # as the driver would tell them
        self.nvml = ""  # why the driver tells nothing
        self.signals: list[tuple[str, int]] = []
        self.ended: Optional[ev.EndProcess] = None
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._events: deque[ev.PoolEvent] = deque()
        self._count = 100
        self._unread: Optional[list[ev.PoolEvent]] = None  # while the supervisor is paused
        self._busy = False
        self._wakes_at_once = 0
        self.pool = Pool(read_ahead, loading_most, unready_most_s)
        self.pool.add("broker", "broker", BROKER)
        self.pool.add("gpuwatch", "gpuwatch", replace(WORKER, may_hold=False, silence_s=120.0))
        for n in range(workers):
            self.pool.add(f"w{n}", "worker", WORKER)

    # --- what tests do ----------------------------------------------------------------

    def begin(self, *job_ids: str, takes_s: int = 10) -> Host:
        """Start everything and put these jobs in the queue."""
        self.enqueue(*job_ids, takes_s=takes_s)
        for name in tuple(self.pool.members):
            self.post(ev.SlotEvent(name, sl.Begin()))
        return self

    def enqueue(self, *job_ids: str, takes_s: int = 10) -> None:
        self.queue += [card(job_id, takes_s) for job_id in job_ids]
        if "broker" in self.processes:
            self.broker.receive()

    def run(self, by_s: float) -> Host:
        """Let so much time pass."""
        until_s = self.now_s + by_s
        while self.ended is None:
            moments = [at_s for at_s, _, _ in self._timers[:1]]
            wake_at_s = self.pool.next_wake_s()
            next_s = min([until_s, *moments, *([] if wake_at_s is None else [wake_at_s])])
            self._pass_to(max(self.now_s, next_s))
            if self._timers and self._timers[0][0] <= self.now_s:
                heapq.heappop(self._timers)[2]()
            elif wake_at_s is not None and wake_at_s <= self.now_s:
                self._wake()
            elif self.now_s >= until_s:
                break
        return self

    def run_until(self, fact: Callable[[], object], most_s: float = 3600.0, step_s: float = 0.1) -> Host:
        """Let time pass, a little at a time, until `fact` is true."""
        until_s = self.now_s + most_s
        while not fact():
            assert self.now_s < until_s, f"not within {most_s:.0f} s"
            assert self.ended is None, self.ended
            self.run(step_s)
        return self

    def run_until_has(self, name: str) -> Host:
        """Let time pass until this slot's worker has a job."""
        return self.run_until(lambda: self.has(name))

    def kill(self, name: str, code: int = -9, out_of_memory: bool = False) -> None:
        """Something outside ends a child."""
        self.processes[name].end(code, out_of_memory)

    def pause(self, for_s: float) -> None:
        """Stop the supervisor alone for a while (SIGSTOP): children work on, their words lie unread."""
        self._unread = []
        until_s = self.now_s + for_s
        while self._timers and self._timers[0][0] <= until_s:
            self._pass_to(max(self.now_s, self._timers[0][0]))
            heapq.heappop(self._timers)[2]()
        self._pass_to(until_s)
        self._wake_late(for_s)

    def freeze(self, for_s: float) -> None:
        """Stop the whole tree for a while (docker pause, a machine that sleeps)."""
        self._unread = []
        self._pass_to(self.now_s + for_s)
        self._wake_late(for_s)

    def stop(self, within_s: float = 110.0) -> None:
        self.post(ev.Stop(self.now_s + within_s, "stop (SIGTERM)"))

    def drain(self, *names: str, within_s: float = 110.0, next_: sl.Next = sl.Next.REST) -> None:
        self.post(ev.DrainSlots(names, self.now_s + within_s, "drained by operator", next_))

    # --- what tests look at -------------------------------------------------------------

    @property
    def broker(self) -> Broker:
        found = self.processes["broker"]
        assert isinstance(found, Broker)
        return found

    def worker(self, name: str) -> Worker:
        found = self.processes[name]
        assert isinstance(found, Worker)
        return found

    def slot(self, name: str) -> sl.Slot:
        return self.pool.members[name].slot

    def state(self, name: str) -> str:
        return self.slot(name).state.value

    def has(self, name: str) -> list[str]:
        """The jobs that this slot's worker has."""
        found = self.processes.get(name)
        return sorted(found.jobs) if isinstance(found, Worker) else []

    def ended_as(self, ending: m.Ending) -> list[str]:
        return sorted(job_id for job_id, how in self.endings if how is ending)

    def slots_of(self, job_id: str) -> list[str]:
        """The slots that had this job, in order."""
        return [slot for job, slot in self.begins if job == job_id]

    # --- what puppets and the pool do -----------------------------------------------------

    def begun(self, job_id: str, worker: Worker) -> None:
        """A worker begins a job: nobody else may have it."""
        for other in self.processes.values():
            both = isinstance(other, Worker) and other is not worker and job_id in other.jobs
            assert not both, f"{job_id} given to {worker.name} while {other.name} has it"
        assert job_id in self.leases, f"{job_id} begun without a lease"
        self.begins.append((job_id, worker.name))

    def at(self, at_s: float, then: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._timers, (at_s, self._count, then))

    def post(self, event: ev.PoolEvent) -> None:
        if self._unread is not None:
            self._unread.append(event)
            return
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                event = self._events.popleft()
                woken_at_s = self.pool.next_wake_s()
                steps: Iterable[ev.Action] = self.pool.steps(event, self.now_s)
                if is_sign_of_life(event):
                    steps = [*steps]
                    self._check_nothing_follows(steps, woken_at_s)
                for action in steps:
                    self._carry_out(action)
        finally:
            self._busy = False

    def _check_nothing_follows(self, actions: list[ev.Action], woken_at_s: Optional[float]) -> None:
        """After a mere sign the loop looks neither at the pool nor at its timer."""
        wakes_at_s = self.pool.next_wake_s()
        assert not actions
        assert wakes_at_s == woken_at_s or (woken_at_s is not None and woken_at_s < (wakes_at_s or 0.0))

    def _carry_out(self, action: ev.Action) -> None:
        if isinstance(action, ev.EndProcess):
            self.ended = self.ended or action
        elif isinstance(action, ev.Send):
            self._tell(action.name, action.message)
        elif isinstance(action, ev.ForSlot):
            self._command(action.name, action.command)

    def _command(self, name: str, command: sl.Command) -> None:
        if isinstance(command, sl.Spawn):
            self._spawn(name)
        elif isinstance(command, sl.TellDrain):
            words = m.Leave if name == "broker" else m.Drain
            self._tell(name, words(command.deadline_at_s))
        elif isinstance(command, sl.Alarm):
            self.alarms.append(command.text)
        elif isinstance(command, sl.LeaveBehind):
            self.processes.pop(name).alive = False
        else:
            self.signals.append((name, command.signum))
            puppet = self.processes.get(name)
            if puppet is not None and command.signum == signal.SIGKILL and not puppet.immortal:
                puppet.end(-9)

    def _spawn(self, name: str) -> None:
        assert name not in self.processes, f"a second process in slot {name}"
        if name in self.starts_fail:
            self.post(ev.SlotEvent(name, sl.SpawnFailed("no such file", 0.5, self.blocked)))
            return
        self._count += 1
        puppet = KINDS[self.slot(name).kind](self, name, self._count)
        self.processes[name] = puppet
        self.post(ev.SlotEvent(name, sl.Spawned(puppet.pid)))
        puppet.begin()

    def _tell(self, name: str, message: Any) -> None:
        if name in self.processes:
            self.processes[name].hear(
                m.read(m.write(message)[:-1], (*m.TO_WORKER, *m.TO_BROKER, *m.TO_GPUWATCH))
            )

    def _wake_late(self, lost_s: float) -> None:
        """Go on as the loop does: its timers come before the sockets are read."""
        unread, self._unread = self._unread or [], None
        for event in (ev.Paused(lost_s), ev.Due(), *unread):
            self.post(event)

    def _wake(self) -> None:
        self._wakes_at_once += 1
        assert self._wakes_at_once <= WAKES_AT_ONCE_MOST, "woken without end: the moment asked for stays past"
        self.post(ev.Due())

    def _pass_to(self, at_s: float) -> None:
        if at_s > self.now_s:
            self._wakes_at_once = 0
        self.now_s = at_s
