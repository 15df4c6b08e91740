"""Verifies queue, table and buckets before messages are received, and again while one is misconfigured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable

from supervisor.broker.ports.errors import CREDENTIALS, Forbidden, Misconfigured, TryLater

SETTINGS = "settings"  # where several things are wrong at once


def prove(renew: Callable[[], None], checks: Sequence[Callable[[], None]]) -> None:
    """Run every check. Raises Misconfigured with all that a person must correct, else the first TryLater.

    `renew` comes first: profile and credentials may have been corrected since the last proof.
    """
    renew()
    wrong: list[Misconfigured] = []
    late: list[TryLater] = []
    for check in checks:
        try:
            check()
        except Misconfigured as error:
            if error.where == CREDENTIALS:
                raise  # whatever else was asked would fail of the same
            wrong.append(error)
        except Forbidden:
            continue  # whether all is well or nothing, AWS does not say: the first job will tell
        except TryLater as error:
            late.append(error)
    if wrong:
        details = dict.fromkeys(error.detail for error in wrong)  # two names of one bucket are one mistake
        raise Misconfigured(SETTINGS, " ".join(details)) from wrong[0]
    if late:
        raise late[0]
