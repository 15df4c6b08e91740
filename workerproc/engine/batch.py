"""Many jobs in one engine: each in a lane of its own, their native calls made together.

A lane is a thread that runs one job. Its calls to the engine wait here until `run`, in the
engine's thread, makes them; `rounds.py` says which together. So every job keeps its own
sequential state (the next window, its fallback, its rules) on its own stack, in the very code
that a job alone would run: the text can't differ. A job that ends frees its seat at once.

A call made for several jobs that fails is made again for each: only the one whose fault it is, fails.
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

# A drain, a lost lease or a job to be forgotten waits for the calls of one round at most.
ROUND_MOST_S = 20.0
# Two recordings may be decoded while the device works: a very long one must not hold up the others.
_PREPARING_MOST = 2
# Between two calls a job needs milliseconds. One that takes longer is not waited for.
_LAGGARD_S = 0.2
_NEW_WEIGHT = 0.2  # of the latest round in the measured time of a row


class Engine(Protocol):
    """Whatever computes one call for several jobs."""

    def make(self, kind: str, requests: Sequence[Any]) -> list[Any]:
        """Give an answer for each request, in order. Raises what the engine raises."""


class _Call:
    """A request on its way through the engine."""

    def __init__(self, want: Want, request: Any) -> None:
        self.want = want
        self.request = request
        self.answer: Any = None
        self.error: Optional[BaseException] = None
        self.is_made = False


class Lane:
    """One job's way to the engine; used by one thread, in a `with` statement.

    Until its first call it prepares (decodes, looks for speech), as few others do at the same time.
    Wherever it waits, an order to end its job reaches it at once (`Batch.stir`).
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
        """Have a call made, together with those of equal key; wait for its answer, or raise its error."""
        self._be_prepared()
        return self._batch.answer(_Call(Want(self.age, kind, key), request))

    def leave(self) -> None:
        """No call will follow: the others need not wait for this job. Said twice, it changes nothing."""
        self._be_prepared()
        self._batch.forget(self.age)

    def _be_prepared(self) -> None:
        if self._is_preparing:
            self._is_preparing = False
            self._batch.end_preparing()


class Batch:
    """All lanes of a worker before its one engine."""

    def __init__(
        self,
        engine: Engine,
        rows: int,
        encode_most: int = rounds.ENCODE_MOST,
        heed: Callable[[], None] = lambda: None,
        tokens: Optional[Callable[[Sequence[Any]], int]] = None,
    ) -> None:
        """`heed` is asked in a lane's thread while it waits, and raises where its job is to end now.

        `tokens` counts those in generations' answers: with it a call takes `rows` windows or one, by measure.
        """
        self._engine = engine
        self._heed = heed
        self._preparing_count = self._prepared_count = 0  # now; and in all
        self._rows_most = rows
        self.rows_fit: Optional[int] = None  # known since more of them ran out of memory
        self._encode_most = encode_most
        self._row_s: dict[str, float] = {}  # by kind, measured
        self._tokens = tokens
        self.measured = batch_tuning.Measured(rows)
        self._news = threading.Condition()
        self._lanes_count = 0
        self._windows: dict[int, int] = {}  # by age, of the jobs that have begun to call: their turns so far
        self._turns = 0  # of the job that had the last one: newcomers begin there
        self._jobs: dict[int, int] = {}  # by age: the job that a lane works for
        self._calls: dict[int, _Call] = {}  # by age: a job waits for one call at a time
        self._is_closed = False
        self._error: Optional[BaseException] = None

    @property
    def is_broken(self) -> bool:
        """True when `run` raises, or will."""
        return self._error is not None

    @property
    def rows(self) -> int:
        """How many jobs a round may serve, by memory and by the time that rows take."""
        chosen = self._rows_most if self._tokens is None else batch_tuning.rows(self.measured)
        return rounds.rows_within(ROUND_MOST_S, sum(self._row_s.values()), min(chosen, self._rows_most))

    def lane(self, job: Optional[int] = None) -> Lane:
        """Give the next job its lane; jobs are as old as their lanes. `job`: its age, for a part of it."""
        with self._news:
            self._lanes_count += 1
            self._jobs[self._lanes_count] = self._lanes_count if job is None else job
            return Lane(self, self._lanes_count)

    def close(self, error: Optional[BaseException] = None) -> None:
        """Let `run` return, or raise `error`."""
        with self._news:
            self._is_closed = True
            self._error = self._error or error
            self._news.notify_all()

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

    # --- from the lanes' threads

    def begin_preparing(self) -> None:
        """Wait until this job may be prepared. Raises what `heed` raises."""
        with self._news:
            self._wait_for(lambda: self._preparing_count < _PREPARING_MOST)
            self._preparing_count += 1

    def end_preparing(self) -> None:
        """Let the next job be prepared."""
        with self._news:
            self._preparing_count -= 1
            self._prepared_count += 1
            self._news.notify_all()

    def answer(self, call: _Call) -> Any:
        """Wait until a call is made; give its answer, or raise its error or what `heed` raises.

        A call that is given up is not made, or made in vain: the engine can't be interrupted.
        """
        age = call.want.age
        with self._news:
            self._windows.setdefault(age, self._turns)
            self._calls[age] = call
            self._news.notify_all()
            try:
                self._wait_for(lambda: call.is_made)
            except BaseException:
                self._calls.pop(age, None)
                raise
        if call.error is not None:
            raise call.error
        return call.answer

    def forget(self, age: int) -> None:
        """A job is through with the engine."""
        with self._news:
            self._windows.pop(age, None)
            self._jobs.pop(age, None)
            self._news.notify_all()

    def _wait_for(self, fact: Callable[[], bool]) -> None:
        while not fact():
            self._heed()
            self._news.wait()

    # --- from whoever hears an order

    def stir(self) -> None:
        """Have all lanes that wait ask `heed` again."""
        with self._news:
            self._news.notify_all()

    # --- the engine's thread

    def _next_groups(self) -> Optional[list[list[_Call]]]:
        with self._news:
            self._news.wait_for(lambda: self._is_closed or self._calls)
            if not self._is_closed:
                self._news.wait_for(lambda: self._is_closed or self._may_begin(), _LAGGARD_S)
            if self._is_closed:
                return None
            wants = [call.want for call in self._calls.values()]
            seated = self._seated()
            if seated.isdisjoint(self._calls):  # they dawdle: meanwhile it is the others' turn
                seated = rounds.seats({age: self._windows[age] for age in self._calls}, self.rows, self._jobs)
            groups = rounds.due(wants, seated, self.rows, self._encode_most)
            for want in (want for group in groups for want in group if want.kind == "encode"):
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
        except Exception as error:  # noqa: BLE001  # it belongs to the job, which raises it in its own thread
            self._cope(group, error)
            return
        cpu_s = time.process_time() - began_cpu_s
        self._measure(group[0].want, len(group), time.perf_counter() - began_at_s)
        # All of this process's CPU time is the call's where nobody decodes or looks for speech beside it.
        if is_undisturbed and (self._preparing_count, self._prepared_count) == (0, prepared):
            self._weigh(group[0].want, answers, cpu_s)
        with self._news:
            for call, answer in zip(group, answers):
                call.answer, call.is_made = answer, True
            self._news.notify_all()

    def _cope(self, group: Sequence[_Call], error: Exception) -> None:
        """Find out whose fault a failed call was by making it for each job alone."""
        if len(group) == 1:
            with self._news:
                group[0].error, group[0].is_made = error, True
                self._news.notify_all()
            return
        if errors.classify(error) is Failure.OUT_OF_MEMORY:
            self._rows_most = self.rows_fit = max(1, min(self._rows_most, len(group)) // 2)
        for call in group:
            self._make([call])

    def _measure(self, want: Want, count: int, took_s: float) -> None:
        row_s = took_s / count
        known_s = self._row_s.get(want.kind, row_s)
        self._row_s[want.kind] = known_s + _NEW_WEIGHT * (row_s - known_s)

    def _weigh(self, want: Want, answers: Sequence[Any], cpu_s: float) -> None:
        """Note what a token cost, where that may decide about later calls."""
        if self._tokens is not None and want.kind == "generate" and want.key is not None:
            token_s = cpu_s / max(1, self._tokens(answers))
            self.measured = batch_tuning.noted(self.measured, len(answers), token_s)
