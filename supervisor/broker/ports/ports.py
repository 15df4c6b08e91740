"""Interfaces to the outside: JobQueue, RecordTable, ObjectStore.

Two backends implement them (SQLite and folders; AWS), and one test suite runs against both. A record changes
only by a generic conditional update, so the protocol of claim and commit is written once for all backends, in
`record_rules.py` and `commit.py`. All methods block, and may raise `TryLater` in addition to what they
document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Callable, Optional, Protocol, Union

# Reasons why an extension was refused. REMOVED: nobody will receive the message again. NOT_NOW: a retry may
# succeed.
REMOVED = "the message was removed"
NOT_NOW = "the queue could not extend a message's visibility timeout"
NO_FACTS: Mapping[str, str] = MappingProxyType({})
Item = dict[str, Any]  # a record's attributes: texts, numbers, booleans, and maps of these


@dataclass(frozen=True)
class Message:
    """One delivery of a message. The handle is valid until the next delivery; it is never logged."""

    id: str
    handle: str = field(repr=False)
    body: str = field(repr=False)
    receive_count: int
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)
    group: str = ""  # of a FIFO queue, which has one message of a group in flight at a time
    earlier_receives: int = 0  # receives of the messages that this one is a copy of

    @property
    def receives(self) -> int:
        """Return how often its job was delivered, including copies; `receive_count` is the queue's count."""
        return self.receive_count + self.earlier_receives


@dataclass(frozen=True)
class Counts:
    """A queue's message counts; None if unknown."""

    waiting: Optional[int]
    in_flight: Optional[int]


class JobQueue(Protocol):
    """A queue that delivers a message again unless it is deleted in time."""

    def can_hold(self) -> bool:
        """Return whether leases on this queue may be extended and released early."""

    def receive(self, max_count: int, visibility_s: float, wait_s: float) -> list[Message]:
        """Receive up to `max_count` messages, hidden from other receivers for `visibility_s`."""

    def extend(self, handles: Sequence[str], by_s: float) -> Mapping[str, str]:
        """Set the messages' visibility timeout to `by_s` from now. Returns refused handles, with reasons.

        The reason is `REMOVED` if the message is no longer in the queue, and `NOT_NOW` if a retry may
        succeed; with any other reason, another receiver may have the message.
        """

    def release(self, handle: str, after_s: float) -> None:
        """Make the message visible after `after_s`. An outdated handle has no effect."""

    def delete(self, handle: str) -> None:
        """Delete the message. Idempotent."""

    def bury(self, message: Message, reason: str, facts: Mapping[str, str] = NO_FACTS) -> bool:
        """Dead-letter a failed message. False: it is left to the queue's redrive policy.

        Reason and facts are attached for whoever inspects the dead-letter queue.
        """

    def receives_most(self) -> Optional[int]:
        """Return how often a message is delivered before the queue dead-letters it; None: unknown."""

    def send_copy(self, message: Message, after_s: float) -> bool:
        """Send the message again, visible after `after_s`: the queue counts the copy's receives from 1.

        The copy's `receives` continue the original's, so that endless redelivery is noticed. False: not
        permitted. The original is unchanged; delete it next.
        """

    def counts(self) -> Counts:
        """Count the messages that are waiting, and those in flight at any receiver."""

    def send(self, body: str, attributes: Mapping[str, str]) -> str:
        """Send a message; returns its id."""


@dataclass(frozen=True)
class Missing:
    """The attribute does not exist (true of every attribute of a missing record)."""

    name: str


@dataclass(frozen=True)
class Present:
    """The attribute exists."""

    name: str


@dataclass(frozen=True)
class Equals:
    """The attribute exists and has this value."""

    name: str
    value: Union[str, int, float]


@dataclass(frozen=True)
class Below:
    """The attribute is a number below this one."""

    name: str
    number: float


@dataclass(frozen=True)
class Above:
    """The attribute is a number above this one."""

    name: str
    number: float


@dataclass(frozen=True)
class AllOf:
    """All parts hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[Condition, ...]


Condition = Union[Missing, Present, Equals, Below, Above, AllOf, AnyOf]


@dataclass(frozen=True)
class RecordKey:
    """A record's key: REM's partition and sort key."""

    user_id: str
    recording_id: str


@dataclass(frozen=True)
class Change:
    """One atomic update, applied only if the condition holds."""

    condition: Condition
    put: Mapping[str, Any] = field(default_factory=dict)
    put_if_missing: Mapping[str, Any] = field(default_factory=dict)
    increment: Mapping[str, int] = field(default_factory=dict)
    remove: tuple[str, ...] = ()


@dataclass(frozen=True)
class Applied:
    """The change was applied; `item` is the record after it."""

    item: Item


@dataclass(frozen=True)
class Refused:
    """The condition did not hold; `item` is the current record (empty: there is none)."""

    item: Item


class RecordTable(Protocol):
    """Records by key; every change is conditional and atomic."""

    def unix_s(self) -> float:
        """Return the time by the clock that all users of this table share. Never blocks."""

    def get(self, key: RecordKey) -> Optional[Item]:
        """Read the record (strongly consistent), or None."""

    def update(self, key: RecordKey, change: Change) -> Union[Applied, Refused]:
        """Apply the change if its condition holds; creates a missing record."""


@dataclass(frozen=True)
class ObjectFacts:
    """The metadata of a downloaded object."""

    size_bytes: int
    etag: str
    version: str = ""


class ObjectStore(Protocol):
    """Objects in buckets; reads and writes are atomic."""

    def fetch(
        self, bucket: str, key: str, to: Path, admit: Callable[[ObjectFacts], None], version: str = ""
    ) -> ObjectFacts:
        """Download the object, or this version of it if the bucket is versioned, to the new file `to`.

        `admit` is called with the metadata before the first byte and may raise; never more than that size is
        written. Raises JobRejected if there is no such object, Forbidden on 403.
        """

    def look(self, bucket: str, key: str) -> Optional[ObjectFacts]:
        """Return the current object's metadata, with the read permission alone; None if not visible to us."""

    def put(self, bucket: str, key: str, source: Path, content_type: str) -> None:
        """Upload a file; readers see the old object or the new one, never a part."""

    def delete(self, bucket: str, key: str) -> None:
        """Delete the object. Idempotent."""

    def names(self, bucket: str, prefix: str) -> list[str]:
        """Return the keys under a prefix that ends in a slash: the first thousand."""
