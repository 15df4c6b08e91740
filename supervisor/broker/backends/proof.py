"""Verifies queue, table and buckets before messages are received, and again while one is misconfigured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable

from supervisor.broker.ports.errors import CREDENTIALS, Forbidden, Misconfigured, TryLater

SETTINGS = "settings"  # several resources are wrong


def prove(renew: Callable[[], None], checks: Sequence[Callable[[], None]]) -> None:
    """Run every check. Raises Misconfigured with everything to correct, else the first TryLater.

    `renew` runs first: profile and credentials may have been corrected since the last time.
    """
    renew()
    wrong: list[Misconfigured] = []
    late: list[TryLater] = []
    for check in checks:
        try:
            check()
        except Misconfigured as error:
            if error.where == CREDENTIALS:
                raise  # the other checks would fail for the same reason
            wrong.append(error)
        except Forbidden:
            continue  # a 403 here is ambiguous: the first job will show
        except TryLater as error:
            late.append(error)
    if wrong:
        details = dict.fromkeys(error.detail for error in wrong)  # two settings of one bucket are one fault
        raise Misconfigured(SETTINGS, " ".join(details)) from wrong[0]
    if late:
        raise late[0]
