"""Transcribes a split recording: parts run in parallel, in this worker and in workers that help.

Each thread takes one part after another and transcribes it like a separate recording; the text depends on the
split points only, not on who transcribes which part. When no part is left to take, a worker requests one
before its last part ends. A worker that has two parts more gives one back between two windows, which is
resumed elsewhere from its resume point. The worker that has the job waits for all parts and joins them; it
also completes the parts of helpers that died.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable

from supervisor.contract import clock
from supervisor.contract.wire.messages import JobCard
from workerproc.audio.pcm_file import RATE_HZ
from workerproc.checkpoints.checkpoint import ResumePoint, WorkIdentity
from workerproc.checkpoints.checkpoint_files import Checkpoints
from workerproc.checkpoints.split_parts import SplitParts, Taken
from workerproc.checkpoints.split_points import Stretch
from workerproc.engine.port import Prepared
from workerproc.jobs.context import WindowCounts, WorkerContext
from workerproc.process.errors import JobPutDown, JobStopped
from workerproc.transcripts.transcript import Segment

log = logging.getLogger(__name__)
_SIDE_BY_SIDE = 4  # parts at a time, even with fewer rows: taking turns costs nothing
_POLL_S = 0.05  # for what other workers do
_REPORT_S = 0.5  # between reports, while parts run here

PartStretches = Sequence[list[Stretch]]


class Split:
    """A split recording, as one worker sees it."""

    def __init__(
        self,
        card: JobCard,
        prepared: Prepared,
        part_stretches: PartStretches,
        work: WorkIdentity,
        context: WorkerContext,
        age: int,
        windows: WindowCounts,
    ) -> None:
        """`part_stretches`: the speech of each part (at least two). `work`: what determines the text. `age`:
        that of the job's lane. `windows`: counts those that are computed here.

        Raises OSError.
        """
        self._card = card
        self._prepared = prepared
        self._part_stretches = part_stretches
        self._work = work
        self._age = age
        self._context = context
        self._windows = windows
        self._ticket = context.progress.mine  # of the job, which the calling thread runs
        self._parts = SplitParts(Path(card.folder), work, len(part_stretches))
        self._reached_s = [0.0] * len(part_stretches)
        self._kept_s = [0.0] * len(part_stretches)  # as far as it is in checkpoints
        self._has_failed = threading.Event()  # set when a thread failed: the others stop too
        self._running_lock = threading.Lock()
        self._running_count = 0
        self._is_asking = False

    def take_up(self, checkpoints: Checkpoints) -> None:
        """Find out what is done already, on this host or, by its checkpoint, on another."""
        self._parts.spread(checkpoints.find_parts(self._work))
        for number in self._parts.numbers:
            found = self._parts.get(number)
            if found is not None and found.segments:
                self._reached_s[number] = found.segments[-1].end_s - self._begins_s(number)
        self._kept_s = list(self._reached_s)
        checkpoints.carry_on(self.done_s)

    def help(self, sharers: int) -> None:
        """Transcribe parts until all are done. Raises what a part raises."""
        while not self._parts.is_whole:
            self._run_parts(sharers, lambda: None)
            self._request_and_wait()

    def finish(
        self, sharers: int, checkpoints: Checkpoints, report_left: Callable[[int], None]
    ) -> list[Segment]:
        """Transcribe parts until all are done, here or elsewhere; return all segments, renumbered.

        `sharers`: how many workers take parts, so that each starts with its share. `report_left` receives
        how many parts other workers could take: those not taken, and one if several run here.
        """
        reported = -1

        def report() -> None:
            nonlocal reported
            left = self._parts.untaken + int(self._running_count > 1)
            if left != reported:
                reported = left
                report_left(left)
            self._report_progress()
            checkpoints.look_parts(self._parts.packed, self.kept_s)

        try:
            while not self._parts.is_whole:
                self._run_parts(sharers, report)
                self._request_and_wait()
                report()
        except JobPutDown:
            checkpoints.keep_parts(self._parts.packed(), self.kept_s)
            raise
        return self._joined()

    @property
    def done_s(self) -> float:
        """Seconds of the recording that are done, in all parts together."""
        for n in self._parts.numbers:
            if self._parts.is_done(n):
                self._reached_s[n] = self._length_s(n)
        return sum(self._reached_s)

    @property
    def kept_s(self) -> float:
        """Seconds of the recording that are in the parts' checkpoints, and need not be repeated."""
        return sum(
            self._length_s(n) if self._parts.is_done(n) else self._kept_s[n] for n in self._parts.numbers
        )

    def _request_and_wait(self) -> None:
        """Request a part from the other workers, and wait a moment."""
        if not self._parts.is_whole:
            self._parts.ask(0)
            time.sleep(_POLL_S)
            self._context.progress.raise_if_stopped()

    def _run_parts(self, sharers: int, report: Callable[[], None]) -> None:
        """Transcribe parts until there is none to take, several at a time, so that one can be given back."""
        share = -(-len(self._part_stretches) // max(1, sharers))
        threads = max(1, min(share, max(_SIDE_BY_SIDE, self._context.batch.rows)))
        with concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="part") as pool:
            running = [pool.submit(self._take_parts) for _ in range(threads)]
            timeout_s = _POLL_S  # report at once what other workers can take
            while True:
                ended, _ = concurrent.futures.wait(running, timeout_s)
                if len(ended) == len(running):
                    break
                timeout_s = _REPORT_S
                if not self._has_failed.is_set():
                    try:
                        report()
                    except BaseException:
                        self._has_failed.set()
                        raise
        errors = [error for error in (future.exception() for future in running) if error is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, _OtherPartFailed)):
            raise error

    def _take_parts(self) -> None:
        self._context.progress.join(self._ticket)
        try:
            while not self._has_failed.is_set():
                taken = self._parts.take()
                if taken is None:
                    if self._requested_ahead():
                        continue
                    return
                with taken, self._counted():
                    self._run(taken)
        except _PartReassigned:
            log.info(
                "part of a recording reassigned to another worker",
                extra={"event": "segment-reassigned", "job_id": self._card.job_id},
            )
        except BaseException:
            self._has_failed.set()
            raise

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """Count a part as running in this worker."""
        with self._running_lock:
            self._running_count += 1
        try:
            yield
        finally:
            with self._running_lock:
                self._running_count -= 1

    def _must_give_back(self) -> bool:
        """Say whether the calling thread must give its part back, for a worker that requested one."""
        with self._running_lock:
            return self._running_count > 1 and self._parts.answer(self._running_count)

    def _requested_ahead(self) -> bool:
        """Request a part while the last one here still runs. False: the caller should stop requesting."""
        with self._running_lock:
            if self._is_asking or self._running_count != 1:
                return False
            self._is_asking = True
        try:
            self._parts.ask(1)
            time.sleep(_POLL_S)
            self._context.progress.raise_if_stopped()
            return True
        finally:
            self._is_asking = False

    def _run(self, taken: Taken) -> None:
        """Transcribe one part, from its checkpoint if any."""
        number, found = taken.number, self._parts.get(taken.number)
        segments = list(found.segments) if found is not None else []
        mark = found.mark if found is not None else ResumePoint()
        kept_at_s = clock.now_s()

        def at_mark(mark: ResumePoint) -> None:
            nonlocal kept_at_s
            if clock.now_s() - kept_at_s >= self._context.settings.checkpoint_s:
                kept_at_s = clock.now_s()
                self._put(number, mark, segments, is_done=False)
            self._context.progress.begin_window()
            if self._has_failed.is_set():
                raise _OtherPartFailed
            if self._must_give_back():
                raise _PartReassigned

        with self._context.batch.lane(self._age) as lane:
            run = self._context.recogniser.run(
                self._prepared, self._part_stretches[number], lane, mark, at_mark
            )
            try:
                for segment in run.segments:
                    segments.append(segment)
                    self._reached_s[number] = segment.end_s - self._begins_s(number)
                    self._context.progress.step()
            except (JobPutDown, _OtherPartFailed, _PartReassigned):
                self._put(number, run.mark, segments, is_done=False)
                raise
            finally:
                self._windows.add(run.windows)
                self._context.windows.add(run.windows)
            self._put(number, run.mark, segments, is_done=True)

    def _put(self, number: int, mark: ResumePoint, segments: Sequence[Segment], is_done: bool) -> None:
        if mark.seek or is_done:
            self._parts.put(number, mark, segments, is_done)
        if mark.segments:
            self._kept_s[number] = segments[mark.segments - 1].end_s - self._begins_s(number)

    def _joined(self) -> list[Segment]:
        segments: list[Segment] = []
        for number in self._parts.numbers:
            reached = self._parts.get(number)
            if reached is None or not reached.is_done:
                raise RuntimeError(f"part {number} was done and is not any more: the spool was changed")
            before = len(segments)
            segments += [dataclasses.replace(one, id=before + one.id) for one in reached.segments]
        return segments

    def _report_progress(self) -> None:
        audio_s = self._prepared.pcm_file.length_s
        self._context.progress.reach("transcribing", min(self.done_s, audio_s), audio_s)

    def _begins_s(self, number: int) -> float:
        return self._part_stretches[number][0]["start"] / RATE_HZ if number else 0.0

    def _length_s(self, number: int) -> float:
        """Return the length of a part: from its beginning to that of the next one."""
        is_last = number + 1 == len(self._part_stretches)
        ends_s = self._prepared.pcm_file.length_s if is_last else self._begins_s(number + 1)
        return ends_s - self._begins_s(number)


class _OtherPartFailed(JobStopped):
    """Another thread of the same recording failed; its error is the one to report."""

    def __init__(self) -> None:
        super().__init__("another part failed")


class _PartReassigned(JobStopped):
    """Another worker, which has no part, resumes this one."""

    def __init__(self) -> None:
        super().__init__("the part goes to another worker")
