"""Many jobs before one engine: calls made together, errors that stay with their job."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Callable

import pytest

from workerproc.engine.batch import Batch
from workerproc.engine.rounds import TURN_WINDOWS
from workerproc.process.errors import JobStopped

LIMIT_S = 60.0


class Adder:
    """An engine that adds one. It notes each call, and refuses one that holds a poisoned request."""

    def __init__(self, poison: object = None, error: Callable[[], Exception] = ValueError) -> None:
        self.calls: list[tuple[str, list[Any]]] = []
        self._poison = poison
        self._error = error

    def make(self, kind: str, requests: Sequence[Any]) -> list[Any]:
        self.calls.append((kind, list(requests)))
        if self._poison in requests:
            raise self._error()
        return [request + 1 for request in requests]


@contextlib.contextmanager
def running(batch: Batch) -> Iterator[None]:
    engine = threading.Thread(target=batch.run)
    engine.start()
    try:
        yield
    finally:
        batch.close()
        engine.join(LIMIT_S)
        assert not engine.is_alive()


def do_all(batch: Batch, jobs: Sequence[Callable[[Any], Any]]) -> list[Any]:
    """Run each job in a lane; give what it returned or raised. All have their lanes before one calls."""
    results: list[Any] = [None] * len(jobs)
    lanes = [batch.lane() for _ in jobs]

    def run(n: int) -> None:
        try:
            with lanes[n] as lane:
                results[n] = jobs[n](lane)
        except Exception as error:
            results[n] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(jobs))]
    for thread in threads:
        thread.start()
    with running(batch):
        for thread in threads:
            thread.join(LIMIT_S)
    assert not any(thread.is_alive() for thread in threads)
    return results


def generating(number: int, windows: int = 3) -> Callable[[Any], int]:
    """A job that gives its number to the engine so many times."""

    def job(lane: Any) -> int:
        value = number
        for _ in range(windows):
            value = lane.call("generate", "same", value)
        return value

    return job


def test_jobs_share_their_calls_and_each_gets_its_own_answer() -> None:
    engine = Adder()

    results = do_all(Batch(engine, rows=8), [generating(100 * n) for n in range(8)])

    assert results == [100 * n + 3 for n in range(8)]
    assert len(engine.calls) < 8 * 3  # alone they would be 24
    assert max(len(requests) for _, requests in engine.calls) > 2


def test_place_of_a_job_that_ended_is_taken_at_once() -> None:
    engine = Adder()

    results = do_all(Batch(engine, rows=2), [generating(100 * n, windows=1 + n % 3) for n in range(9)])

    assert results == [100 * n + 1 + n % 3 for n in range(9)]
    assert max(len(requests) for _, requests in engine.calls) == 2


def test_bad_request_fails_its_own_job_and_no_neighbour() -> None:
    engine = Adder(poison=301)

    results = do_all(Batch(engine, rows=8), [generating(100 * n) for n in range(6)])

    assert isinstance(results[3], ValueError)
    assert [result for n, result in enumerate(results) if n != 3] == [3, 103, 203, 403, 503]


def test_lack_of_memory_halves_the_round_and_no_job_fails_that_fits_alone() -> None:
    class Small(Adder):
        def make(self, kind: str, requests: Sequence[Any]) -> list[Any]:
            if len(requests) > 2:
                raise RuntimeError("CUDA failed with error out of memory")
            return super().make(kind, requests)

    batch = Batch(Small(), rows=8)

    results = do_all(batch, [generating(100 * n, windows=6) for n in range(8)])

    assert results == [100 * n + 6 for n in range(8)]
    assert batch.rows <= 4
    assert batch.rows_fit == batch.rows


def test_calls_take_one_row_where_that_is_measured_to_be_cheaper() -> None:
    engine = Adder()

    def tokens(answers: Sequence[Any]) -> int:
        return 10**9 if len(answers) == 1 else 1  # alone, each costs next to nothing

    batch = Batch(engine, rows=4, tokens=tokens)
    results = do_all(batch, [generating(100 * n, windows=40) for n in range(4)])

    assert results == [100 * n + 40 for n in range(4)]
    assert batch.rows == 1
    assert len(engine.calls[-1][1]) == 1


def test_with_one_row_a_job_that_dawdles_between_calls_does_not_stop_the_others() -> None:
    others_are_through = threading.Event()
    batch = Batch(Adder(), rows=1)

    def dawdle(lane: Any) -> Any:
        lane.call("generate", "same", 0)
        assert others_are_through.wait(LIMIT_S)
        return "late"

    def last(lane: Any) -> Any:
        result = generating(1)(lane)
        others_are_through.set()
        return result

    assert do_all(batch, [dawdle, last]) == ["late", 4]


def test_job_that_dawdles_between_calls_does_not_stop_the_others() -> None:
    others_are_through = threading.Event()
    batch = Batch(Adder(), rows=8)

    def dawdle(lane: Any) -> Any:
        lane.call("generate", "same", 0)
        assert others_are_through.wait(LIMIT_S)
        return "late"

    left = threading.Semaphore(0)

    def worker(lane: Any) -> Any:
        value = generating(1)(lane)
        left.release()
        return value

    def watcher() -> None:
        for _ in range(3):
            left.acquire(timeout=LIMIT_S)
        others_are_through.set()

    watch = threading.Thread(target=watcher)
    watch.start()
    results = do_all(batch, [dawdle, worker, worker, worker])
    watch.join(LIMIT_S)

    assert results == ["late", 4, 4, 4]


def test_engine_thread_ends_with_the_error_that_closed_it() -> None:
    batch = Batch(Adder(), rows=2)

    batch.close(RuntimeError("the device is gone"))

    with pytest.raises(RuntimeError, match="the device is gone"):
        batch.run()


def test_round_shrinks_when_rows_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch(Adder(), rows=8)
    clock = iter(range(0, 10_000, 4))
    monkeypatch.setattr("workerproc.engine.batch.time.perf_counter", lambda: next(clock))

    do_all(batch, [generating(0, windows=4)])

    assert batch.rows == 5  # 20 s of 4 s each


class Stuck(Adder):
    """An engine that stays in its first call until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.is_in_call, self.may_go = threading.Event(), threading.Event()

    def make(self, kind: str, requests: Sequence[Any]) -> list[Any]:
        self.is_in_call.set()
        assert self.may_go.wait(LIMIT_S)
        return super().make(kind, requests)


class Order(Exception):
    """What a board raises in the thread whose job is to end."""


def test_order_to_end_reaches_a_job_while_the_engine_works_on_it_and_no_neighbour() -> None:
    engine, ordered, mine = Stuck(), threading.Event(), threading.local()
    results: dict[str, object] = {}

    def raise_if_stopped() -> None:
        if ordered.is_set() and mine.name == "ended":
            raise Order

    batch = Batch(engine, rows=2, raise_if_stopped=raise_if_stopped)

    def run(name: str, lane: Any) -> None:
        mine.name = name
        try:
            with lane:
                results[name] = lane.call("generate", "same", 1)
        except Order as order:
            results[name] = order

    lanes = [threading.Thread(target=run, args=(name, batch.lane())) for name in ("ended", "other")]
    with running(batch):
        for lane in lanes:
            lane.start()
        assert engine.is_in_call.wait(LIMIT_S)
        ordered.set()
        batch.wake()
        lanes[0].join(LIMIT_S)
        assert isinstance(results["ended"], Order)
        assert "other" not in results

        engine.may_go.set()
        lanes[1].join(LIMIT_S)

    assert results["other"] == 2


def test_order_to_end_reaches_a_job_that_waits_to_be_prepared() -> None:
    ordered = threading.Event()

    def raise_if_stopped() -> None:
        if ordered.is_set():
            raise Order

    batch = Batch(Adder(), rows=8, raise_if_stopped=raise_if_stopped)
    ended = threading.Event()

    def run() -> None:
        with contextlib.suppress(Order), batch.lane():
            pass
        ended.set()

    with batch.lane(), batch.lane():  # as many as may be prepared at once
        waiting = threading.Thread(target=run)
        waiting.start()
        ordered.set()
        batch.wake()
        assert ended.wait(LIMIT_S)
        waiting.join(LIMIT_S)


def test_call_that_its_job_gave_up_is_not_made_and_the_engine_goes_on() -> None:
    """An abandoned call that stayed in the table belonged to no lane: the engine's thread ended by it."""
    engine = Adder()
    given_up = threading.Event()

    def raise_if_stopped() -> None:
        if given_up.is_set() and threading.current_thread().name == "stopped":
            raise JobStopped("stopped")

    batch = Batch(engine, rows=1, raise_if_stopped=raise_if_stopped)

    def stopped() -> None:
        with contextlib.suppress(JobStopped), batch.lane() as lane:
            lane.call("generate", "same", 1_000)

    thread = threading.Thread(target=stopped, name="stopped")
    thread.start()
    given_up.set()
    while thread.is_alive():
        batch.wake()
        thread.join(0.01)

    running_engine = threading.Thread(target=batch.run, daemon=True)
    running_engine.start()
    running_engine.join(0.3)
    assert running_engine.is_alive()
    with batch.lane() as lane:
        assert lane.call("generate", "same", 1) == 2
    batch.close()
    running_engine.join(LIMIT_S)
    assert engine.calls == [("generate", [1])]


def test_job_that_comes_late_takes_turns_with_one_that_has_had_many() -> None:
    """A newcomer that began at turn 0 would have had the engine to itself until it had caught up."""
    many = 8 * TURN_WINDOWS
    early_has_had_many = threading.Event()
    order: list[str] = []

    class Noting(Adder):
        def make(self, kind: str, requests: Sequence[Any]) -> list[Any]:
            order.extend(requests)
            if order.count("early") == many:
                early_has_had_many.set()
            return requests[:]  # type: ignore[return-value]

    def early(lane: Any) -> None:
        while order.count("late") < 4 * TURN_WINDOWS:
            lane.call("encode", "same", "early")

    def late(lane: Any) -> None:
        assert early_has_had_many.wait(LIMIT_S)
        for _ in range(4 * TURN_WINDOWS):
            lane.call("encode", "same", "late")

    do_all(Batch(Noting(), rows=1), [early, late])

    shared = order[order.index("late") :]
    assert "early" in shared[: shared.index("late") + 4 * TURN_WINDOWS]
