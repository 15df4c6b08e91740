"""An order is for one attempt of a recording: a later attempt neither undoes it nor suffers from it.

A job that came again right after it was stopped undid the stop: two threads worked on one recording, and
both wrote into its folder.
"""

from __future__ import annotations

import threading

import pytest

from tests.workerproc.process import LIMIT_S
from workerproc.process.errors import JobPutDown, JobStopped
from workerproc.process.progress import ProgressBoard, Ticket


class Lane:
    """A thread that begins a job and then waits to be told to step."""

    def __init__(self, board: ProgressBoard, ticket: Ticket) -> None:
        self.has_begun, self.ended = threading.Event(), threading.Event()
        self.error: BaseException = AssertionError("it did not end")
        self._may_step = threading.Event()
        self._board, self._ticket = board, ticket
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        try:
            self._board.begin(self._ticket)
            self.has_begun.set()
            assert self._may_step.wait(LIMIT_S)
            self._board.step()
        except BaseException as error:  # the test looks at it
            self.error = error
        finally:
            self._board.end(self._ticket)
            self.ended.set()

    def step(self) -> None:
        self._may_step.set()
        assert self.ended.wait(LIMIT_S)


def test_a_job_that_comes_again_does_not_undo_the_stop_of_its_earlier_attempt() -> None:
    board = ProgressBoard()
    first = Lane(board, board.await_job("a", 1))
    assert first.has_begun.wait(LIMIT_S)

    assert board.stop("a", 1)
    second = Lane(board, board.await_job("a", 2))
    first.step()

    assert isinstance(first.error, JobStopped)
    assert second.has_begun.wait(LIMIT_S), "the later attempt goes on by itself"
    assert [progress.attempt for progress in board.beat().jobs] == [2]


def test_later_attempt_waits_until_the_earlier_has_left() -> None:
    board = ProgressBoard()
    first = Lane(board, board.await_job("a", 1))
    assert first.has_begun.wait(LIMIT_S)
    board.stop("a", 1)

    second = Lane(board, board.await_job("a", 2))

    assert not second.has_begun.wait(0.2)
    assert [progress.attempt for progress in board.beat().jobs] == [1]
    first.step()
    assert second.has_begun.wait(LIMIT_S)


def test_later_attempt_that_is_stopped_while_it_waits_never_begins() -> None:
    board = ProgressBoard()
    first = Lane(board, board.await_job("a", 1))
    assert first.has_begun.wait(LIMIT_S)
    second = Lane(board, board.await_job("a", 2))

    assert board.stop("a", 2)

    assert second.ended.wait(LIMIT_S)
    assert isinstance(second.error, JobStopped)
    assert not first.ended.is_set()


@pytest.mark.parametrize("how", ["stop", "put_down", "spare"])
def test_late_order_for_an_earlier_attempt_changes_nothing(how: str) -> None:
    board = ProgressBoard()
    ticket = board.await_job("a", 2)

    assert getattr(board, how)("a", 1) is False

    board.begin(ticket)
    board.step()


def test_order_without_an_attempt_is_for_whichever_is_here() -> None:
    board = ProgressBoard()
    ticket = board.await_job("a", 7)

    assert board.put_down("a")

    with pytest.raises(JobPutDown):
        board.begin(ticket)


def test_same_attempt_that_comes_back_at_once_can_still_be_stopped() -> None:
    """Put down, told so, and given again before the first thread had left the board."""
    board = ProgressBoard()
    first, second = board.await_job("a", 1), board.await_job("a", 1)

    board.end(first)

    assert board.known_count == 1
    assert board.stop("a", 1)
    with pytest.raises(JobStopped):
        board.begin(second)
