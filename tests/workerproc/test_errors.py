"""Foreign errors: what they mean and what follows; the board's counting."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from supervisor.contract.wire import messages
from supervisor.contract.wire.messages import Failed, Failure, Job, Progress
from tests.workerproc import recordings
from tests.workerproc.process import card, settings_in
from workerproc.engine.batch import Batch
from workerproc.jobs.context import WorkerContext
from workerproc.jobs.worker import Worker
from workerproc.process import errors
from workerproc.process.errors import AudioRejected, DeviceBroken, JobStopped
from workerproc.process.link import WorkerLink
from workerproc.process.progress import ProgressBoard


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (AudioRejected("there is no audio"), Failure.REJECTED),
        (MemoryError(), Failure.OUT_OF_MEMORY),
        (RuntimeError("CUDA failed with error out of memory"), Failure.OUT_OF_MEMORY),
        (RuntimeError("mkl_malloc: failed to allocate memory"), Failure.OUT_OF_MEMORY),
        (RuntimeError("could not create a memory object"), Failure.OUT_OF_MEMORY),
        (RuntimeError("std::bad_alloc"), Failure.OUT_OF_MEMORY),
        (RuntimeError("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED"), Failure.OUT_OF_MEMORY),
        (
            RuntimeError("CUDA failed with error an illegal memory access was encountered"),
            Failure.SICK_DEVICE,
        ),
        (RuntimeError("CUDA failed with error unspecified launch failure"), Failure.SICK_DEVICE),
        (RuntimeError("cuDNN failed with status CUDNN_STATUS_INTERNAL_ERROR"), Failure.SICK_DEVICE),
        (RuntimeError("Library libcublas.so.12 is not found or cannot be loaded"), Failure.SICK_DEVICE),
        (DeviceBroken("gone"), Failure.SICK_DEVICE),
        (OSError(errno.ENOSPC, "No space left on device"), Failure.DEPENDENCY),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), Failure.DEPENDENCY),
        (OSError(errno.EACCES, "Permission denied"), Failure.FAILURE),
        (ValueError("CUDA is a word that anybody may say"), Failure.FAILURE),
        (RuntimeError("No position encodings are defined for positions >= 448"), Failure.FAILURE),
        (KeyError("x"), Failure.FAILURE),
    ],
)
def test_error_is_classed_by_who_can_cure_it(error: Exception, failure: Failure) -> None:
    assert errors.classify(error) is failure


def test_sentence_is_one_short_line_that_says_what_happened() -> None:
    assert errors.sentence(AudioRejected("the audio file is empty")) == "the audio file is empty"
    assert errors.sentence(RuntimeError("first\nsecond")) == "RuntimeError: first"
    assert errors.sentence(MemoryError()) == "MemoryError: no details"
    assert len(errors.sentence(ValueError("x" * 1_000))) == 300


class BrokenEngine:
    """Stands in for a GPU that fails in mid-job: there is none here to break."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def unfit(self, options: Any) -> None:
        return None

    def warnings(self, options: Any) -> tuple[str, ...]:
        return ()

    def prepare(self, pcm_file: Any, options: Any, lane: Any, reach: Any) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("text", "failure", "ends"),
    [
        ("CUDA failed with error unspecified launch failure", Failure.SICK_DEVICE, True),
        ("CUDA failed with error out of memory", Failure.OUT_OF_MEMORY, False),
        ("the engine says something new", Failure.FAILURE, False),
    ],
)
def test_job_in_a_broken_engine_is_given_up_and_only_a_sick_device_ends_the_worker(
    tmp_path: Path, text: str, failure: Failure, ends: bool
) -> None:
    ours, theirs = socket.socketpair()
    job = card(tmp_path, recordings.wav(tmp_path / "tone.wav", recordings.tone(1.0)))
    settings, link = settings_in(tmp_path), WorkerLink(theirs, die=pytest.fail)
    worker = Worker(settings, link, die=pytest.fail)
    engine: Any = BrokenEngine(RuntimeError(text))
    context = WorkerContext(settings, engine, Batch(engine, rows=1), {}, ProgressBoard(), link.send)

    with ours, theirs:
        with pytest.raises(DeviceBroken) if ends else contextlib.nullcontext():
            worker.do(Job(job), worker._progress.await_job(job.job_id, job.attempt), context)
        line = ours.recv(65_536)

    told = messages.read(line.rstrip(b"\n"), messages.FROM_WORKER)
    assert told == Failed("job-1", failure, f"RuntimeError: {text}", attempt=1)


def test_board_counts_achievements_and_nothing_else() -> None:
    board = ProgressBoard()

    before = [board.beat().moves for _ in range(3)]
    a = board.await_job("a", 2)
    board.begin(a)
    board.reach("transcribing", 3.0, 9.0)
    board.step()
    during = board.beat()
    board.end(a)

    assert before == [0, 0, 0]
    assert during.moves == 3
    assert (during.phase, during.jobs) == ("working", (Progress("a", "transcribing", 3.0, 9.0, 2),))
    assert (board.beat().phase, board.beat().jobs) == ("idle", ())


def test_stopped_job_is_left_at_its_next_step_and_the_next_job_is_not() -> None:
    board = ProgressBoard()
    a = board.await_job("a", 1)
    b = board.await_job("b", 1)
    board.begin(a)

    assert board.stop("a")
    with pytest.raises(JobStopped):
        board.step()
    board.end(a)
    board.begin(b)
    board.step()

    assert board.beat().jobs[0].job_id == "b"
    assert not board.stop("a")


def test_job_stopped_before_it_began_never_begins() -> None:
    board = ProgressBoard()
    a = board.await_job("a", 1)

    assert board.stop("a")

    with pytest.raises(JobStopped):
        board.begin(a)


def test_board_loses_no_count_between_threads() -> None:
    board = ProgressBoard()
    threads = [threading.Thread(target=lambda: [board.step() for _ in range(2_000)]) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert board.beat().moves == 8_000
