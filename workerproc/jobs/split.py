"""One long recording in parts, side by side: in this worker's lanes, and in other workers that help.

Each thread takes part after part and runs the windows of each as if it were a recording of its
own; the text follows from the cuts alone, whoever runs them. A worker that finds nothing more to take
asks for a part before its last one ends, and one that has two more gives one back between two
windows: it goes on elsewhere from its mark. The worker that has the job waits for all parts and joins
them; what a helper that died leaves behind it does itself.
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
from workerproc.engine.recogniser import Prepared
from workerproc.jobs.context import WorkerContext
from workerproc.process.errors import JobPutDown, JobStopped
from workerproc.transcripts.transcript import Segment

log = logging.getLogger(__name__)
_SIDE_BY_SIDE = 4  # parts, whatever the rows: taking turns they cost no more
_LOOK_S = 0.05  # for what others do
_BETWEEN_LOOKS_S = 0.5  # while there is work here

Cut = Sequence[list[Stretch]]


class Split:
    """A recording that was cut, as one worker sees it."""

    def __init__(
        self,
        card: JobCard,
        prepared: Prepared,
        cut: Cut,
        work: WorkIdentity,
        context: WorkerContext,
        age: int,
    ) -> None:
        """`cut` has two parts at least; `work` names what decides the text; `age` is the job's lane's.

        Raises OSError.
        """
        self._card = card
        self._prepared = prepared
        self._cut = cut
        self._work = work
        self._age = age
        self._context = context
        self._ticket = context.board.mine  # of the thread that makes this, which has the job
        self._parts = SplitParts(Path(card.folder), work, len(cut))
        self._reached_s = [0.0] * len(cut)
        self._kept_s = [0.0] * len(cut)  # in checkpoints of the parts
        self._broken = threading.Event()  # a thread failed: the others need not go on
        self._running_lock = threading.Lock()
        self._running_count = 0
        self._is_asking = False

    def take_up(self, checkpoints: Checkpoints) -> None:
        """Find out what is done already, here or, as a checkpoint brought along, on another host."""
        self._parts.spread(checkpoints.find_parts(self._work))
        for number in self._parts.numbers:
            found = self._parts.get(number)
            if found is not None and found.segments:
                self._reached_s[number] = found.segments[-1].end_s - self._begins_s(number)
        self._kept_s = list(self._reached_s)
        checkpoints.carry_on(self.done_s)

    def help(self, sharers: int) -> None:
        """Work on parts until all are done. Raises what a part raises."""
        while not self._parts.is_whole:
            self._work_off(sharers, lambda: None)
            self._rest()

    def finish(
        self, sharers: int, checkpoints: Checkpoints, tell_left: Callable[[int], None]
    ) -> list[Segment]:
        """Work until every part is done, here or elsewhere; give all segments, counted on.

        `sharers`: how many workers take parts, so that each begins with its share. `tell_left` hears
        how many parts others could have: those that nobody took, and one of several that run here.
        """
        told = -1

        def look() -> None:
            nonlocal told
            left = self._parts.untaken + int(self._running_count > 1)
            if left != told:
                told = left
                tell_left(left)
            self._tell_progress()
            checkpoints.look_parts(self._parts.packed, self.kept_s)

        try:
            while not self._parts.is_whole:
                self._work_off(sharers, look)
                self._rest()
                look()
        except JobPutDown:
            checkpoints.keep_parts(self._parts.packed(), self.kept_s)
            raise
        return self._joined()

    @property
    def done_s(self) -> float:
        """Seconds of the recording that are through, in all parts together."""
        for n in self._parts.numbers:
            if self._parts.is_done(n):
                self._reached_s[n] = self._length_s(n)
        return sum(self._reached_s)

    @property
    def kept_s(self) -> float:
        """Seconds of the recording that stand in the parts' checkpoints: what nobody need do again."""
        return sum(
            self._length_s(n) if self._parts.is_done(n) else self._kept_s[n] for n in self._parts.numbers
        )

    def _rest(self) -> None:
        """Ask for a part where others have them all, and let them work for a while."""
        if not self._parts.is_whole:
            self._parts.ask(0)
            time.sleep(_LOOK_S)
            self._context.board.heed()

    def _work_off(self, sharers: int, look: Callable[[], None]) -> None:
        """Take parts until there is none to take, several at a time: so there is something to give."""
        share = -(-len(self._cut) // max(1, sharers))
        threads = max(1, min(share, max(_SIDE_BY_SIDE, self._context.batch.rows)))
        with concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="part") as pool:
            running = [pool.submit(self._take_parts) for _ in range(threads)]
            patience_s = _LOOK_S  # others hear at once what there is to take
            while True:
                ended, _ = concurrent.futures.wait(running, patience_s)
                if len(ended) == len(running):
                    break
                patience_s = _BETWEEN_LOOKS_S
                if not self._broken.is_set():
                    try:
                        look()
                    except BaseException:
                        self._broken.set()
                        raise
        errors = [error for error in (future.exception() for future in running) if error is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, _Broken)):
            raise error

    def _take_parts(self) -> None:
        self._context.board.join(self._ticket)
        try:
            while not self._broken.is_set():
                taken = self._parts.take()
                if taken is None:
                    if self._asks_ahead():
                        continue
                    return
                with taken, self._one_more():
                    self._run(taken)
        except _GivenBack:
            log.info(
                "part of a recording reassigned to another worker",
                extra={"event": "segment-reassigned", "job_id": self._card.job_id},
            )
        except BaseException:
            self._broken.set()
            raise

    @contextlib.contextmanager
    def _one_more(self) -> Iterator[None]:
        """Count a part that this worker runs."""
        with self._running_lock:
            self._running_count += 1
        try:
            yield
        finally:
            with self._running_lock:
                self._running_count -= 1

    def _must_give_back(self) -> bool:
        """Say whether the asking thread's part is to go to a worker that has none."""
        with self._running_lock:
            return self._running_count > 1 and self._parts.answer(self._running_count)

    def _asks_ahead(self) -> bool:
        """Ask for a part while the last one here still runs, so that it comes in time. False: ask no more."""
        with self._running_lock:
            if self._is_asking or self._running_count != 1:
                return False
            self._is_asking = True
        try:
            self._parts.ask(1)
            time.sleep(_LOOK_S)
            self._context.board.heed()
            return True
        finally:
            self._is_asking = False

    def _run(self, taken: Taken) -> None:
        """Run one part, from where somebody left it."""
        number, found = taken.number, self._parts.get(taken.number)
        segments = list(found.segments) if found is not None else []
        mark = found.mark if found is not None else ResumePoint()
        kept_at_s = clock.now_s()

        def at_mark(mark: ResumePoint) -> None:
            nonlocal kept_at_s
            if clock.now_s() - kept_at_s >= self._context.settings.checkpoint_s:
                kept_at_s = clock.now_s()
                self._put(number, mark, segments, is_done=False)
            self._context.board.begin_window()
            if self._broken.is_set():
                raise _Broken
            if self._must_give_back():
                raise _GivenBack

        with self._context.batch.lane(self._age) as lane:
            run = self._context.recogniser.run(self._prepared, self._cut[number], lane, mark, at_mark)
            try:
                for segment in run.segments:
                    segments.append(segment)
                    self._reached_s[number] = segment.end_s - self._begins_s(number)
                    self._context.board.step()
            except (JobPutDown, _Broken, _GivenBack):
                self._put(number, run.mark, segments, is_done=False)
                raise
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

    def _tell_progress(self) -> None:
        audio_s = self._prepared.pcm_file.length_s
        self._context.board.reach("transcribing", min(self.done_s, audio_s), audio_s)

    def _begins_s(self, number: int) -> float:
        return self._cut[number][0]["start"] / RATE_HZ if number else 0.0

    def _length_s(self, number: int) -> float:
        """How much of the recording a part stands for: from its beginning to the next one's."""
        is_last = number + 1 == len(self._cut)
        ends_s = self._prepared.pcm_file.length_s if is_last else self._begins_s(number + 1)
        return ends_s - self._begins_s(number)


class _Broken(JobStopped):
    """Another thread of the same recording met an error, which is the one to tell."""

    def __init__(self) -> None:
        super().__init__("another part failed")


class _GivenBack(JobStopped):
    """Another worker, which has none, goes on with this part."""

    def __init__(self) -> None:
        super().__init__("the part goes to another worker")
