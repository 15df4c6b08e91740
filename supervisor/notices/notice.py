"""Interprets answers of the instance metadata service as interruption notices. PURE.

An answer (status, body, Date header) and two clocks in, a `Notice` with a deadline on the
host clock out. A `NoticeBoard` latches notices by kind, action and time: polled every
two seconds, each is reported once.

Source: EC2 User Guide, "Spot Instance interruption notices" and "EC2 instance rebalance
recommendations"; EC2 Auto Scaling User Guide, "Retrieve the target lifecycle state".
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from supervisor.contract.timestamps import iso_utc, unix_s_of_http, unix_s_of_iso

SPOT_NOTICE_S = 120.0  # AWS gives no more, whatever the time in it says
UNDATED_S = 90.0  # a guess, for a notice whose time can't be read: one real notice left 108 s
SKEW_MOST_S = 5.0
KNOWN_MOST = 32
_TIME_CHARS_MOST = 64


class Kind(str, enum.Enum):
    """The source of a notice."""

    SPOT = "spot"
    REBALANCE = "rebalance"
    ASG = "asg"


PATHS: Mapping[Kind, str] = {
    Kind.SPOT: "/latest/meta-data/spot/instance-action",
    Kind.REBALANCE: "/latest/meta-data/events/recommendations/rebalance",
    Kind.ASG: "/latest/meta-data/autoscaling/target-lifecycle-state",
}
SPOT_ACTIONS = ("terminate", "stop", "hibernate")
ASG_ENDS = ("Terminated", "Warmed:Terminated")
ASG_STAYS = ("InService", "Detached", "Standby", "Warmed:Running", "Warmed:Stopped", "Warmed:Hibernated")


class Nonsense(ValueError):
    """An answer that cannot be interpreted; the text says why. It is ignored."""


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP. `date` is the header as it stands, empty for none."""

    status: int
    body: str = ""
    date: str = ""


@dataclass(frozen=True)
class Now:
    """One moment on both clocks: the host's, and the wall's, which may be wrong."""

    at_s: float
    unix_s: float


@dataclass(frozen=True)
class NoticePolicy:
    """How long jobs have where the notice itself names no time."""

    drain_s: float  # before an ASG termination
    rebalance_s: float  # after a recommendation: a soft drain


@dataclass(frozen=True)
class Notice:
    """A notice that the machine will be taken. `time` is as the service wrote it, empty for none."""

    kind: Kind
    action: str
    time: str
    deadline_at_s: float  # by then workers and their work must be gone
    is_drill: bool = False

    @property
    def key(self) -> tuple[Kind, str, str]:
        return self.kind, self.action, self.time

    @property
    def why(self) -> str:
        """The notice as the reason of a drain."""
        words = {
            Kind.SPOT: f"spot {self.action} at {self.time or 'an unknown time'}",
            Kind.REBALANCE: f"rebalance recommendation of {self.time or 'an unknown time'}",
            Kind.ASG: "Auto Scaling terminates this instance",
        }[self.kind]
        return f"drill: {words}" if self.is_drill else words


def read(kind: Kind, answer: Answer, now: Now, policy: NoticePolicy) -> Optional[Notice]:
    """Return the notice in an answer of status 200 or 404; None if there is none.

    Raises `Nonsense` where the body is not what AWS documents.
    """
    if answer.status == 404:
        return None
    if kind is Kind.ASG:
        return _read_asg(answer.body, now, policy)
    facts = _object_in(answer.body)
    if kind is Kind.SPOT:
        return _read_spot(facts, answer.date, now)
    time = _text_in(facts, "noticeTime")
    return Notice(kind, "rebalance", time, now.at_s + policy.rebalance_s)


def remaining_s(time: str, date: str, now: Now) -> float:
    """Return how long a spot notice leaves: from 0 to 120 s.

    Counted from the service's own Date where the wall clock differs from it by over 5 s.
    """
    time_unix_s, date_unix_s = unix_s_of_iso(time), unix_s_of_http(date)
    if time_unix_s is None:
        return UNDATED_S
    is_skewed = date_unix_s is not None and abs(date_unix_s - now.unix_s) > SKEW_MOST_S
    now_unix_s = date_unix_s if is_skewed and date_unix_s is not None else now.unix_s
    return min(SPOT_NOTICE_S, max(0.0, time_unix_s - now_unix_s))


def body_of(kind: Kind, action: str, at_unix_s: float) -> str:
    """Return the body that the instance metadata service sends: for drills and the mock service."""
    if kind is Kind.ASG:
        return "Terminated"
    time = iso_utc(at_unix_s)
    return json.dumps({"action": action, "time": time} if kind is Kind.SPOT else {"noticeTime": time})


def _read_spot(facts: Mapping[str, Any], date: str, now: Now) -> Notice:
    action, time = facts.get("action"), _text_in(facts, "time")
    if action not in SPOT_ACTIONS:
        raise Nonsense(f"action {str(action)[:40]!r} is none of {', '.join(SPOT_ACTIONS)}")
    # A machine that hibernates freezes at once: its time is when it began to.
    left_s = 0.0 if action == "hibernate" else remaining_s(time, date, now)
    return Notice(Kind.SPOT, str(action), time, now.at_s + left_s)


def _read_asg(body: str, now: Now, policy: NoticePolicy) -> Optional[Notice]:
    state = body.strip()
    if state in ASG_ENDS:
        return Notice(Kind.ASG, "terminate", "", now.at_s + policy.drain_s)
    if state not in ASG_STAYS:
        raise Nonsense(f"{state[:40]!r} is no lifecycle state")
    return None


def _object_in(body: str) -> Mapping[str, Any]:
    try:
        facts = json.loads(body)
    except (ValueError, RecursionError):
        raise Nonsense(f"{body[:40]!r} is not JSON") from None
    if not isinstance(facts, dict):
        raise Nonsense(f"{body[:40]!r} is no object")
    return facts


def _text_in(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name)
    return value[:_TIME_CHARS_MOST] if isinstance(value, str) else ""


# --- what is known, and what is news ----------------------------------------------------


@dataclass(frozen=True)
class NoticeBoard:
    """Latched notices, oldest first, and which of them the service still reports."""

    known: tuple[Notice, ...] = ()
    told: frozenset[tuple[Kind, str, str]] = field(default_factory=frozenset)

    def take(self, kind: Kind, found: Optional[Notice]) -> tuple[NoticeBoard, Optional[Notice], bool]:
        """Record the service's answer for one kind; return a new notice, and whether one was withdrawn.

        A repeated notice is not new, with one exception: a notice without a time (a lifecycle
        state) is new again after it was withdrawn.
        """
        before = {key for key in self.told if key[0] is kind}
        others = self.told - before
        if found is None:
            return replace(self, told=others), None, bool(before)
        board = replace(self, told=others | {found.key})
        same = [notice for notice in self.known if notice.key == found.key and not notice.is_drill]
        if same and (found.time or found.key in before):
            return board, None, False
        rest = [notice for notice in self.known if notice not in same]
        return replace(board, known=(*rest, found)[-KNOWN_MOST:]), found, False

    def add_drill(self, notice: Notice) -> NoticeBoard:
        """Latch a drill's notice, which the service does not report."""
        return replace(self, known=(*self.known, replace(notice, is_drill=True))[-KNOWN_MOST:])

    def without_drills(self) -> NoticeBoard:
        return replace(self, known=tuple(notice for notice in self.known if not notice.is_drill))

    @property
    def first(self) -> Optional[Notice]:
        """The notice with the earliest deadline."""
        return min(self.known, key=lambda notice: notice.deadline_at_s, default=None)

    def is_withdrawn(self, notice: Notice) -> bool:
        return not notice.is_drill and notice.key not in self.told
