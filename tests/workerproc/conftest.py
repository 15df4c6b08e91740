"""One real worker for each module that only gives it jobs; one real model for each that only asks it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faster_whisper import WhisperModel

from tests.workerproc.process import Worker, model_path, worker_in
from workerproc.engine.whisper.recogniser import Recogniser


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with worker_in(tmp_path_factory.mktemp("worker")) as worker:
        worker.up = worker.ready()
        yield worker


@pytest.fixture(scope="module")
def direct() -> WhisperModel:
    """faster-whisper by hand, with a worker's threads."""
    return WhisperModel(model_path(), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    """The engine by itself, outside of a worker."""
    return Recogniser(model_path(), "cpu", "int8", 1, step=lambda: None)
