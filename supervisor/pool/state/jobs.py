"""The job table: which slot has which job, and which jobs are suspected of crashing workers. PURE.

An entry exists from the broker's Ready to its Done (or Lost). When a worker exits, its
entries return to WAITING, so a job changes slots without a return to the queue.

Suspects (design.md): a crash makes every job of that worker a suspect. The first crash is not
counted, and from then on the job runs alone. Only a crash while alone counts; after two of
them, on any slot, the job has failed.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional

from supervisor.contract.wire import messages as m

CRASHES_ALONE_MOST = 2
_BEFORE = ("decoding", "listening")  # phases before transcribing
OUTSIDE_KILLS_MOST = 10
SAMPLES_BYTES_PER_S = 32_000  # 16 kHz, mono, 16 bits: `workerproc/audio/pcm_file.py`


class Stage(str, enum.Enum):
    WAITING = "waiting"  # in the spool, not dispatched
    GIVEN = "given"  # a worker has it
    STAGED = "staged"  # the transcript is in the spool; the broker commits it
    ENDING = "ending"  # failed or released; waiting for the broker's Done


class Death(str, enum.Enum):
    """How a worker ended, as it affects its jobs."""

    CRASH = "crash"
    STALL = "stall"
    KILLED_OUTSIDE = "killed-outside"  # SIGKILL that we did not send, without evidence of the OOM killer
    DEVICE = "device"  # its device is faulty; no job is charged
    XID = "xid"  # the driver reported a fault caused by an application, or cured by a restart
    ORDERED = "ordered"  # drained, restarted or recycled by the supervisor


class DrainChoice(str, enum.Enum):
    """What happens to a job whose worker drains."""

    FINISH = "finish"
    PUT_DOWN = "put-down"


@dataclass
class JobEntry:
    """One job in flight on this host."""

    card: m.JobCard
    stage: Stage = Stage.WAITING
    slot: str = ""
    suspect: bool = False
    crashes_alone: int = 0
    outside_kills: int = 0
    pending: Optional[m.ToBroker] = None  # sent to the broker, not yet answered by Done
    phase: str = ""
    phase_done_s: float = 0.0  # seconds of audio processed in this phase
    done_s: float = 0.0  # the same for transcribing; 0 before it begins
    audio_s: float = 0.0
    given_at_s: float = 0.0
    began_at_s: Optional[float] = None  # transcribing, according to its heartbeats
    began_from_s: float = 0.0  # seconds of audio already done at that moment
    drain_choice: Optional[DrainChoice] = None  # the latest, while its worker drains
    parts_left: int = 0  # unclaimed parts of a split recording
    requested_back_at_s: Optional[float] = None  # when its worker was asked to return it for another slot
    helpers_lost: int = 0  # helpers that exited unexpectedly

    @property
    def progress_ratio(self) -> float:
        """Share of the audio that is transcribed, 0 to 1; 0 before that begins or if unknown."""
        if self.stage is Stage.STAGED:
            return 1.0
        return self._share(self.done_s)

    @property
    def phase_ratio(self) -> float:
        """Share of the audio that the current phase has processed, 0 to 1; 0 if unknown."""
        return self._share(self.phase_done_s)

    def _share(self, done_s: float) -> float:
        return min(1.0, done_s / self.audio_s) if self.audio_s > 0 else 0.0


class JobTable:
    """The jobs by id, oldest first."""

    def __init__(self) -> None:
        self.entries: dict[str, JobEntry] = {}

    def ready(self, card: m.JobCard) -> JobEntry:
        """Add a job, or update it if a successor of the broker sends it again."""
        entry = self.entries.get(card.job_id)
        if entry is None:
            entry = self.entries[card.job_id] = JobEntry(card)
            if card.staged:
                entry.stage, entry.pending = Stage.STAGED, m.Commit(card.job_id, card.attempt)
        else:
            entry.card = card
        return entry

    def give(self, entry: JobEntry, slot: str, now_s: float, sharers: int = 1) -> m.Job:
        """Assign the job to `slot`; return the message for its worker.

        `sharers`: among how many slots a long recording may be shared.
        """
        entry.stage, entry.slot, entry.given_at_s = Stage.GIVEN, slot, now_s
        entry.phase, entry.phase_done_s, entry.done_s = "", 0.0, 0.0
        entry.began_at_s, entry.drain_choice, entry.parts_left = None, None, 0
        entry.requested_back_at_s = None
        return m.Job(entry.card, alone=entry.suspect, sharers=1 if entry.suspect else sharers)

    def end(self, entry: JobEntry, message: m.ToBroker) -> m.ToBroker:
        """Record what the broker must do with the job; return that message."""
        entry.stage = Stage.STAGED if isinstance(message, m.Commit) else Stage.ENDING
        entry.pending = message
        return message

    def remove(self, job_id: str) -> Optional[JobEntry]:
        return self.entries.pop(job_id, None)

    def of_attempt(self, job_id: str, attempt: int) -> Optional[JobEntry]:
        """Return the job if it is still in this attempt."""
        entry = self.entries.get(job_id)
        return entry if entry is not None and entry.card.attempt == attempt else None

    def of_worker(self, slot: str, job_id: str, attempt: int) -> Optional[JobEntry]:
        """Return the job that a worker names, if it has it in this attempt (0: any)."""
        entry = self.entries.get(job_id)
        if entry is None or entry.slot != slot or entry.stage is not Stage.GIVEN:
            return None
        return entry if attempt in (0, entry.card.attempt) else None

    def given_to(self, slot: str) -> list[JobEntry]:
        """Return the jobs of a worker."""
        return [e for e in self.entries.values() if e.slot == slot and e.stage is Stage.GIVEN]

    def samples_bytes(self) -> int:
        """Return the disk space of the decoded samples of all given jobs, as their workers reported."""
        given = (e for e in self.entries.values() if e.stage is Stage.GIVEN)
        return int(sum(max(e.audio_s, e.phase_done_s) for e in given)) * SAMPLES_BYTES_PER_S

    def waiting(self) -> list[JobEntry]:
        return [e for e in self.entries.values() if e.stage is Stage.WAITING]

    def progress(self, slot: str, progress: m.Progress, now_s: float) -> None:
        """Record a worker's progress report, if it has the job."""
        entry = self.of_worker(slot, progress.job_id, progress.attempt)
        if entry is not None:
            entry.phase, entry.phase_done_s, entry.audio_s = progress.phase, progress.done_s, progress.audio_s
            entry.done_s = 0.0 if progress.phase in _BEFORE else progress.done_s
            if progress.phase == "transcribing" and entry.began_at_s is None:
                entry.began_at_s, entry.began_from_s = now_s, progress.done_s

    def exclude_pause(self, lost_s: float) -> None:
        """Exclude the last `lost_s` seconds from measured speeds and from the wait for an answer."""
        for entry in self.entries.values():
            if entry.began_at_s is not None:
                entry.began_at_s += lost_s
            if entry.requested_back_at_s is not None:
                entry.requested_back_at_s += lost_s

    def put_back(self, entry: JobEntry) -> None:
        """Return the job to WAITING: the next worker continues from its checkpoint."""
        entry.stage, entry.slot = Stage.WAITING, ""

    def take_back(self, slot: str, death: Death) -> list[m.Fail]:
        """Free the jobs of a worker that exited: they wait again, or have failed permanently.

        Returns the messages for the broker; jobs that wait again need none.
        """
        failed = []
        entries = self.given_to(slot)
        alone = len(entries) == 1
        for entry in entries:
            reason = _failure_reason(entry, death, alone)
            if reason:
                fail = m.Fail(entry.card.job_id, m.Failure.CRASH, reason, entry.card.attempt)
                self.end(entry, fail)
                failed.append(fail)
            else:
                self.put_back(entry)
        return failed


def _failure_reason(entry: JobEntry, death: Death, alone: bool) -> str:
    """Charge a job for its worker's exit; return the reason if it has failed permanently."""
    if death in (Death.ORDERED, Death.DEVICE):
        return ""
    if death is Death.KILLED_OUTSIDE:
        entry.outside_kills += 1
        if entry.outside_kills <= OUTSIDE_KILLS_MOST:
            return ""
    if entry.suspect and alone:
        entry.crashes_alone += 1
    entry.suspect = True
    if entry.crashes_alone < CRASHES_ALONE_MOST:
        return ""
    return f"its worker died {entry.crashes_alone + 1} times on this recording (last: {death.value})"
