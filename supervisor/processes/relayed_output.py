"""Passes a child's log lines on into the service's log."""

from __future__ import annotations

import json
import logging

from supervisor.contract import logline

log = logging.getLogger(__name__)


def pass_on(name: str, line: str) -> None:
    """Log what a child printed: its own log lines as they are, anything else as text."""
    try:
        facts = json.loads(line)
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        log.info("output of a child process", extra={"event": "child-output", "child": name, "line": line})
        return
    level = logging.getLevelName(str(facts.pop("level", "info")).upper())
    sentence = str(facts.pop("message", ""))
    facts.pop("time", None)
    facts.pop("process", None)
    safe = {(f"{key}_" if logline.is_reserved(key) else key): value for key, value in facts.items()}
    log.log(level if isinstance(level, int) else logging.INFO, "%s", sentence, extra={**safe, "child": name})
