"""Reports outages of dependencies: once when they begin, once when they end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Callable

from supervisor.broker.ports.errors import Misconfigured, TryLater
from supervisor.contract import clock
from supervisor.contract.wire.messages import FromBroker, Trouble

log = logging.getLogger(__name__)
_MAX_CHARS = 1_000  # of one report
_JUST_NOW_S = 30.0
# After one successful write a disk may still be too full for others: each reporter must succeed itself.
_PER_REPORTER = ("spool",)


class MissingPermissions:
    """Logs each missing permission once, with its consequence."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def report(self, right: str, costs: str) -> None:
        """Log a missing permission unless it was logged before."""
        if right not in self._known:
            self._known.add(right)
            log.warning(
                "permission missing", extra={"event": "permission-missing", "missing": right, "costs": costs}
            )


class OutageReporter:
    """Reports to the supervisor, which logs it, when a dependency stops or resumes answering.

    What an operator must correct (`Misconfigured`) is reported separately, as `settings`, in whole sentences.
    """

    def __init__(self, send: Callable[[FromBroker], None]) -> None:
        self.on_misconfigured: Callable[[], None] = lambda: None
        self._send = send
        self._known: dict[str, set[str]] = {}  # by place: who reported it
        self._misconfigured: dict[str, str] = {}  # what an operator must correct, by place
        self._answered_at_s: dict[str, float] = {}  # by place

    def begin(self, error: TryLater, by: str = "") -> None:
        """Report this outage unless it is known. `by` names the reporter."""
        if isinstance(error, Misconfigured):
            self.on_misconfigured()
            self._set_misconfigured({**self._misconfigured, error.where: error.detail})
        else:
            is_known = error.where in self._known
            self._known.setdefault(error.where, set()).add(by)
            if not is_known:
                self._send(Trouble(error.where, error.detail[:_MAX_CHARS]))

    def warn(self, error: Misconfigured) -> None:
        """Report a likely misconfiguration without stopping: the next job may disprove it."""
        self._set_misconfigured({**self._misconfigured, error.where: error.detail})

    def check_failed(self, error: Misconfigured) -> None:
        """Replace all known misconfigurations by the one that the failed check found."""
        self._set_misconfigured({error.where: error.detail})

    def over(self, *places: str, by: str = "") -> None:
        """Report that these places answer again, where they did not.

        For a service, any caller may report it; for the spool, only the reporters of the outage (`by`).
        """
        for where in places:
            self._answered_at_s[where] = clock.now_s()
            if where not in self._known:
                continue
            self._known[where].discard(by)
            if where not in _PER_REPORTER or not self._known[where]:
                del self._known[where]
                self._send(Trouble(where, ""))
        self._set_misconfigured(
            {where: said for where, said in self._misconfigured.items() if where not in places}
        )

    def is_reported(self, where: str, by: str) -> bool:
        """Return whether this reporter's outage continues."""
        return by in self._known.get(where, ())

    def answered_recently(self, where: str) -> bool:
        """Return whether this place answered any caller recently."""
        answered_at_s = self._answered_at_s.get(where)
        return answered_at_s is not None and clock.now_s() - answered_at_s < _JUST_NOW_S

    def check_passed(self, unless: Sequence[str]) -> bool:
        """Clear what a passed check disproves, except `unless`. Returns whether messages may be received.

        A fault that only a receive can show does not prevent the next receive.
        """
        self._set_misconfigured(
            {where: said for where, said in self._misconfigured.items() if where in unless}
        )
        return not set(self._misconfigured) - {"receive"}

    def _set_misconfigured(self, wrong: dict[str, str]) -> None:
        before, after = self._sentences(), " ".join(dict.fromkeys(wrong.values()))
        self._misconfigured = wrong
        if after[:_MAX_CHARS] != before[:_MAX_CHARS]:
            self._send(Trouble("settings", after[:_MAX_CHARS]))

    def _sentences(self) -> str:
        return " ".join(dict.fromkeys(self._misconfigured.values()))
