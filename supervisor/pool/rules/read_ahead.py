"""How many recordings are downloaded ahead of free workers. PURE.

A host with fast workers and short recordings would wait for its downloads, one that fetched
plenty would keep from other hosts what they could begin. So it fetches what its
workers will have finished by the time that a fetch takes, as measured by the jobs they ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Optional, Protocol

# Question, claim and download, and the rest of a round in which many jobs end at once: a guess for a slow
# network. It is also about what a recording may wait here while another host has room for it.
_SOON_S = 5.0
_NEW_WEIGHT = 0.2  # of the latest job


class WorkerPace(Protocol):
    """How a worker gets on: jobs at a time, and how long each is in work (None: not known yet)."""

    @property
    def places(self) -> int: ...

    @property
    def job_s(self) -> Optional[float]: ...


def measured(known_s: Optional[float], latest_s: float) -> float:
    """Add the latest job to the measured length of a job."""
    return latest_s if known_s is None else known_s + _NEW_WEIGHT * (latest_s - known_s)


def ahead(paces: Iterable[WorkerPace], least: int) -> int:
    """Say how many recordings to hold ready beyond the free places.

    `least` at least, and otherwise never more than run at a time.
    """
    return max(least, math.ceil(sum(_ending(pace) for pace in paces)))


def _ending(pace: WorkerPace) -> float:
    """Jobs that this worker ends soon: at most those of all its places."""
    if not pace.job_s:
        return 0.0
    return pace.places * min(1.0, _SOON_S / pace.job_s)
