"""Errors of the broker, by who can fix them.

Errors of libraries are translated where the library is called: boto3's in `aws_errors.py`, those of SQLite
and the file system in `local*.py`. Each text is meant for people and says what failed, and where.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

CREDENTIALS = "credentials"  # the place of a `Misconfigured` that belongs to no port


class BrokerError(Exception):
    """Any error that a port reports."""


class TryLater(BrokerError):
    """May pass with time: network, throttling, a full disk. `where` is as in `messages.Trouble`."""

    def __init__(self, where: str, detail: str) -> None:
        super().__init__(detail)
        self.where = where
        self.detail = detail


class Forbidden(TryLater):
    """The service denies the call; an operator can grant the permission."""


class Unexplained(TryLater):
    """The service returned an unknown error: retried a limited number of times."""


class Misconfigured(TryLater):
    """An operator must correct a setting, a permission or the credentials: every job would fail alike.

    The detail is a whole sentence: what was found, what is expected, which setting to change. The broker then
    stops receiving but keeps its jobs, and repeats the backend check until it passes.
    """


class JobRejected(BrokerError):
    """Nobody can fix it: this input can never become a transcript."""


class ResultBroken(BrokerError):
    """The result in the spool is not this attempt's complete result."""


class LeaseLost(BrokerError):
    """Another host holds the job or has finished it: discard the result, write nothing."""


class CannotServe(BrokerError):
    """This process can't run: a newer database schema, a locked state directory."""


@contextmanager
def necessary(right: str, where: str = "") -> Iterator[None]:
    """Turn a denied call into Misconfigured: every job needs this permission.

    `where` is a separate place for this permission, if the backend check can't test it.
    """
    try:
        yield
    except Forbidden as error:
        raise Misconfigured(where or error.where, f"{error.detail}. Grant {right} to this role.") from error
