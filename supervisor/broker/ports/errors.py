"""Errors of the broker, by who can fix them.

Every foreign exception becomes one of these where the library is called: for
boto3 (`aws_errors.py`), `local*.py` for SQLite and folders. Each text is for people: what, where.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

CREDENTIALS = "credentials"  # where a `Misconfigured` is, if not at one of the ports


class BrokerError(Exception):
    """Anything that a port says went wrong."""


class TryLater(BrokerError):
    """Time may cure it: network, throttling, a full disk. `where` is as in `messages.Trouble`."""

    def __init__(self, where: str, detail: str) -> None:
        super().__init__(detail)
        self.where = where
        self.detail = detail


class Forbidden(TryLater):
    """The service says no to this caller: credentials or rights, which a person may mend."""


class Unexplained(TryLater):
    """The service gave a reason that this program does not know: tried again, but not for ever."""


class Misconfigured(TryLater):
    """A person must correct a setting, a right or the credentials: until then every job would meet this.

    The detail is a whole sentence: what was found, what is wanted, which setting to change. Whoever meets it
    stops receiving and keeps what is held; the backend is proved again from time to time.
    """


class JobRejected(BrokerError):
    """Nobody can cure it: this input can never become a transcript."""


class ResultBroken(BrokerError):
    """What a worker left in the spool is not the whole result of this attempt."""


class LeaseLost(BrokerError):
    """Somebody else holds the job or has finished it: drop the result, write nothing."""


class CannotServe(BrokerError):
    """This process can't work like this at all: a newer database, a locked state directory."""


@contextmanager
def necessary(right: str, where: str = "") -> Iterator[None]:
    """Say of a refused call that every job needs it: nothing can be done until the right is granted.

    `where` is a name for this right alone, for what no proof can show.
    """
    try:
        yield
    except Forbidden as error:
        raise Misconfigured(where or error.where, f"{error.detail}. Grant {right} to this role.") from error
