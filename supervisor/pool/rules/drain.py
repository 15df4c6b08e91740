"""Drain decision: running jobs of a leaving worker are finished or suspended. PURE.

The decision compares the time a job still needs, at its measured speed, with the time until its worker
is killed (5 s before the deadline, which leaves the broker time to publish). The job finishes, or it
writes a checkpoint and stops, and another worker can take it at once. The decision is repeated while the
job runs, because speeds change. A job without a measured speed uses that of its worker's earlier jobs,
then that of all workers here. If nothing was ever measured it is suspended at once: it has made no
progress, so little is lost, and another host may finish it sooner than a measurement would take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from supervisor.contract.wire import messages as m
from supervisor.pool.state.events import Member
from supervisor.pool.state.jobs import DrainChoice, JobEntry
from supervisor.pool.state.slot_types import SlotState
from supervisor.pool.state.state import PoolState

DECIDE_EVERY_S = 1.0
WRITE_S = 2.0  # a guess: writing the transcript, and speeds that change
MEASURED_AFTER_S = 2.0  # one heartbeat interval: a shorter time measures nothing


@dataclass(frozen=True)
class RunningJob:
    """Remaining audio and speed of a running job. None: not known."""

    left_s: Optional[float]  # seconds of audio left
    speed: Optional[float]  # seconds of audio per second


@dataclass(frozen=True)
class DrainDecision:
    choice: DrainChoice
    why: str


def decide_drain(job: RunningJob, time_s: float) -> DrainDecision:
    """Decide on a job whose worker is killed in `time_s` seconds."""
    usable_s = time_s - WRITE_S
    if job.left_s is None:
        return DrainDecision(DrainChoice.PUT_DOWN, "its length is not known yet: it has hardly begun")
    if job.speed is None:
        return DrainDecision(DrainChoice.PUT_DOWN, "no speed was ever measured here: it has hardly begun")
    takes_s = job.left_s / job.speed
    sum_ = f"{job.left_s:.0f} s of audio at {job.speed:.1f} a second take {takes_s:.0f} s of {usable_s:.0f} s"
    return DrainDecision(DrainChoice.FINISH if takes_s <= usable_s else DrainChoice.PUT_DOWN, sum_)


class DrainDecisions:
    """Decides once a second on the jobs of draining workers."""

    def __init__(self) -> None:
        self.wake_at_s: Optional[float] = None

    def after_event(self, state: PoolState, now_s: float) -> None:
        """Suspend the jobs that cannot finish in time, and log the reason."""
        leaving = [w for w in state.workers() if w.slot.state is SlotState.DRAINING]
        if not leaving:
            self.wake_at_s = None
            return
        is_due = self.wake_at_s is None or now_s >= self.wake_at_s
        begun = [(w, entry) for w in leaving for entry in state.jobs.given_to(w.slot.name)]
        open_ones = [(w, entry) for w, entry in begun if entry.drain_choice is not DrainChoice.PUT_DOWN]
        for worker, entry in open_ones:
            if is_due or entry.drain_choice is None:
                _decide(state, worker, entry, now_s)
        if is_due:
            self.wake_at_s = now_s + DECIDE_EVERY_S if open_ones else None


def _decide(state: PoolState, worker: Member, entry: JobEntry, now_s: float) -> None:
    kill_at_s = worker.slot.wake_at_s
    time_s = (kill_at_s or now_s) - now_s
    decision = decide_drain(_running(state, worker, entry, now_s), time_s)
    if decision.choice is entry.drain_choice:
        return
    entry.drain_choice = decision.choice
    facts = {"job_id": entry.card.job_id, "slot": worker.slot.name, "choice": decision.choice.value}
    state.note("info", "drain decision", {"event": "drain-decision", **facts, "reason": decision.why})
    if decision.choice is DrainChoice.PUT_DOWN:
        state.send(worker.slot.name, m.PutDown(entry.card.job_id, decision.why, attempt=entry.card.attempt))


def _running(state: PoolState, worker: Member, entry: JobEntry, now_s: float) -> RunningJob:
    """Measure a job by its own progress, else by its worker's earlier jobs, else by all workers'."""
    if entry.audio_s <= 0:
        return RunningJob(None, None)
    done_s = entry.done_s
    left_s = max(0.0, entry.audio_s - done_s)
    began_at_s = entry.began_at_s
    if began_at_s is not None and done_s > entry.began_from_s and now_s - began_at_s >= MEASURED_AFTER_S:
        return RunningJob(left_s, (done_s - entry.began_from_s) / (now_s - began_at_s))
    return RunningJob(left_s, _speed_of([worker]) or _speed_of(state.workers()))


def _speed_of(workers: Sequence[Member]) -> Optional[float]:
    """Return how many seconds of audio these workers transcribe per second. None: not measured."""
    took_s = sum(worker.took_s for worker in workers)
    done_s = sum(worker.audio_s_done for worker in workers)
    return done_s / took_s if took_s > 0 and done_s > 0 else None
