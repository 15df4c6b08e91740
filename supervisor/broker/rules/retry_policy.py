"""Decides what follows a failed job: retry, release, fail or dead-letter. PURE."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.broker.ports.errors import BrokerError, Forbidden, TryLater, Unexplained
from supervisor.contract.wire.messages import Failure

MAX_FAILURES = 3
MAX_REASON_CHARS = 500
FORBIDDEN_RECEIVES = 3  # S3 returns 403 for missing keys: waiting longer does not help
UNEXPLAINED_RECEIVES = 10  # a guess: half an hour of growing waits, enough for an outage with an unknown code


@dataclass(frozen=True)
class RetryDecision:
    """How an attempt ends: FAILED for good, or returned to the queue for `after_s`.

    `counts` names the record's counter to increment, or is empty.
    """

    is_final: bool
    reason: str
    counts: str = ""
    after_s: float = 0.0


def decide(failure: Failure, detail: str, failures: int, receive_count: int) -> RetryDecision:
    """Decide what follows when a job fails that failed `failures` times before."""
    reason = sentence(detail)
    if failure is Failure.REJECTED:
        return RetryDecision(True, reason)
    if failure is Failure.CRASH:
        # The supervisor reports CRASH only after two crashes while the job was alone in its worker.
        return RetryDecision(True, reason, counts="remCrashes")
    if failure in (Failure.FAILURE, Failure.OUT_OF_MEMORY, Failure.STALL):
        if failures + 1 >= MAX_FAILURES:
            return RetryDecision(
                True, f"{reason} Given up after {failures + 1} attempts.", counts="remFailures"
            )
        return RetryDecision(False, reason, counts="remFailures", after_s=10.0 * 3.0**failures)
    if failure is Failure.DEPENDENCY:
        return RetryDecision(False, reason, after_s=min(300.0, 30.0 * max(1, receive_count)))
    if failure is Failure.SICK_DEVICE:
        return RetryDecision(False, reason)
    raise TypeError(f"no such failure: {failure!r}")


def failure_of(error: BrokerError) -> Failure:
    """Return the failure class of a port's error."""
    return Failure.DEPENDENCY if isinstance(error, TryLater) else Failure.REJECTED


def verdict_on(error: BrokerError, receives: int) -> RetryDecision:
    """Decide what follows from a port's error, given how often the job was delivered."""
    if isinstance(error, Forbidden) and error.where == "audio":
        return decide_forbidden(error.detail, receives)
    if isinstance(error, Unexplained):
        return decide_unexplained(error.detail, receives)
    return decide(failure_of(error), str(error), 0, receives)


def decide_forbidden(detail: str, receive_count: int) -> RetryDecision:
    """Decide on a 403 for one key: retry at first, then assume that the key is missing."""
    if receive_count >= FORBIDDEN_RECEIVES:
        return RetryDecision(True, sentence(f"The audio can't be read: {detail}"))
    return decide(Failure.DEPENDENCY, detail, 0, receive_count)


def decide_unexplained(detail: str, receives: int) -> RetryDecision:
    """Decide on an unknown error: retry a limited number of times."""
    if receives >= UNEXPLAINED_RECEIVES:
        return RetryDecision(True, f"{sentence(detail)} Given up after {receives} deliveries.")
    return decide(Failure.DEPENDENCY, detail, 0, receives)


def decide_too_many(receives: int, max_receives: int, last_reason: str) -> RetryDecision:
    """Decide on a message that was delivered too often: an operator must look into it."""
    allowed = f"the most allowed is {max_receives} (queue.max_receives)"
    why = f" The last time: {sentence(last_reason)}" if last_reason else ""
    return RetryDecision(True, f"It was delivered {receives} times; {allowed}.{why}")


def sentence(detail: str) -> str:
    """Shorten an error to one sentence for people; never a stack trace."""
    lines = [line.strip() for line in detail.strip().splitlines() if line.strip()]
    # A stack trace's last line says what happened.
    text = lines[-1] if lines and lines[0].startswith("Traceback") else " ".join(lines)
    text = "".join(sign if sign.isprintable() else " " for sign in text)[:MAX_REASON_CHARS].strip()
    if not text:
        return "It failed without a reason."
    return text if text[-1] in ".!?" else text + "."
