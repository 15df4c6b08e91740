"""How many windows a generate call takes on a CPU: several or one, whichever costs less by measure. PURE.

Which it is depends on the CPU and its library: with MKL and AVX-512 one window costs 102 ms alone and 138
in calls of four, elsewhere four are cheaper (docs/decisions/0014). So the first calls of real work try both,
and the dearer way is tried again now and then. What is compared is the CPU time of a token: windows
differ in length, and other work on the machine must not decide. The text does not depend on it.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace

# So many calls tell a way's cost. One of several windows tells more than one of a single one.
_TRIES_ONE, _TRIES_SEVERAL = 10, 4
_KEPT = 2 * _TRIES_ONE  # the newest calls count
_AGAIN_CALLS = 2_000  # the machine's other load changes; a guess: some ten minutes of work
# A tenth of generating is some 3 % of a window. Several at once cost more than that elsewhere: a worker takes
# more recordings from its neighbours, a last round is not full, a drain waits, memory. A guess.
_WORTH_RATIO = 0.9


@dataclass(frozen=True)
class Measured:
    """What calls cost of late: CPU seconds a token, the newest last."""

    most: int  # windows that a call may take
    one: tuple[float, ...] = ()
    several: tuple[float, ...] = ()
    since_count: int = 0  # calls since both were tried


def rows(measured: Measured) -> int:
    """Say how many windows the next call may take."""
    if len(measured.several) < _TRIES_SEVERAL:
        return measured.most
    if len(measured.one) < _TRIES_ONE:
        return 1
    several_s, one_s = statistics.median(measured.several), statistics.median(measured.one)
    return measured.most if several_s < _WORTH_RATIO * one_s else 1


def noted(measured: Measured, count: int, token_s: float) -> Measured:
    """Add a call of `count` windows."""
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
    """Give what is known for people: milliseconds a token, by windows a call."""
    known = {"1": measured.one, str(measured.most): measured.several}
    return {name: round(statistics.median(costs) * 1e3, 3) for name, costs in known.items() if costs}


def _is_decided(measured: Measured) -> bool:
    return len(measured.several) >= _TRIES_SEVERAL and len(measured.one) >= _TRIES_ONE
