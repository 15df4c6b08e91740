"""Batches the native calls of several jobs, each of which runs in its own thread (lane).

Calls of the lanes wait here until `run`, in the engine's thread, makes them; `rounds.py` decides which are
made together. Every job keeps its sequential state (next window, temperature fallback) on its own stack, and
runs the same code as a job alone, so its text cannot differ.

A call for several jobs that fails is repeated for each of them, so that only the job that causes it fails.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Sequence
from typing import Any, Callable, Optional, Protocol

from supervisor.contract.wire.messages import Failure
from workerproc.engine import batch_tuning, rounds
from workerproc.engine.rounds import Want
from workerproc.process import errors

# A drain, or a stopped job, waits for the calls of one round at most.
ROUND_MOST_S = 20.0
# Two recordings may be prepared while the device works: a very long one must not delay the others.
_PREPARING_MOST = 2
# Between two calls a job needs milliseconds; a job that takes longer than this is not waited for.
_LATE_S = 0.2
_NEW_WEIGHT = 0.2  # weight of the latest call in the moving average of time per row


class CallMaker(Protocol):
    """Makes one call of the engine for several jobs."""

    def make(self, kind: str, requests: Sequence[Any]) -> list[Any]:
        """Return an answer for each request, in order. Raises what the engine raises."""


class _Call:
    """A request to the engine, and later its answer."""

    def __init__(self, want: Want, request: Any) -> None:
        self.want = want
        self.request = request
        self.answer: Any = None
        self.error: Optional[BaseException] = None
        self.is_made = False


class Lane:
    """Access of one job to the engine; used by one thread, in a `with` statement.

    Until its first call the job is being prepared (decoding, voice detection); few jobs may be at a time.
    Wherever it waits, a request to stop its job takes effect at once (`Batch.wake`).
    """

    def __init__(self, batch: Batch, age: int) -> None:
        self.age = age
        self._batch = batch
        self._is_preparing = False

    def __enter__(self) -> Lane:
        self._batch.begin_preparing()
        self._is_preparing = True
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def call(self, kind: str, key: Optional[Hashable], request: Any) -> Any:
        """Make a call, batched with those of equal key; return its answer, or raise its error."""
        self._be_prepared()
        return self._batch.answer(_Call(Want(self.age, kind, key), request))

    def leave(self) -> None:
        """End the lane: rounds no longer wait for this job. A second call does nothing."""
        self._be_prepared()
        self._batch.forget(self.age)

    def _be_prepared(self) -> None:
        if self._is_preparing:
            self._is_preparing = False
            self._batch.end_preparing()


class Batch:
    """The engine of a worker, shared by its lanes."""

    def __init__(
        self,
        engine: CallMaker,
        rows: int,
        encode_most: int = rounds.ENCODE_MOST,
        raise_if_stopped: Callable[[], None] = lambda: None,
        tokens: Optional[Callable[[Sequence[Any]], int]] = None,
    ) -> None:
        """`raise_if_stopped` is called in a lane's thread while it waits.

        `tokens` counts the tokens in the answers of generate calls: with it, `batch_tuning` chooses between
        `rows` windows per call and one.
        """
        self._engine = engine
        self._raise_if_stopped = raise_if_stopped
        self._preparing_count = self._prepared_count = 0  # now; in total
        self._rows_most = rows
        self.rows_fit: Optional[int] = None  # set once more rows have run out of memory
        self._encode_most = encode_most
        self._row_s: dict[str, float] = {}  # measured, by kind of call
        self._tokens = tokens
        self.measured = batch_tuning.Measured(rows)
        self._changed = threading.Condition()
        self._lanes_count = 0
        self._windows: dict[int, int] = {}  # by age: windows so far, of the jobs that have made a call
        self._turns = 0  # windows of the job that was last served: new jobs start from there
        self._jobs: dict[int, int] = {}  # age of a lane -> age of its job
        self._calls: dict[int, _Call] = {}  # by age: a lane waits for one call at a time
        self._is_closed = False
        self._error: Optional[BaseException] = None

    @property
    def is_broken(self) -> bool:
        """True when `run` raises, or will."""
        return self._error is not None

    @property
    def rows(self) -> int:
        """How many jobs a round may serve, by memory and by the time per row."""
        chosen = self._rows_most if self._tokens is None else batch_tuning.rows(self.measured)
        return rounds.rows_within(ROUND_MOST_S, sum(self._row_s.values()), min(chosen, self._rows_most))

    def lane(self, job: Optional[int] = None) -> Lane:
        """Create a lane for the next job. `job`: for a part of a job, the age of the job's own lane."""
        with self._changed:
            self._lanes_count += 1
            self._jobs[self._lanes_count] = self._lanes_count if job is None else job
            return Lane(self, self._lanes_count)

    def close(self, error: Optional[BaseException] = None) -> None:
        """Let `run` return, or raise `error`."""
        with self._changed:
            self._is_closed = True
            self._error = self._error or error
            self._changed.notify_all()

    def run(self) -> None:
        """Make the calls of all lanes until `close`."""
        while True:
            groups = self._next_groups()
            if groups is None:
                break
            for group in groups:
                self._make(group)
        if self._error is not None:
            raise self._error

    # --- called by lanes

    def begin_preparing(self) -> None:
        """Wait until this job may be prepared. Raises what `raise_if_stopped` raises."""
        with self._changed:
            self._wait_for(lambda: self._preparing_count < _PREPARING_MOST)
            self._preparing_count += 1

    def end_preparing(self) -> None:
        """Let the next job be prepared."""
        with self._changed:
            self._preparing_count -= 1
            self._prepared_count += 1
            self._changed.notify_all()

    def answer(self, call: _Call) -> Any:
        """Wait until a call is made; return its answer. Raises its error, or what `raise_if_stopped` raises.

        An abandoned call is not made, or its answer is discarded: the engine cannot be interrupted.
        """
        age = call.want.age
        with self._changed:
            self._windows.setdefault(age, self._turns)
            self._calls[age] = call
            self._changed.notify_all()
            try:
                self._wait_for(lambda: call.is_made)
            except BaseException:
                self._calls.pop(age, None)
                raise
        if call.error is not None:
            raise call.error
        return call.answer

    def forget(self, age: int) -> None:
        """Remove a lane that needs the engine no more."""
        with self._changed:
            self._windows.pop(age, None)
            self._jobs.pop(age, None)
            self._changed.notify_all()

    def _wait_for(self, fact: Callable[[], bool]) -> None:
        while not fact():
            self._raise_if_stopped()
            self._changed.wait()

    # --- called when a job is to be stopped

    def wake(self) -> None:
        """Let all waiting lanes call `raise_if_stopped` again."""
        with self._changed:
            self._changed.notify_all()

    # --- the engine's thread

    def _next_groups(self) -> Optional[list[list[_Call]]]:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._calls)
            if not self._is_closed:
                self._changed.wait_for(lambda: self._is_closed or self._may_begin(), _LATE_S)
            if self._is_closed:
                return None
            wants = [call.want for call in self._calls.values()]
            seated = self._seated()
            if seated.isdisjoint(self._calls):  # all of them are late: serve the others meanwhile
                seated = rounds.seats({age: self._windows[age] for age in self._calls}, self.rows, self._jobs)
            groups = rounds.due(wants, seated, self.rows, self._encode_most)
            for want in (want for group in groups for want in group if want.kind in rounds.BEGIN_A_WINDOW):
                self._turns = self._windows[want.age] = self._windows[want.age] + 1
            return [[self._calls.pop(want.age) for want in group] for group in groups]

    def _may_begin(self) -> bool:
        wants = (call.want for call in self._calls.values())
        return rounds.may_begin(wants, self._seated(), self._encode_most)

    def _seated(self) -> frozenset[int]:
        return rounds.seats(self._windows, self.rows, self._jobs)

    def _make(self, group: Sequence[_Call]) -> None:
        kind = group[0].want.kind
        began_at_s, began_cpu_s, prepared = time.perf_counter(), time.process_time(), self._prepared_count
        is_undisturbed = not self._preparing_count
        try:
            answers = self._engine.make(kind, [call.request for call in group])
        except Exception as error:  # noqa: BLE001  # raised in the thread of the job
            self._retry_singly(group, error)
            return
        cpu_s = time.process_time() - began_cpu_s
        self._measure(group[0].want, len(group), time.perf_counter() - began_at_s)
        # The process's CPU time is that of the call only if no job was being prepared meanwhile.
        if is_undisturbed and (self._preparing_count, self._prepared_count) == (0, prepared):
            self._measure_tokens(group[0].want, answers, cpu_s)
        with self._changed:
            for call, answer in zip(group, answers):
                call.answer, call.is_made = answer, True
            self._changed.notify_all()

    def _retry_singly(self, group: Sequence[_Call], error: Exception) -> None:
        """Repeat a failed call for each job alone, to find the job that causes the error."""
        if len(group) == 1:
            with self._changed:
                group[0].error, group[0].is_made = error, True
                self._changed.notify_all()
            return
        if errors.classify(error) is Failure.OUT_OF_MEMORY:
            self._rows_most = self.rows_fit = max(1, min(self._rows_most, len(group)) // 2)
        for call in group:
            self._make([call])

    def _measure(self, want: Want, count: int, took_s: float) -> None:
        row_s = took_s / count
        known_s = self._row_s.get(want.kind, row_s)
        self._row_s[want.kind] = known_s + _NEW_WEIGHT * (row_s - known_s)

    def _measure_tokens(self, want: Want, answers: Sequence[Any], cpu_s: float) -> None:
        """Record the CPU time per token, from which later batch sizes are chosen."""
        if self._tokens is not None and want.kind == "generate" and want.key is not None:
            token_s = cpu_s / max(1, self._tokens(answers))
            self.measured = batch_tuning.noted(self.measured, len(answers), token_s)
