"""What a worker has for its jobs, whichever they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from supervisor.contract.child_bootstrap import WorkerSettings
from workerproc.engine.batch import Batch
from workerproc.engine.recogniser import Recogniser
from workerproc.process.progress import ProgressBoard


@dataclass(frozen=True)
class WorkerContext:
    """One loaded engine and what goes with it, shared by all lanes."""

    settings: WorkerSettings
    recogniser: Recogniser
    batch: Batch
    engine: Mapping[str, str]  # as the worker tells of itself: it decides the text
    board: ProgressBoard
    say: Callable[[Any], None]  # to the supervisor
