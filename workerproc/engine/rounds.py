"""Schedules native calls: which are made next, and which are batched. PURE.

Every job runs faster-whisper's sequential code; where that calls the engine, the job waits with a `Want`. The
oldest jobs are scheduled (seated), as many as a round has rows; after some minutes of audio a job yields to
the next ones. Once all seated jobs wait, all calls of the earliest kind are made; encode calls that are not
batched need not wait. Encode comes before generate, so that jobs that are out of step meet again at the next
generate call. All due calls are served, the oldest job first, so that no job starves.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

# Earliest first. A job that encodes generates right after. `window`: all of one, by engines that compute no
# calls together.
KINDS = ("window", "encode", "detect_language", "align", "generate")
BEGIN_A_WINDOW = ("window", "encode")
# Larger encode batches are no faster on a GPU, and a window takes 35 MB (tiny) to 350 MB (large).
ENCODE_MOST = 4
# On a CPU batches are slower: the attention of a window, 54 MB (tiny), does not fit into the caches.
ENCODE_MOST_ON_CPU = 1
TURN_WINDOWS = 16  # a guess: eight minutes of audio, so that few recordings are interrupted


@dataclass(frozen=True)
class Want:
    """A call that a job waits for."""

    age: int  # number in order of arrival: smaller is older
    kind: str
    key: Optional[Hashable]  # calls with equal keys can be batched; None: never


def seats(windows: Mapping[int, int], rows: int, jobs: Mapping[int, int]) -> frozenset[int]:
    """Return the lanes that take part in the next round, one per row.

    `windows`: how many each lane has had, by age; later lanes start from the count of the others. The oldest
    jobs go first, and yield after each `TURN_WINDOWS`: a recording of 12 hours does not block one of a
    minute, nor do many short ones block the long one. `jobs`: age of a lane -> age of its job. The parts of
    one job take turns after each window, so that a helping worker finds several unfinished parts.
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
    """Say whether calls can be made now, or should wait for those of other seated jobs.

    Calls that are never batched do not wait: windows, and encode calls with `encode_most` 1.
    """
    waiting = [want for want in wants if want.age in seated]
    single = BEGIN_A_WINDOW if encode_most == 1 else ("window",)
    if any(want.kind in single for want in waiting):
        return True
    return len(waiting) == len(seated)


def due(
    wants: Iterable[Want], seated: frozenset[int], rows: int, encode_most: int = ENCODE_MOST
) -> list[list[Want]]:
    """Return the calls to make now, in order, each as the list of wants that it serves."""
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
    """Return how many rows a round may have to end within `round_s`: at least one, at most `most`."""
    if row_s <= 0:
        return most
    return max(1, min(most, int(round_s / row_s)))
