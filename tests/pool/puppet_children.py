"""Puppets: children that live in virtual time, say what real ones say and fail loudly at nonsense."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from supervisor.contract.exits import Exit
from supervisor.contract.wire import messages as m
from supervisor.pool.state.events import Died, MessageReceived

if TYPE_CHECKING:
    from tests.pool.simulated_host import Host

BEAT_S = 2.0
LOAD_S = 4.0
FETCH_S = 1.0
COMMIT_S = 0.5
ROUND_S = 0.5  # until a worker hears


def card(job_id: str, takes_s: int = 10, staged: bool = False) -> m.JobCard:
    """A job that takes so many seconds; `audio_bytes` says it to the puppet."""
    return m.JobCard(job_id, 1, f"/spool/{job_id}", takes_s, f"rec-{job_id}", "user", "device", staged)


class Puppet:
    """A process: alive from its making to `end`."""

    def __init__(self, host: Host, name: str, pid: int) -> None:
        self.host, self.name, self.pid = host, name, pid
        self.alive = True
        self.immortal = False  # survives SIGKILL, as a process in a driver call does
        self.heard: list[Any] = []

    def begin(self) -> None:
        """The process is started."""

    def hear(self, message: Any) -> None:
        """A message of the supervisor came."""
        self.heard.append(message)

    def say(self, message: Any) -> None:
        if self.alive:
            self.host.post(MessageReceived(self.name, message))

    def after(self, by_s: float, then: Callable[[], None]) -> None:
        self.host.at(self.host.now_s + by_s, lambda: then() if self.alive else None)

    def end(self, code: int, out_of_memory: bool = False) -> None:
        """The process ends and is reaped."""
        if self.alive:
            self.alive = False
            del self.host.processes[self.name]
            self.host.post(Died(self.name, code, 0.5, out_of_memory))


class Gpuwatch(Puppet):
    def begin(self) -> None:
        self.say(m.Up("0 GPUs"))
        self._tell()

    def _tell(self) -> None:
        self.look()
        self.after(5, self._tell)

    def look(self) -> None:
        host = self.host
        self.say(
            m.Devices(tuple(host.gpus), problem=host.nvml, failed=bool(host.nvml), looked_at_s=host.now_s)
        )

    def hear(self, message: Any) -> None:
        super().hear(message)
        assert isinstance(message, m.Look), message
        count = int((message.until_at_s - self.host.now_s) / message.every_s)
        for n in range(1, count + 1):
            self.after(n * message.every_s, self.look)


class Worker(Puppet):
    """Takes `host.places` jobs at a time; `host.fates` says which jobs end it, and how."""

    def begin(self) -> None:
        self.jobs: dict[str, m.Job] = {}
        self.begun_at_s: dict[str, float] = {}
        self.leaving = self.silent = self.stuck = False
        self.moves = 0
        self.after(self.host.load_s, self._ready)

    def hear(self, message: Any) -> None:
        super().hear(message)
        if isinstance(message, m.Job):
            self._take(message)
        elif isinstance(message, m.StopJob):
            self._drop(message.job_id)
        elif isinstance(message, m.Help):
            assert message.card.job_id not in self.jobs, f"{self.name} is asked to help itself"
        elif isinstance(message, m.PutDown):
            had_s = self.host.now_s - self.begun_at_s.get(message.job_id, self.host.now_s)  # not of a help
            if message.unbegun_only and had_s >= self.host.first_window_s:
                return
            self.after(ROUND_S, lambda: self._put_down(message.job_id))
        else:
            assert isinstance(message, m.Drain), message
            self.leaving = True
            self._leave_if_idle()

    def _ready(self) -> None:
        self.say(m.Up("warm"))
        self.say(m.Room(self.host.places))
        self._beat()

    def _beat(self) -> None:
        if not self.silent:
            self.moves += 0 if self.stuck else 1
            self.say(m.Beat("working" if self.jobs else "idle", self.moves, self._progress()))
        self.after(BEAT_S, self._beat)

    def _progress(self) -> tuple[m.Progress, ...]:
        """Ten seconds of audio a second; where the host says so, they tell nothing of it."""
        if not self.host.tells_progress:
            return ()
        return tuple(
            m.Progress(job_id, "transcribing", 10.0 * self._worked_s(job_id), 10.0 * job.card.audio_bytes)
            for job_id, job in self.jobs.items()
        )

    def _worked_s(self, job_id: str) -> float:
        return self.host.worked_s.get(job_id, 0.0) + self.host.now_s - self.begun_at_s[job_id]

    def _put_down(self, job_id: str) -> None:
        """Write a checkpoint: the next worker goes on from here."""
        if job_id in self.jobs and not self.silent and not self.stuck:
            self.host.worked_s[job_id] = self._worked_s(job_id)
            del self.jobs[job_id]
            self.say(m.Checkpoint(job_id, 10.0 * self.host.worked_s[job_id]))
            self.say(m.Stopped(job_id))
            self._have_room()

    def _take(self, job: m.Job) -> None:
        job_id = job.card.job_id
        assert len(self.jobs) < self.host.places, f"{self.name} has no place for {job_id}"
        assert not self.leaving, f"{job_id} given to {self.name}, which leaves"
        if job.alone or any(other.alone for other in self.jobs.values()):
            assert not self.jobs, f"a suspect is not alone: {job_id} and {sorted(self.jobs)}"
        self.host.begun(job_id, self)
        self.jobs[job_id] = job
        self.begun_at_s[job_id] = self.host.now_s
        left_s = max(0.0, job.card.audio_bytes - self.host.worked_s.get(job_id, 0.0))
        self.after(left_s, lambda: self._finish(job))
        fate = self.host.fates.get(job_id)
        if fate is not None:
            self.after(1, lambda: fate(self) if self.jobs.get(job_id) is job else None)

    def _finish(self, job: m.Job) -> None:
        job_id = job.card.job_id
        if self.jobs.get(job_id) is not job or self.silent or self.stuck:
            return
        failure = self.host.failures.get(job_id)
        del self.jobs[job_id]
        if failure is None:
            self.host.staged.add(job_id)
            self.say(m.Staged(job_id, 10.0, 5.0))
        else:
            self.say(m.Failed(job_id, failure, "no audio in it"))
        self._have_room()

    def _drop(self, job_id: str) -> None:
        if self.jobs.pop(job_id, None) is not None:
            self._have_room()

    def _have_room(self) -> None:
        if not self.leaving:
            self.say(m.Room(self.host.places - len(self.jobs)))
        self._leave_if_idle()

    def _leave_if_idle(self) -> None:
        if self.leaving and not self.jobs:
            self.end(Exit.OK)


class Broker(Puppet):
    """Holds leases on `host.leases`, which outlive it; ends each job exactly once."""

    def begin(self) -> None:
        self.wanted = 0
        self.on_the_way: list[m.JobCard] = []
        self.unheard: Optional[list[Any]] = []  # it adopts before it reads
        self.deadline_at_s: Optional[float] = None
        self.after(self.host.broker_start_s, self._adopt)

    def _adopt(self) -> None:
        for lease in tuple(self.host.leases.values()):
            self.say(m.Ready(lease))
        self.say(m.Adopted(tuple(self.host.leases)))
        self.say(m.Up("local"))
        self._tell_queue()
        unheard, self.unheard = self.unheard or [], None
        for message in unheard:
            self._hear(message)

    def end(self, code: int, out_of_memory: bool = False) -> None:
        self.host.queue += self.on_the_way  # they are seen again when their visibility is over
        self.on_the_way = []
        super().end(code, out_of_memory)

    def _tell_queue(self) -> None:
        self.say(m.QueueState(len(self.host.queue), 0, len(self.on_the_way)))
        self.after(5, self._tell_queue)

    def hear(self, message: Any) -> None:
        super().hear(message)
        if self.unheard is None:
            self._hear(message)
        else:
            self.unheard.append(message)

    def _hear(self, message: Any) -> None:
        if isinstance(message, m.Wanted):
            self.wanted = message.count
            self.receive()
        elif isinstance(message, m.Leave):
            self.deadline_at_s = message.deadline_at_s
            self._leave_if_done()
        elif isinstance(message, m.Keep):
            self.host.kept.append((self.host.now_s, message.job_ids))
        elif isinstance(message, m.Checkpoint):
            self.host.checkpoints.append((message.job_id, message.done_s))
        else:
            self._hear_of_job(message)

    def receive(self) -> None:
        """Fetch as much as is wanted and not on the way."""
        while self.host.queue and len(self.on_the_way) < self.wanted and self.deadline_at_s is None:
            fresh = self.host.queue.pop(0)
            self.on_the_way.append(fresh)
            self.after(FETCH_S, lambda fresh=fresh: self._fetched(fresh))  # type: ignore[misc]  # bound now

    def _fetched(self, fresh: m.JobCard) -> None:
        self.on_the_way.remove(fresh)
        if self.deadline_at_s is not None:
            self.host.queue.append(fresh)
            self._leave_if_done()
            return
        self.host.leases[fresh.job_id] = fresh
        self.say(m.Ready(fresh))
        self.receive()

    def _hear_of_job(self, message: Any) -> None:
        job_id = message.job_id
        if job_id in self.host.leases:
            if isinstance(message, m.Commit):
                assert job_id in self.host.staged, f"{job_id} to be committed, but nothing is staged"
            self.after(COMMIT_S, lambda: self._end_job(message))

    def _end_job(self, message: Any) -> None:
        lease = self.host.leases.pop(message.job_id, None)
        if lease is None:
            return  # said twice: the first word counts
        endings = {m.Commit: m.Ending.DONE, m.Fail: m.Ending.FAILED, m.Release: m.Ending.RELEASED}
        ending = endings[type(message)]
        self.host.endings.append((lease.job_id, ending))
        if ending is m.Ending.RELEASED:
            self.host.queue.append(lease)
        self.say(m.Done(lease.job_id, ending))
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        if self.deadline_at_s is not None and not self.host.leases and not self.on_the_way:
            self.end(Exit.OK)
