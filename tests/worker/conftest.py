"""One real worker for each module that only gives it jobs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.worker.process import Worker, worker_in


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with worker_in(tmp_path_factory.mktemp("worker")) as worker:
        worker.up = worker.ready()
        yield worker
