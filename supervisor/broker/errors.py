"""What can go wrong in the broker, sorted by who can cure it.

Every foreign exception becomes one of these where the library is called: `aws.py` for
boto3, `local*.py` for SQLite and folders. Each text is for people: what, where.
"""

from __future__ import annotations


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
