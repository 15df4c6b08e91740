"""Reads a descriptor in small shares, so that a flood from one child delays no other.

Data is handled for a few milliseconds at a time. While some of it waits nothing more is read, so a
child whose socket or pipe is full has to wait too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Callable, Optional

TURN_S = 0.005  # one child's share; then others have their turn
REST_S = 0.015  # the pause after a turn: no child takes more than a quarter of the loop


class FairReader:
    """Calls `read` when there is something to read, and `deal` with each piece that it put into `waiting`.

    `read` returns whether data arrived. It may set `is_flood`: then the next read comes after a pause.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fd: int,
        read: Callable[[], bool],
        deal: Callable[[bytes], None],
    ) -> None:
        self.waiting: deque[bytes] = deque()
        self.is_flood = False
        self._loop, self._fd, self._read, self._deal = loop, fd, read, deal
        self._resting: Optional[asyncio.TimerHandle] = None
        self._may_have_more = True
        self._is_listening = False
        self._is_closed = False
        self._listen(True)

    def read_no_more(self) -> None:
        """The descriptor is at its end: handle what waits, then stop."""
        self._may_have_more = False
        self._listen(False)

    def finish(self, reads_most: int, pieces_most: int) -> int:
        """Read and handle the rest within these limits; return the number of pieces left out."""
        for _ in range(reads_most):
            came = self._may_have_more and self._read()
            while self.waiting and not self._is_closed:
                if not pieces_most:
                    return len(self.waiting)
                pieces_most -= 1
                self._deal(self.waiting.popleft())
            if not came or self._is_closed:
                break
        return 0

    def close(self) -> None:
        """Stop watching the descriptor; its owner closes it."""
        self.read_no_more()
        self._is_closed = True
        # They are methods of our owner: a reference cycle that only the collector would free.
        self._read, self._deal = _nothing, _ignore
        if self._resting is not None:
            self._resting.cancel()

    def _on_readable(self) -> None:
        self._read()
        self._take_turn()

    def _take_turn(self) -> None:
        until_s = self._loop.time() + TURN_S
        try:
            while self.waiting and not self._is_closed and self._loop.time() < until_s:
                self._deal(self.waiting.popleft())
        finally:  # whatever a piece did: a child that is not read any more looks as if it hangs
            self._rest_or_read()

    def _rest_or_read(self) -> None:
        must_rest = (self.waiting or self.is_flood) and not self._is_closed
        self.is_flood = False
        self._listen(self._may_have_more and not must_rest)
        if must_rest:
            self._resting = self._loop.call_later(REST_S, self._take_turn)

    def _listen(self, on: bool) -> None:
        if on and not self._is_listening:
            self._loop.add_reader(self._fd, self._on_readable)
        elif self._is_listening and not on:
            self._loop.remove_reader(self._fd)
        self._is_listening = on


def _nothing() -> bool:
    return False


def _ignore(piece: bytes) -> None:
    pass
