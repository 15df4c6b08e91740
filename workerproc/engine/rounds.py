"""Which native calls are made next, and together: the rule of lock-step. PURE.

Every job of a worker runs faster-whisper's own sequential code; where that code calls the
engine, the job waits with a `Want`. The oldest jobs are seated, as many as a round may have
rows; after some minutes of its audio a job lets the next ones have their turn. Once every seated
job waits, all calls of the earliest kind are made (encodings that are made one by one need not
wait): encodings come before generations, so that jobs which drifted apart meet again at their next
generation. Each want that is due is served in that turn, oldest job first: no job can starve another.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

# Earliest first. Whoever encodes comes to generate right after.
KINDS = ("encode", "detect_language", "align", "generate")
# More windows at once make encoding no faster on a GPU and take 35 MB each (tiny) or ten times that (large).
ENCODE_MOST = 4
# On a CPU two at once are slower than one after the other: 54 MB of attention each (tiny) leave the caches.
ENCODE_MOST_ON_CPU = 1
TURN_WINDOWS = 16  # a guess: eight minutes of audio, so that few recordings are ever interrupted


@dataclass(frozen=True)
class Want:
    """A call that a job waits for."""

    age: int  # the job's number in the order of arrival: the smaller, the older
    kind: str
    key: Optional[Hashable]  # calls of equal keys can be one call; None: on its own


def seats(windows: Mapping[int, int], rows: int, jobs: Mapping[int, int]) -> frozenset[int]:
    """Say which lanes take part in the next round, one a row.

    `windows`, by a lane's age: how many it has had; who comes later counts from where the others are. The
    oldest jobs go first, and after each `TURN_WINDOWS` make way: twelve hours don't hold up a minute, nor do
    many minutes hold up the twelve hours. `jobs`: the age of the job whose part a lane has. The parts of one
    job take turns after each window, so that whoever comes to help finds several that are not through.
    """
    least: dict[int, int] = {}
    for age, had in windows.items():
        job = jobs.get(age, age)
        least[job] = min(least.get(job, had), had)

    def place(age: int) -> tuple[int, int, int, int]:
        job = jobs.get(age, age)
        return least[job] // TURN_WINDOWS, job, windows[age], age

    return frozenset(sorted(windows, key=place)[:rows])


def may_begin(wants: Iterable[Want], seated: frozenset[int], encode_most: int = ENCODE_MOST) -> bool:
    """Say whether calls may be made already, or are better made with those of jobs still to ask.

    Windows that are encoded one by one gain nothing by company, so nobody is waited for.
    """
    waiting = [want for want in wants if want.age in seated]
    if encode_most == 1 and any(want.kind == "encode" for want in waiting):
        return True
    return len(waiting) == len(seated)


def due(
    wants: Iterable[Want], seated: frozenset[int], rows: int, encode_most: int = ENCODE_MOST
) -> list[list[Want]]:
    """Give the calls to make now, in order, each as the wants that it serves."""
    waiting = sorted((want for want in wants if want.age in seated), key=lambda want: want.age)
    for kind in KINDS:
        now = [want for want in waiting if want.kind == kind]
        if now:
            return _grouped(now, min(rows, encode_most) if kind == "encode" else rows)
    return []


def _grouped(wants: Sequence[Want], most: int) -> list[list[Want]]:
    groups: list[list[Want]] = []
    open_groups: dict[Hashable, list[Want]] = {}
    for want in wants:
        group = open_groups.get(want.key) if want.key is not None else None
        if group is None or len(group) >= most:
            group = []
            groups.append(group)
            if want.key is not None:
                open_groups[want.key] = group
        group.append(want)
    return groups


def rows_within(round_s: float, row_s: float, most: int) -> int:
    """Say how many rows a round may have so that it ends within `round_s`: one at least, `most` at most."""
    if row_s <= 0:
        return most
    return max(1, min(most, int(round_s / row_s)))
