"""Decides what follows a failed job: retry, release, fail or dead-letter. PURE."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.broker.ports.errors import BrokerError, Forbidden, TryLater, Unexplained
from supervisor.contract.wire.messages import Failure

MAX_FAILURES = 3
MAX_REASON_CHARS = 500
FORBIDDEN_RECEIVES = 3  # S3 answers 403 for keys that are not there: no use in waiting longer
UNEXPLAINED_RECEIVES = 10  # a guess: half an hour of waits that grow, enough for an outage with a new name


@dataclass(frozen=True)
class RetryDecision:
    """The end of this attempt: FAILED for good, or back to the queue for a while.

    `counts` names the record's counter that goes up by one, or nothing.
    """

    is_final: bool
    reason: str
    counts: str = ""
    after_s: float = 0.0


def decide(failure: Failure, detail: str, failures: int, receive_count: int) -> RetryDecision:
    """Say what follows from a failure of a job that failed `failures` times before."""
    reason = sentence(detail)
    if failure is Failure.REJECTED:
        return RetryDecision(True, reason)
    if failure is Failure.CRASH:
        # The supervisor says CRASH only after two crashes while the job was alone in its worker.
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
    """Say which class of failure an error of a port is."""
    return Failure.DEPENDENCY if isinstance(error, TryLater) else Failure.REJECTED


def verdict_on(error: BrokerError, receives: int) -> RetryDecision:
    """Say what follows from an error of a port, met by a job that was delivered so often."""
    if isinstance(error, Forbidden) and error.where == "audio":
        return decide_forbidden(error.detail, receives)
    if isinstance(error, Unexplained):
        return decide_unexplained(error.detail, receives)
    return decide(failure_of(error), str(error), 0, receives)


def decide_forbidden(detail: str, receive_count: int) -> RetryDecision:
    """Say what follows from a 403 on one key: time at first, then the key must be missing."""
    if receive_count >= FORBIDDEN_RECEIVES:
        return RetryDecision(True, sentence(f"The audio can't be read: {detail}"))
    return decide(Failure.DEPENDENCY, detail, 0, receive_count)


def decide_unexplained(detail: str, receives: int) -> RetryDecision:
    """Say what follows from an error that this program does not know: time, a bounded number of times."""
    if receives >= UNEXPLAINED_RECEIVES:
        return RetryDecision(True, f"{sentence(detail)} Given up after {receives} deliveries.")
    return decide(Failure.DEPENDENCY, detail, 0, receives)


def decide_too_many(receives: int, max_receives: int, last_reason: str) -> RetryDecision:
    """Say what follows when a message comes and comes: somebody must look."""
    allowed = f"the most allowed is {max_receives} (queue.max_receives)"
    why = f" The last time: {sentence(last_reason)}" if last_reason else ""
    return RetryDecision(True, f"It was delivered {receives} times; {allowed}.{why}")


def sentence(detail: str) -> str:
    """Make one short sentence for people of whatever was said; never a stack trace."""
    lines = [line.strip() for line in detail.strip().splitlines() if line.strip()]
    # A stack ends in the line that says what happened.
    text = lines[-1] if lines and lines[0].startswith("Traceback") else " ".join(lines)
    text = "".join(sign if sign.isprintable() else " " for sign in text)[:MAX_REASON_CHARS].strip()
    if not text:
        return "It failed without a reason."
    return text if text[-1] in ".!?" else text + "."
