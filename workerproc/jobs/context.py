"""What the jobs of a worker share: settings, engine, progress, connection to the supervisor."""

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
    """A loaded engine and its surroundings, shared by all lanes."""

    settings: WorkerSettings
    recogniser: Recogniser
    batch: Batch
    engine: Mapping[str, str]  # versions, device and compute type: they determine the text
    progress: ProgressBoard
    send: Callable[[Any], None]  # to the supervisor
