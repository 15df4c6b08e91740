"""The ports of one backend and its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from supervisor.broker.ports.ports import JobQueue, ObjectStore, RecordTable


def _no_credentials() -> str:
    """Say that the embedded backend needs none."""
    return "none needed"


def _nothing_to_prove() -> None:
    """Find nothing wrong: what the embedded backend is on, it made itself."""


@dataclass(frozen=True)
class Backend:
    """The ports of one backend. Those for beats have little patience: a beat that waits is none."""

    kind: str
    detail: str
    queue: JobQueue
    records: RecordTable
    objects: ObjectStore
    beat_queue: JobQueue
    beat_records: RecordTable
    raw_bucket: str
    transcripts_bucket: str
    batch_count: int  # most messages of one receive
    long_visibility_s: float  # where leases can't be extended
    rest_s: float  # from one empty receive to the next, at least
    poll_s: float = 5.0  # what a dead poll may hide a message for is this plus one lease
    immutable_keys: bool = False  # transcripts get a name for each attempt
    credentials_from: Callable[[], str] = _no_credentials  # raises Misconfigured where there are none
    prove: Callable[[], None] = _nothing_to_prove  # raises Misconfigured where the settings name wrong things
