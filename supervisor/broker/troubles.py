"""What outside does not answer just now: said once when it begins, once when it is over."""

from __future__ import annotations

import logging
from typing import Callable

from supervisor.broker.errors import TryLater
from supervisor.contract.messages import FromBroker, Trouble

log = logging.getLogger(__name__)


class Losses:
    """Permissions that are missing: each said once, with what it costs."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def tell(self, right: str, costs: str) -> None:
        """Tell of a missing permission unless it is known."""
        if right not in self._known:
            self._known.add(right)
            log.warning("permission missing", extra={"missing": right, "costs": costs})


class Troubles:
    """Says once that something does not answer, and once that it does again. The supervisor logs it."""

    def __init__(self, say: Callable[[FromBroker], None]) -> None:
        self._say = say
        self._known: set[str] = set()

    def begin(self, error: TryLater) -> None:
        """Tell of this trouble unless it is known."""
        if error.where not in self._known:
            self._known.add(error.where)
            self._say(Trouble(error.where, error.detail[:500]))

    def over(self, *places: str) -> None:
        """Tell that these answer again, where they did not."""
        for where in places:
            if where in self._known:
                self._known.remove(where)
                self._say(Trouble(where, ""))
