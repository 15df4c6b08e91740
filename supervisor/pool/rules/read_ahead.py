"""How many recordings are downloaded ahead of free workers. PURE.

A host with fast workers and short recordings would wait for downloads; a host that downloads too
many keeps jobs from other hosts. So a host downloads as many recordings ahead as its workers finish
during one download, estimated from the measured length of their jobs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Optional, Protocol

# Receive, claim and download, and the rest of a round in which many jobs end at once: a guess for a slow
# network. It is also about how long a recording may wait here while another host has a free place.
_SOON_S = 5.0
_NEW_WEIGHT = 0.2  # of the latest job


class WorkerPace(Protocol):
    """A worker's places for jobs, and how long one job takes there (None: not measured)."""

    @property
    def places(self) -> int: ...

    @property
    def job_s(self) -> Optional[float]: ...


def measured(known_s: Optional[float], latest_s: float) -> float:
    """Update the average length of a job with the latest one."""
    return latest_s if known_s is None else known_s + _NEW_WEIGHT * (latest_s - known_s)


def ahead(paces: Iterable[WorkerPace], least: int) -> int:
    """Return how many recordings to download beyond the free places.

    At least `least`, otherwise at most as many as run at the same time.
    """
    return max(least, math.ceil(sum(_ending(pace) for pace in paces)))


def _ending(pace: WorkerPace) -> float:
    """Jobs that this worker will soon finish: at most those of all its places."""
    if not pace.job_s:
        return 0.0
    return pace.places * min(1.0, _SOON_S / pace.job_s)
