"""A job is put down between two windows, and spared before the engine had its first."""

from __future__ import annotations

import pytest

from workerproc.process.errors import JobPutDown, JobStopped
from workerproc.process.progress import ProgressBoard


def test_job_is_put_down_at_its_next_step_unless_it_is_no_longer_ours() -> None:
    board = ProgressBoard()
    a, b = board.await_job("a", 1), board.await_job("b", 1)

    assert board.put_down("a")
    assert board.put_down("b")
    assert board.stop("b")
    assert board.put_down("b")
    assert not board.put_down("never here")

    with pytest.raises(JobPutDown):
        board.begin(a)
    board.end(a)
    with pytest.raises(JobStopped) as caught:
        board.begin(b)
    assert not isinstance(caught.value, JobPutDown)


def test_job_is_put_down_between_windows_and_not_in_one() -> None:
    board = ProgressBoard()
    a = board.await_job("a", 1)
    board.begin(a)
    board.begin_window()

    board.put_down("a")
    board.step()
    board.reach("transcribing", 1.0, 2.0)
    with pytest.raises(JobPutDown):
        board.begin_window()
    board.end(a)

    b = board.await_job("b", 1)
    board.begin(b)
    board.begin_window()
    board.stop("b")
    with pytest.raises(JobStopped):
        board.step()


def test_job_is_spared_only_before_the_engine_had_a_window_of_it() -> None:
    board = ProgressBoard()
    a = board.await_job("a", 1)
    board.begin(a)
    board.begin_window()
    assert not board.spare("a")
    board.step()
    board.end(a)
    assert not board.spare("a")

    b = board.await_job("b", 1)
    assert board.spare("b")
    with pytest.raises(JobPutDown):
        board.begin(b)
