"""Drain decision: running jobs of a leaving worker are finished or suspended. PURE.

Each is weighed by its own measured speed against the moment at which its worker would be killed
(5 s before the deadline, which leaves the broker time to publish): it is finished, or it is told
to write a checkpoint and stop, and is free for others at once. It is weighed again while it runs, for
speeds change. A job that has no speed of its own yet goes by what its worker did before, then by what
all workers here did. Where nothing was ever measured it is put down at once: it has shown no progress,
so little is lost, and another host may have it in less than the time it takes to find out.
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
MEASURED_AFTER_S = 2.0  # a beat's length: less says nothing


@dataclass(frozen=True)
class RunningJob:
    """What is known of a job at this moment. None: not known."""

    left_s: Optional[float]  # seconds of audio to do
    speed: Optional[float]  # seconds of audio in a second


@dataclass(frozen=True)
class DrainDecision:
    choice: DrainChoice
    why: str


def decide_drain(job: RunningJob, time_s: float) -> DrainDecision:
    """Say what to do with a job that has `time_s` left until its worker is killed."""
    usable_s = time_s - WRITE_S
    if job.left_s is None:
        return DrainDecision(DrainChoice.PUT_DOWN, "its length is not known yet: it has hardly begun")
    if job.speed is None:
        return DrainDecision(DrainChoice.PUT_DOWN, "no speed was ever measured here: it has hardly begun")
    takes_s = job.left_s / job.speed
    sum_ = f"{job.left_s:.0f} s of audio at {job.speed:.1f} a second take {takes_s:.0f} s of {usable_s:.0f} s"
    return DrainDecision(DrainChoice.FINISH if takes_s <= usable_s else DrainChoice.PUT_DOWN, sum_)


class DrainDecisions:
    """Weighs the jobs of workers that leave, once a second."""

    def __init__(self) -> None:
        self.wake_at_s: Optional[float] = None

    def after_event(self, state: PoolState, now_s: float) -> None:
        """Tell what can't be finished in time to be put down, and say why."""
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
    """Measure a job: by its own progress, by what its worker did before, or by what all workers did."""
    if entry.audio_s <= 0:
        return RunningJob(None, None)
    done_s = entry.done_s
    left_s = max(0.0, entry.audio_s - done_s)
    began_at_s = entry.began_at_s
    if began_at_s is not None and done_s > entry.began_from_s and now_s - began_at_s >= MEASURED_AFTER_S:
        return RunningJob(left_s, (done_s - entry.began_from_s) / (now_s - began_at_s))
    return RunningJob(left_s, _speed_of([worker]) or _speed_of(state.workers()))


def _speed_of(workers: Sequence[Member]) -> Optional[float]:
    """Tell how many seconds of audio these workers did in a second of work. None: none yet."""
    took_s = sum(worker.took_s for worker in workers)
    done_s = sum(worker.audio_s_done for worker in workers)
    return done_s / took_s if took_s > 0 and done_s > 0 else None
