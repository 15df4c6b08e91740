"""Runs a job's code in a lane of its own thread, and the engine in this one, as a worker does."""

from __future__ import annotations

import concurrent.futures
from typing import Any, Callable, TypeVar

from workerproc.engine.batch import Batch, Lane

T = TypeVar("T")


def in_a_lane(native: Any, work: Callable[[Lane], T]) -> T:
    """Give what `work` returns. Raises what it, or the engine, raises."""
    batch = Batch(native, 1)

    def run() -> T:
        try:
            with batch.lane() as lane:
                return work(lane)
        finally:
            batch.close()

    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        result = thread.submit(run)
        batch.run()
        return result.result()
