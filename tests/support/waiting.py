"""How tests wait for what other processes and threads do: asked for again and again, with a limit."""

from __future__ import annotations

import asyncio
import time
from typing import Callable, Optional, TypeVar, Union

LIMIT_S = 90.0  # for what takes a second on an idle machine
_PAUSE_S = 0.01

T = TypeVar("T")
What = Union[str, Callable[[], str]]  # a call is made at the end, and can tell how far it came


def wait_for(fact: Callable[[], Optional[T]], what: What, limit_s: float = LIMIT_S) -> T:
    """Ask until `fact` gives something true; fail naming `what` after the limit."""
    until_s = time.monotonic() + limit_s
    while True:
        found = fact()
        if found:
            return found
        _check_limit(until_s, what, limit_s)
        time.sleep(_PAUSE_S)


async def wait_in_loop(fact: Callable[[], Optional[T]], what: What, limit_s: float = LIMIT_S) -> T:
    """Do the same inside an event loop, which goes on meanwhile."""
    until_s = time.monotonic() + limit_s
    while True:
        found = fact()
        if found:
            return found
        _check_limit(until_s, what, limit_s)
        await asyncio.sleep(_PAUSE_S)


def _check_limit(until_s: float, what: What, limit_s: float) -> None:
    if time.monotonic() > until_s:
        words = what if isinstance(what, str) else what()
        raise AssertionError(f"waited {limit_s:.0f} s in vain: {words}")
