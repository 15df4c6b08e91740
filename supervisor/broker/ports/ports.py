"""Interfaces to the outside: JobQueue, RecordTable, ObjectStore.

Each is kept by two backends (SQLite and folders; AWS), and one suite of tests runs on
all of them. A record changes only by one generic conditional update, so the protocol of
claim and commit is written once, in `record_rules.py` and `commit.py`, whatever is beneath.
All methods block and may raise `TryLater`, unless they say more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Callable, Optional, Protocol, Union

# Reasons of a refused extension: nobody will get the message again; time may cure it.
REMOVED = "the message was removed"
NOT_NOW = "the queue could not extend a message's visibility timeout"
NO_FACTS: Mapping[str, str] = MappingProxyType({})
Item = dict[str, Any]  # a record as it stands: texts, numbers, truth values, and maps of these


@dataclass(frozen=True)
class Message:
    """One delivery. The handle is valid until the next delivery; it is never logged."""

    id: str
    handle: str = field(repr=False)
    body: str = field(repr=False)
    receive_count: int
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)
    group: str = ""  # of a FIFO queue: one in flight at a time
    earlier_receives: int = 0  # of the messages that this is a copy of

    @property
    def receives(self) -> int:
        """Say how often its work was delivered, copies included; `receive_count` is what the queue counts."""
        return self.receive_count + self.earlier_receives


@dataclass(frozen=True)
class Counts:
    """What a queue holds, as far as it can tell."""

    waiting: Optional[int]
    in_flight: Optional[int]


class JobQueue(Protocol):
    """Messages that come back unless they are deleted in time."""

    def can_hold(self) -> bool:
        """Say whether leases may be extended and given back early on this queue."""

    def receive(self, max_count: int, visibility_s: float, wait_s: float) -> list[Message]:
        """Take up to `max_count` messages, hidden from others for `visibility_s`."""

    def extend(self, handles: Sequence[str], by_s: float) -> Mapping[str, str]:
        """Hide these for `by_s` from now. Gives the handles that were refused, with a reason.

        The reason is `REMOVED` where the message is in the queue no more, `NOT_NOW` where asking again may
        help; by any other the message may be somebody else's.
        """

    def release(self, handle: str, after_s: float) -> None:
        """Let the message be seen again after `after_s`. An old handle changes nothing."""

    def delete(self, handle: str) -> None:
        """Remove the message. Doing it twice is no error."""

    def bury(self, message: Message, reason: str, facts: Mapping[str, str] = NO_FACTS) -> bool:
        """Take a failed message out of circulation; False: it stays for the queue's own redrive.

        Reason and facts go with it, for whoever looks through the dead letters.
        """

    def receives_most(self) -> Optional[int]:
        """Say how often a message is delivered before the queue buries it; None: no limit is known."""

    def send_copy(self, message: Message, after_s: float) -> bool:
        """Put the same message in anew, to be seen after `after_s`: the queue counts its receives from 1.

        Its `receives` go on from this one's, so that what circles for ever is noticed.
        False: that is not permitted. The original stays; delete it next.
        """

    def counts(self) -> Counts:
        """Count what waits and what is held by anybody."""

    def send(self, body: str, attributes: Mapping[str, str]) -> str:
        """Put a message in; gives its id."""


@dataclass(frozen=True)
class Missing:
    """The attribute is not there (nor, therefore, any of a record that does not exist)."""

    name: str


@dataclass(frozen=True)
class Present:
    """The attribute is there."""

    name: str


@dataclass(frozen=True)
class Equals:
    """The attribute is there and has this value."""

    name: str
    value: Union[str, int, float]


@dataclass(frozen=True)
class Below:
    """The attribute is a number under this one."""

    name: str
    number: float


@dataclass(frozen=True)
class Above:
    """The attribute is a number over this one."""

    name: str
    number: float


@dataclass(frozen=True)
class AllOf:
    """Every part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[Condition, ...]


Condition = Union[Missing, Present, Equals, Below, Above, AllOf, AnyOf]


@dataclass(frozen=True)
class RecordKey:
    """Where a record stands: REM's partition and sort key."""

    user_id: str
    recording_id: str


@dataclass(frozen=True)
class Change:
    """One update: all of it happens where the condition holds, else nothing does."""

    condition: Condition
    put: Mapping[str, Any] = field(default_factory=dict)
    put_if_missing: Mapping[str, Any] = field(default_factory=dict)
    increment: Mapping[str, int] = field(default_factory=dict)
    remove: tuple[str, ...] = ()


@dataclass(frozen=True)
class Applied:
    """The change was made; `item` is the record after it."""

    item: Item


@dataclass(frozen=True)
class Refused:
    """The condition did not hold; `item` is the record as it stands (empty: there is none)."""

    item: Item


class RecordTable(Protocol):
    """Records by key, each change conditional and whole."""

    def unix_s(self) -> float:
        """Say what time it is by the clock that all who share this table go by. Never blocks."""

    def get(self, key: RecordKey) -> Optional[Item]:
        """Read the record as of now, or None."""

    def update(self, key: RecordKey, change: Change) -> Union[Applied, Refused]:
        """Make the change if its condition holds; a missing record is created by it."""


@dataclass(frozen=True)
class ObjectFacts:
    """What is known of an object that was fetched."""

    size_bytes: int
    etag: str
    version: str = ""


class ObjectStore(Protocol):
    """Objects in buckets: whole, or not there."""

    def fetch(
        self, bucket: str, key: str, to: Path, admit: Callable[[ObjectFacts], None], version: str = ""
    ) -> ObjectFacts:
        """Write the object, or this version of it where its bucket keeps versions, to the new file `to`.

        `admit` gets what is known before the first byte and may raise; never more than that
        size is written. Raises JobRejected where there is no such object, Forbidden on 403.
        """

    def look(self, bucket: str, key: str) -> Optional[ObjectFacts]:
        """Say what lies there now, with the right to fetch alone; None: nothing that we may see."""

    def put(self, bucket: str, key: str, source: Path, content_type: str) -> None:
        """Write the object from a file; readers see the old one or the new one, whole."""

    def delete(self, bucket: str, key: str) -> None:
        """Remove the object. Doing it twice is no error."""

    def names(self, bucket: str, prefix: str) -> list[str]:
        """Give the keys under a prefix that ends in a slash: the first thousand."""
