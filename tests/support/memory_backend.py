"""Queue, records and objects in memory, following the rules of SQS as it really is.

For trying the broker's protocol without a network, on any clock: tests give a virtual
one. The imitations of AWS that run as servers are wrong exactly where leases matter, so
this one keeps to what SQS does there: a handle that ran out is answered well and does
nothing, a stale one never moves a newer owner's message, a poll whose client died takes
messages for nobody, a message may come twice, and nothing is hidden for over 12 hours
from its receipt. Nothing here survives the process.

Source: SQS Developer Guide and API Reference (ReceiveMessage, ChangeMessageVisibility,
DeleteMessage), and measurements noted by the project.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Optional, Union

from supervisor.broker.ports import conditions
from supervisor.broker.ports.errors import JobRejected
from supervisor.broker.ports.ports import (
    NO_FACTS,
    REMOVED,
    Applied,
    Change,
    Counts,
    Item,
    Message,
    ObjectFacts,
    RecordKey,
    Refused,
)
from supervisor.broker.ports.rem_table import key_attributes
from supervisor.broker.ports.streams import spool_errors
from supervisor.contract import clock

CAP_S = 43_200.0  # longest hold, from the receipt on
_LOOK_S = 0.01


@dataclass
class Stored:
    """One message as the queue has it. The last handle goes on deleting after its time."""

    id: str
    body: str
    visible_at_s: float = 0.0
    handle: str = ""
    received_at_s: float = 0.0
    receives: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)
    earlier_receives: int = 0


@dataclass(frozen=True)
class DeadLetter:
    """A message out of circulation; without a reason SQS's own redrive moved it."""

    id: str
    body: str
    reason: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _DeadPoll:
    """A question whose asker is gone: its answer hides messages all the same."""

    until_s: float
    count: int
    visibility_s: float


@dataclass
class QueueRules:
    """What differs from queue to queue."""

    max_receive_count: Optional[int] = None  # None: no dead-letter queue
    cap_s: float = CAP_S
    may_hold: bool = True  # ChangeMessageVisibility is permitted
    may_bury: bool = True  # SendMessage to the dead-letter queue is permitted
    may_send: bool = True  # SendMessage to the queue itself is permitted


class FakeQueue:
    """JobQueue in memory. Oldest visible message first; any number of threads."""

    def __init__(
        self,
        now_s: Callable[[], float] = clock.now_s,
        pause: Callable[[float], None] = time.sleep,
        rules: Optional[QueueRules] = None,
    ) -> None:
        self.rules = rules or QueueRules()
        self.messages: dict[str, Stored] = {}
        self.dead_letters: list[DeadLetter] = []
        self._now_s = now_s
        self._pause = pause
        self._numbers = itertools.count(1)
        self._given: dict[str, str] = {}  # every handle ever given -> message id
        self._dead_polls: list[_DeadPoll] = []
        self._guard = threading.RLock()

    def can_hold(self) -> bool:
        return self.rules.may_hold

    def receive(self, max_count: int, visibility_s: float, wait_s: float) -> list[Message]:
        until_s = self._now_s() + wait_s
        while True:
            with self._guard:
                self._serve_the_dead()
                found = self._take(max_count, visibility_s)
            if found or self._now_s() >= until_s:
                return found
            self._pause(_LOOK_S)

    def extend(self, handles: Sequence[str], by_s: float) -> Mapping[str, str]:
        refused = {handle: self._hide(handle, by_s) for handle in handles}
        return {
            handle: code if self._given.get(handle) in self.messages else REMOVED
            for handle, code in refused.items()
            if code
        }

    def release(self, handle: str, after_s: float) -> None:
        self._hide(handle, after_s)

    def delete(self, handle: str) -> None:
        with self._guard:
            stored = self._newest_by(handle)
            if stored is not None:
                del self.messages[stored.id]

    def receives_most(self) -> Optional[int]:
        return self.rules.max_receive_count

    def send_copy(self, message: Message, after_s: float) -> bool:
        if self.rules.may_send:
            copied = self.send(message.body, message.attributes)
            self.messages[copied].visible_at_s = self._now_s() + after_s
            self.messages[copied].earlier_receives = message.receives
        return self.rules.may_send

    def bury(self, message: Message, reason: str, facts: Mapping[str, str] = NO_FACTS) -> bool:
        has_dead_letters = self.rules.max_receive_count is not None
        if has_dead_letters and not self.rules.may_bury:
            return False
        if has_dead_letters:
            self.dead_letters.append(DeadLetter(message.id, message.body, reason, dict(facts)))
        self.delete(message.handle)
        return True

    def counts(self) -> Counts:
        with self._guard:
            held = sum(stored.visible_at_s > self._now_s() for stored in self.messages.values())
            return Counts(len(self.messages) - held, held)

    def send(self, body: str, attributes: Mapping[str, str]) -> str:
        with self._guard:
            stored = Stored(f"message-{next(self._numbers)}", body, attributes=dict(attributes))
            self.messages[stored.id] = stored
            self._serve_the_dead()
            return stored.id

    def deliver_again(self, message_id: str) -> None:
        """Be SQS on a bad day: the message comes once more, whoever holds it."""
        with self._guard:
            self.messages[message_id].visible_at_s = 0.0

    def leave_poll_behind(self, max_count: int, visibility_s: float, wait_s: float) -> None:
        """Be a poll whose client dies now: for `wait_s` it takes what comes, for nobody."""
        with self._guard:
            self._dead_polls.append(_DeadPoll(self._now_s() + wait_s, max_count, visibility_s))
            self._serve_the_dead()

    def _serve_the_dead(self) -> None:
        live = [poll for poll in self._dead_polls if poll.until_s > self._now_s()]
        # A poll is answered once: by the first messages that come.
        self._dead_polls = [poll for poll in live if not self._take(poll.count, poll.visibility_s)]

    def _take(self, max_count: int, visibility_s: float) -> list[Message]:
        now_s = self._now_s()
        taken: list[Message] = []
        for stored in list(self.messages.values()):
            if len(taken) == max_count:
                break
            if stored.visible_at_s > now_s or self._redriven(stored):
                continue
            stored.handle = f"handle-{next(self._numbers)}"
            stored.receives += 1
            stored.received_at_s = now_s
            stored.visible_at_s = now_s + min(visibility_s, self.rules.cap_s)
            self._given[stored.handle] = stored.id
            seen = (stored.receives, stored.attributes, "", stored.earlier_receives)
            taken.append(Message(stored.id, stored.handle, stored.body, *seen))
        return taken

    def _redriven(self, stored: Stored) -> bool:
        """Move what was received often enough to the dead-letter queue instead of giving it out."""
        limit = self.rules.max_receive_count
        if limit is None or stored.receives < limit:
            return False
        self.dead_letters.append(DeadLetter(stored.id, stored.body))
        del self.messages[stored.id]
        return True

    def _hide(self, handle: str, by_s: float) -> str:
        """Set the rest of a hold; gives SQS's refusal, or nothing (which proves nothing)."""
        with self._guard:
            if handle not in self._given:
                return "ReceiptHandleIsInvalid"
            if self._given[handle] not in self.messages:
                return "InvalidParameterValue"
            stored = self._newest_by(handle)
            now_s = self._now_s()
            if stored is None or stored.visible_at_s <= now_s:
                return ""  # stale or over: 200, and nothing happens
            if now_s + by_s > stored.received_at_s + self.rules.cap_s:
                return "InvalidParameterValue"
            stored.visible_at_s = now_s + by_s
            return ""

    def _newest_by(self, handle: str) -> Optional[Stored]:
        stored = self.messages.get(self._given.get(handle, ""))
        return stored if stored is not None and stored.handle == handle else None


class FakeRecords:
    """RecordTable in memory, each change under one lock."""

    def __init__(self) -> None:
        self.items: dict[RecordKey, Item] = {}
        self._guard = threading.Lock()

    def unix_s(self) -> float:
        return clock.wall_unix_s()

    def get(self, key: RecordKey) -> Optional[Item]:
        with self._guard:
            return copy.deepcopy(self.items.get(key))

    def update(self, key: RecordKey, change: Change) -> Union[Applied, Refused]:
        with self._guard:
            item = self.items.get(key, {})
            if not conditions.holds(change.condition, item):
                return Refused(copy.deepcopy(item))
            self.items[key] = {**key_attributes(key), **copy.deepcopy(conditions.changed(item, change))}
            return Applied(copy.deepcopy(self.items[key]))


@dataclass
class FakeObjects:
    """ObjectStore in memory; `puts` tells every write ever made, in order."""

    stored: dict[tuple[str, str], bytes] = field(default_factory=dict)
    puts: list[tuple[str, str]] = field(default_factory=list)

    def fetch(
        self, bucket: str, key: str, to: Path, admit: Callable[[ObjectFacts], None], version: str = ""
    ) -> ObjectFacts:
        facts, data = self.look(bucket, key), self.stored.get((bucket, key))
        if facts is None or data is None:
            raise JobRejected(f"There is no object {key[:300]!r} in bucket {bucket}.")
        admit(facts)
        with spool_errors(to), open(to, "xb") as file:
            file.write(data)
        return facts

    def look(self, bucket: str, key: str) -> Optional[ObjectFacts]:
        data = self.stored.get((bucket, key))
        return None if data is None else ObjectFacts(len(data), hashlib.sha256(data).hexdigest()[:32])

    def put(self, bucket: str, key: str, source: Path, content_type: str) -> None:
        data = source.read_bytes()
        self.stored[bucket, key] = data
        self.puts.append((bucket, key))

    def delete(self, bucket: str, key: str) -> None:
        self.stored.pop((bucket, key), None)

    def names(self, bucket: str, prefix: str) -> list[str]:
        return sorted(key for where, key in self.stored if where == bucket and key.startswith(prefix))
