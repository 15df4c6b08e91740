"""Downloads a model once per host before workers start.

Workers that fill a cold cache at the same time leave partial files and locks behind. So one short-lived
child downloads the model and reports its progress as JSON lines. After a temporary failure it is started
again with back-off, and the slots say what they wait for. After a permanent one (the hub has no such
model) it is started again only on request: reload, or release of a held slot.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Optional

from supervisor.contract.engine.engines import DEFAULT
from supervisor.contract.exits import describe
from supervisor.service import exit_words

log = logging.getLogger(__name__)

RETRY_FIRST_S = 5.0
RETRY_MOST_S = 300.0
NAME = "model"


@dataclass
class ModelFetch:
    """The state of one fetch: the model's folder, or the reason why there is none yet."""

    model: str
    path: str = ""
    failure: str = ""
    failures: int = 0
    percent: Optional[int] = None
    total_bytes: int = 0
    is_final: bool = False  # a retry is useless: it waits for a request
    engine: str = DEFAULT  # which has its own kind of model
    _told_percent: int = -1
    _printed: deque[str] = field(default_factory=lambda: deque(maxlen=20))

    def hear(self, line: str) -> None:
        """Read one output line of the child."""
        event = _event_of(line)
        if event is None:
            self._printed.append(line[:500])
            log.info(
                "output of the model download", extra={"event": "model-fetch-output", "line": line[:500]}
            )
            return
        kind = event.get("event")
        if kind == "progress":
            self._tell_progress(event.get("done_bytes"), event.get("total_bytes"))
        elif kind == "ready":
            self.path = str(event.get("path", ""))
            log.info(
                "model found",
                extra={
                    "event": "model-found",
                    "model": self.model,
                    "path": self.path,
                    "source": event.get("source"),
                },
            )
        elif kind == "failed":
            self.failure = f"{event.get('reason', 'unknown')}. {event.get('cure', '')}".strip()
            self.is_final = event.get("final") is True

    def ended(self, returncode: int) -> Optional[float]:
        """The child exited: return the seconds until the next try; None: no retry, `path` says why."""
        if self.path:
            return None
        said = exit_words.read(self._printed, returncode).said
        how = f"{describe(returncode)}{said and ': '}{said}"
        self.failure = self.failure or f"the model fetch ended without an answer ({how})"
        self._printed.clear()
        self.failures += 1
        if self.is_final:
            log.error(
                "model not available",
                extra={"event": "model-unavailable", "model": self.model, "reason": self.failure},
            )
            return None
        wait_s = float(min(RETRY_MOST_S, RETRY_FIRST_S * 2 ** min(self.failures - 1, 10)))
        log.error(
            "model not available",
            extra={
                "event": "model-unavailable",
                "model": self.model,
                "reason": self.failure,
                "retry_after_s": wait_s,
            },
        )
        return wait_s

    def ask_again(self) -> bool:
        """Return whether this fetch waited for a request, and must be started now."""
        was_final, self.is_final = self.is_final, False
        return was_final and not self.path

    def _tell_progress(self, done: Any, total: Any) -> None:
        if not isinstance(done, int) or not isinstance(total, int) or total <= 0:
            return
        percent = 100 * done // total
        self.percent, self.total_bytes = percent, total
        if percent // 10 > self._told_percent // 10:
            self._told_percent = percent
            log.info(
                "downloading the model",
                extra={
                    "event": "model-fetch-started",
                    "model": self.model,
                    "percent": percent,
                    "total_bytes": total,
                },
            )


def _event_of(line: str) -> Optional[dict[str, Any]]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None
