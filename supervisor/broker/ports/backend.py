"""The ports of one backend and its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from supervisor.broker.ports.ports import JobQueue, ObjectStore, RecordTable


def _no_credentials() -> str:
    """Report that the embedded backend needs no credentials."""
    return "none needed"


def _nothing_to_prove() -> None:
    """Do nothing: the embedded backend creates its own files."""


@dataclass(frozen=True)
class Backend:
    """The ports of one backend. The `beat_` ports have short timeouts: a late heartbeat is useless."""

    kind: str
    detail: str
    queue: JobQueue
    records: RecordTable
    objects: ObjectStore
    beat_queue: JobQueue
    beat_records: RecordTable
    raw_bucket: str
    transcripts_bucket: str
    batch_count: int  # largest number of messages in one receive
    long_visibility_s: float  # used where leases can't be extended
    rest_s: float  # minimum time between two empty receives
    poll_s: float = 5.0  # a receive of a dead process hides messages this long plus one lease
    immutable_keys: bool = False  # each attempt's transcripts have their own keys
    credentials_from: Callable[[], str] = _no_credentials  # raises Misconfigured if there are none
    prove: Callable[[], None] = _nothing_to_prove  # raises Misconfigured if the settings name wrong resources
