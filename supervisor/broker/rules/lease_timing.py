"""Arithmetic of leases: when to extend, how long to wait, when a hold ends. PURE.

Every job has two leases. The message's (on the host clock, `_at_s`) decides who may work on it; the record's
(`_unix_s`, by the table's clock) informs other hosts. The record's ends just before the message's, so that
the next receiver of a dead host's message finds its record free. Random numbers are passed in, from 0 to 1.
"""

from __future__ import annotations

import math
from typing import Optional

# Two hosts that measure the table's clock by Date headers differ by up to a second and a half.
RECORD_SLACK_S = 2.0
KEEP_FRESH_S = 15.0  # three of the supervisor's Keep messages
COMMIT_MARGIN_S = 3.0  # time for a fence while the record still names us as its holder
WORN_MARGIN_S = 300.0  # a guess: time to complete a commit that has started
DEADLINE_MARGIN_S = 0.5  # stop this long before the deadline: we may notice it late


def extend_at_s(asked_at_s: float, lease_s: float, chance: float) -> float:
    """Return when to extend a message's lease next: after a third of it, give or take a tenth."""
    return asked_at_s + lease_s / 3 * (0.9 + 0.2 * chance)


def renew_after_s(lease_s: float) -> float:
    """Return how long a record may go without renewal if no extension of the message triggers one."""
    return lease_s / 2


def is_worn(received_at_s: float, hold_most_s: float, now_s: float) -> bool:
    """Return whether a message was held almost as long as the queue allows; its job is then requeued."""
    return now_s >= received_at_s + hold_most_s - min(WORN_MARGIN_S, hold_most_s / 4)


def extend_by_s(received_at_s: float, hold_most_s: float, lease_s: float, now_s: float) -> float:
    """Return how long a lease may be extended: not beyond the queue's limit, counted from the receipt."""
    return max(0.0, min(lease_s, received_at_s + hold_most_s - now_s))


def runs_out(receive_count: int, receives_most: Optional[int]) -> bool:
    """Return whether the queue would dead-letter the message instead of delivering it again."""
    return receives_most is not None and receive_count >= receives_most


def is_over(deadline_at_s: float, now_s: float) -> bool:
    """Return whether the lease must be considered lost: the handle is not used any more."""
    return now_s >= deadline_at_s - DEADLINE_MARGIN_S


def may_fence(deadline_at_s: float, now_s: float, lease_s: float) -> bool:
    """Return whether there is time to start a commit under this lease."""
    return now_s < deadline_at_s - min(COMMIT_MARGIN_S, lease_s / 4)


def is_kept(kept_at_s: float, now_s: float) -> bool:
    """Return whether the supervisor reported the job's progress recently enough to extend its lease."""
    return now_s - kept_at_s <= KEEP_FRESH_S


def record_until_unix_s(now_unix_s: float, deadline_at_s: float, now_s: float, lease_s: float) -> float:
    """Return until when to hold a record whose message is ours until `deadline_at_s`.

    It ends slightly earlier, because clocks differ: if a redelivered message finds its record still held,
    that delivery is wasted.
    """
    return now_unix_s + deadline_at_s - now_s - min(RECORD_SLACK_S, lease_s / 6)


def record_wait_s(lease_unix_s: float, now_unix_s: float) -> float:
    """Return how long another owner's record may still be held; at least a second.

    Rounded up to whole seconds, plus one: SQS takes no fractions, and a message that returns too early wastes
    a delivery, which a queue with maxReceiveCount = 3 can't afford.
    """
    return max(1.0, math.ceil(lease_unix_s - now_unix_s) + 1.0)


def back_off_s(tries: int, chance: float, first_s: float = 1.0, most_s: float = 30.0) -> float:
    """Return the wait after `tries` failures in a row: exponential backoff with full jitter, limited."""
    return min(most_s, first_s * 2.0 ** min(tries, 16)) * max(0.1, chance)


def give_back_s(receive_count: int, chance: float) -> float:
    """Return how long to hide a message whose job is blocked by an outage: 30 to 300 s."""
    return min(300.0, 30.0 * 2.0 ** min(max(receive_count - 1, 0), 4) * (1.0 + 0.25 * chance))
