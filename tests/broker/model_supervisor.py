"""A host's supervisor and its one worker, as far as the broker can tell: in virtual time."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from supervisor.contract.wire.messages import (
    Adopted,
    Checkpoint,
    Commit,
    Done,
    Ending,
    Fail,
    Failure,
    JobCard,
    Keep,
    Lost,
    Ready,
    Release,
    Trouble,
    Up,
    Wanted,
)
from tests.broker.harness import transcript

KEEP_EVERY_S = 5.0


@dataclass
class Work:
    """One job in the worker's hands."""

    card: JobCard
    is_staged: bool = False
    word: Any = None  # Fail or Release: said again to a broker's heir, as the real ledger does


@dataclass
class Plan:
    """How the worker goes about its jobs."""

    work_s: float = 20.0
    wanted: int = 3
    failures: tuple[tuple[str, Failure], ...] = ()  # recordings that fail in the worker
    checkpoint_s: float = 0.0  # between two checkpoints; 0: none


class Supervisor:
    """Hears the broker and answers as the real one does; outlives brokers, and workers of its own."""

    def __init__(
        self, tell: Callable[[Any], None], after: Callable[[float, Callable[[], None]], None], plan: Plan
    ) -> None:
        self.jobs: dict[str, Work] = {}
        self.endings: list[tuple[str, Ending]] = []
        self.lost: list[str] = []
        self.outages: list[tuple[str, str]] = []
        self.plan = plan
        self.is_gone = False
        self.is_silent = False  # about the jobs: no word that they move
        self.on_staged: Callable[[], None] = lambda: None
        self._tell = tell
        self._after = after
        self.resumed: list[tuple[str, int, float]] = []  # job, attempt that wrote it, seconds that were done
        self._runs = 0
        after(KEEP_EVERY_S, self._keep)

    def hear(self, message: Any) -> None:
        if isinstance(message, Up):
            self._want()
        elif isinstance(message, Ready):
            self._ready(message.card)
        elif isinstance(message, Adopted):
            for job_id in set(self.jobs) - set(message.job_ids):
                del self.jobs[job_id]
        elif isinstance(message, Lost):
            self.jobs.pop(message.job_id, None)
            self.lost.append(message.job_id)
        elif isinstance(message, Trouble):
            self.outages.append((message.where, message.detail))
        elif isinstance(message, Done):
            self.jobs.pop(message.job_id, None)
            self.endings.append((message.job_id, message.ending))
            self._want()

    def release(self, job_id: str, why: str = "no slot") -> None:
        """Give a job back."""
        self.end(job_id, Release(job_id, why))

    def end(self, job_id: str, word: Any) -> None:
        """Say the last word on a job, and say it again to an heir that asks."""
        self.jobs[job_id].word = word
        self._tell(word)

    def worker_dies(self, leaving: tuple[str, ...] = ()) -> None:
        """Lose the worker: its jobs begin anew on the next, among the named files it left half done."""
        for job_id, work in list(self.jobs.items()):
            if work.is_staged:
                continue  # not the worker's any more
            for name in leaving:
                (Path(work.card.folder) / name).write_bytes(b"half of ")
            self.jobs[job_id] = Work(work.card)
            self._begin(self.jobs[job_id])

    def _ready(self, card: JobCard) -> None:
        known = self.jobs.get(card.job_id)
        if known is not None and known.card.attempt == card.attempt:
            known.card = card
            if known.is_staged or known.word is not None:
                self._tell(known.word or Commit(card.job_id))
            return
        work = Work(card, is_staged=card.staged)
        self.jobs[card.job_id] = work
        if card.staged:
            self._tell(Commit(card.job_id))
        else:
            self._begin(work)
        self._want()

    def _begin(self, work: Work) -> None:
        done_s = self._resume(work)
        self._after(max(0.0, self.plan.work_s - done_s), lambda: self._finish(work))
        if self.plan.checkpoint_s:
            self._after(self.plan.checkpoint_s, lambda: self._keep_checkpoint(work, done_s))

    def _resume(self, work: Work) -> float:
        """Carry on from the checkpoint in the job's folder, as far as there is one."""
        try:
            found = json.loads((Path(work.card.folder) / "checkpoint.json").read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return 0.0
        assert found["recording"] == work.card.recording_id
        self.resumed.append((work.card.job_id, found["attempt"], found["done_s"]))
        return float(found["done_s"])

    def _keep_checkpoint(self, work: Work, done_s: float) -> None:
        if not self._has(work) or work.is_staged:
            return
        done_s += self.plan.checkpoint_s
        leave_checkpoint(work.card, done_s)
        self._tell(Checkpoint(work.card.job_id, done_s))
        self._after(self.plan.checkpoint_s, lambda: self._keep_checkpoint(work, done_s))

    def _has(self, work: Work) -> bool:
        return not self.is_gone and self.jobs.get(work.card.job_id) is work and work.word is None

    def _finish(self, work: Work) -> None:
        job_id = work.card.job_id
        if not self._has(work):
            return
        failure = dict(self.plan.failures).get(work.card.recording_id)
        if failure is not None:
            self.end(job_id, Fail(job_id, failure, "The worker says no."))
            return
        self._runs += 1
        stage(work.card, self._runs)
        self.on_staged()
        if self.is_gone or self.jobs.get(job_id) is not work:
            return
        work.is_staged = True
        self._tell(Commit(job_id))

    def _keep(self) -> None:
        if self.is_gone:
            return
        if self.jobs and not self.is_silent:
            self._tell(Keep(tuple(self.jobs)))
        self._after(KEEP_EVERY_S, self._keep)

    def _want(self) -> None:
        self._tell(Wanted(max(0, self.plan.wanted - len(self.jobs))))


def leave_checkpoint(card: JobCard, done_s: float) -> None:
    """Be a worker that writes down how far it is."""
    plain = {"recording": card.recording_id, "attempt": card.attempt, "done_s": done_s}
    draft = Path(card.folder) / ".checkpoint.part"
    draft.write_text(json.dumps(plain))
    draft.rename(Path(card.folder) / "checkpoint.json")


def text_of(recording_id: str) -> str:
    return f"What was said in {recording_id}."


def stage(card: JobCard, run: int) -> None:
    """Be a worker that is through. No two runs write the same JSON: it says when."""
    folder = Path(card.folder)
    plain = {**transcript(card, text_of(card.recording_id)), "transcribedAt": f"run-{run}-{card.attempt}"}
    document = json.dumps(plain).encode()
    staged = {
        "job_id": card.job_id,
        "attempt": card.attempt,
        "language": "en",
        "duration_s": 1.5,
        "sha256_json": hashlib.sha256(document).hexdigest(),
        "took_s": 0.1,
    }
    (folder / "transcript.txt").write_text(text_of(card.recording_id))
    (folder / "transcript.json").write_bytes(document)
    (folder / "staged.json").write_text(json.dumps(staged))
