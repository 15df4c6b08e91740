"""What the jobs of a worker share: settings, engine, progress, connection to the supervisor."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

from supervisor.contract.child_bootstrap import WorkerSettings
from workerproc.engine.batch import Batch
from workerproc.engine.port import Engine
from workerproc.process.progress import ProgressBoard


class WindowCounts:
    """How many windows were computed, by how they were encoded: see `fit_encoding.py`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, counts: Mapping[str, int]) -> None:
        """Add those of a recording or a part."""
        with self._lock:
            self._counts.update(counts)

    def as_timings(self) -> dict[str, int]:
        """Return them by the names that a transcript has; none if all windows were full."""
        counts = self.total()
        return {f"windows_{name}": count for name, count in counts.items()} if set(counts) != {"full"} else {}

    def total(self) -> dict[str, int]:
        """Return all counts so far."""
        with self._lock:
            return dict(self._counts)


@dataclass(frozen=True)
class WorkerContext:
    """A loaded engine and its surroundings, shared by all lanes."""

    settings: WorkerSettings
    recogniser: Engine
    batch: Batch
    engine: Mapping[str, str]  # versions, device and compute type: they determine the text
    progress: ProgressBoard
    send: Callable[[Any], None]  # to the supervisor
    windows: WindowCounts = field(default_factory=WindowCounts)
