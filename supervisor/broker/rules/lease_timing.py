"""Arithmetic of leases: when to extend, how long to wait, when a hold ends. PURE.

Two holds stand on every job. The message's (on the host clock, `_at_s`) decides who may
work; the record's (`_unix_s`, by the table's clock) tells other hosts. The record's ends just
before the message's, so that whoever gets a dead host's message finds its record free.
Chance comes in as a number from 0 to 1.
"""

from __future__ import annotations

import math
from typing import Optional

# Two hosts that measure the table's clock by its Date headers differ by up to a second and a half.
RECORD_SLACK_S = 2.0
KEEP_FRESH_S = 15.0  # three of the supervisor's Keeps
COMMIT_MARGIN_S = 3.0  # what a fence may take while the record still says that we have it
WORN_MARGIN_S = 300.0  # a guess: time to end a commit that has begun
HANDS_OFF_S = 0.5  # before the deadline itself: our own slowness in noticing


def extend_at_s(asked_at_s: float, lease_s: float, chance: float) -> float:
    """Say when to extend a message's lease next: after a third of it, a tenth earlier or later."""
    return asked_at_s + lease_s / 3 * (0.9 + 0.2 * chance)


def renew_after_s(lease_s: float) -> float:
    """Say how long a record may go without a renewal where no extension of the message brings one."""
    return lease_s / 2


def is_worn(received_at_s: float, hold_most_s: float, now_s: float) -> bool:
    """Say whether a message was held nearly as long as the queue allows: then the job begins anew."""
    return now_s >= received_at_s + hold_most_s - min(WORN_MARGIN_S, hold_most_s / 4)


def extend_by_s(received_at_s: float, hold_most_s: float, lease_s: float, now_s: float) -> float:
    """Say for how long a lease may be extended: never beyond what the queue allows from the receipt on."""
    return max(0.0, min(lease_s, received_at_s + hold_most_s - now_s))


def runs_out(receive_count: int, receives_most: Optional[int]) -> bool:
    """Say whether the queue would bury the message instead of delivering it once more."""
    return receives_most is not None and receive_count >= receives_most


def is_over(deadline_at_s: float, now_s: float) -> bool:
    """Say whether a message must count as lost: then nobody touches its handle again."""
    return now_s >= deadline_at_s - HANDS_OFF_S


def may_fence(deadline_at_s: float, now_s: float, lease_s: float) -> bool:
    """Say whether there is time to begin a commit under this lease."""
    return now_s < deadline_at_s - min(COMMIT_MARGIN_S, lease_s / 4)


def is_kept(kept_at_s: float, now_s: float) -> bool:
    """Say whether the supervisor's word that the job moves is fresh enough to extend."""
    return now_s - kept_at_s <= KEEP_FRESH_S


def record_until_unix_s(now_unix_s: float, deadline_at_s: float, now_s: float, lease_s: float) -> float:
    """Say until when a record is held whose message is ours until `deadline_at_s`.

    A little less, for clocks that disagree: a message that came back while its record still
    seemed held would be received in vain.
    """
    return now_unix_s + deadline_at_s - now_s - min(RECORD_SLACK_S, lease_s / 6)


def record_wait_s(lease_unix_s: float, now_unix_s: float) -> float:
    """Say how long another owner's record may still hold; at least a second.

    Whole seconds and one more: SQS knows no fractions, and a message that comes back too
    early is received in vain, of which a queue with maxReceiveCount = 3 forgives none.
    """
    return max(1.0, math.ceil(lease_unix_s - now_unix_s) + 1.0)


def back_off_s(tries: int, chance: float, first_s: float = 1.0, most_s: float = 30.0) -> float:
    """Say how long to wait after the `tries`-th failure in a row: full jitter, bounded."""
    return min(most_s, first_s * 2.0 ** min(tries, 16)) * max(0.1, chance)


def give_back_s(receive_count: int, chance: float) -> float:
    """Say for how long to hide a message that a dependency keeps from being worked: 30 to 300 s."""
    return min(300.0, 30.0 * 2.0 ** min(max(receive_count - 1, 0), 4) * (1.0 + 0.25 * chance))
