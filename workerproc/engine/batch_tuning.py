"""Chooses the batch size of generate calls on a CPU: several windows or one, by measurement. PURE.

Which is faster depends on CPU and library: with MKL and AVX-512 a window takes 102 ms alone and 138 ms in
batches of four; elsewhere batches of four are faster (docs/decisions/0014). So the first calls try both, and
the slower one is retried occasionally. CPU time per token is compared, because windows differ in length and
other load on the machine must not matter. The text does not depend on the choice.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace

# Calls needed to measure a batch size; calls of several windows vary less.
_TRIES_ONE, _TRIES_SEVERAL = 10, 4
_KEPT = 2 * _TRIES_ONE  # the newest calls count
_AGAIN_CALLS = (
    2_000  # until the slower one is retried, since other load changes; a guess: ten minutes of work
)
# 10 % of generating is about 3 % of a window. Batches cost more than that elsewhere: jobs missing in other
# workers, incomplete last rounds, slower drains, memory. A guess.
_WORTH_RATIO = 0.9


@dataclass(frozen=True)
class Measured:
    """Recent measurements in CPU seconds per token, the newest last."""

    most: int  # windows per call, at most
    one: tuple[float, ...] = ()
    several: tuple[float, ...] = ()
    since_count: int = 0  # calls since both were measured


def rows(measured: Measured) -> int:
    """Return how many windows the next call may take."""
    if len(measured.several) < _TRIES_SEVERAL:
        return measured.most
    if len(measured.one) < _TRIES_ONE:
        return 1
    several_s, one_s = statistics.median(measured.several), statistics.median(measured.one)
    return measured.most if several_s < _WORTH_RATIO * one_s else 1


def noted(measured: Measured, count: int, token_s: float) -> Measured:
    """Add a measurement: a call of `count` windows."""
    if count == 1:
        measured = replace(measured, one=(*measured.one, token_s)[-_KEPT:])
    else:
        measured = replace(measured, several=(*measured.several, token_s)[-_KEPT:])
    if not _is_decided(measured):
        return measured
    if measured.since_count < _AGAIN_CALLS:
        return replace(measured, since_count=measured.since_count + 1)
    if rows(measured) == 1:
        return replace(measured, several=(), since_count=0)
    return replace(measured, one=(), since_count=0)


def in_ms(measured: Measured) -> dict[str, float]:
    """Return the medians for display: milliseconds per token, by windows per call."""
    known = {"1": measured.one, str(measured.most): measured.several}
    return {name: round(statistics.median(costs) * 1e3, 3) for name, costs in known.items() if costs}


def _is_decided(measured: Measured) -> bool:
    return len(measured.several) >= _TRIES_SEVERAL and len(measured.one) >= _TRIES_ONE
