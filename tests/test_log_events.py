"""Every log line has a stable `event` key, and each event is logged in one place."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest

TOP = Path(__file__).resolve().parent.parent
LEVELS = ("debug", "info", "warning", "error", "exception", "critical", "log")
# Logged for two reasons that end in the same way.
TWICE = {
    "job-restarted": 3,  # broker; worker: one recording, or one in parts
    "job-resumed": 2,  # one recording, or one in parts
    "model-unavailable": 2,  # the fetch failed, or ended without an answer
}
# These pass on what was decided elsewhere, event included.
PASSED_ON = ("supervisor/service/crash_reporter.py", "supervisor/processes/relayed_output.py")


def calls() -> Iterator[tuple[str, ast.Call]]:
    for top in ("supervisor", "workerproc"):
        for path in sorted((TOP / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    yield str(path.relative_to(TOP)), node


def facts_of(call: ast.Call) -> Optional[ast.expr]:
    """Give the facts of a call that logs, an empty constant where it has none; None: it does not log."""
    func = call.func
    assert isinstance(func, ast.Attribute)
    if isinstance(func.value, ast.Name) and func.value.id == "log" and func.attr in LEVELS:
        return next((word.value for word in call.keywords if word.arg == "extra"), ast.Constant(None))
    if func.attr == "note" and len(call.args) == 3:
        return call.args[2]
    if func.attr == "step" and ast.unparse(func.value) == "job_log":
        return ast.Dict([ast.Constant("event")], [call.args[0]])
    return None


def events() -> Iterator[tuple[str, str]]:
    """Give place and event of every log line; an empty event where there is none."""
    for file, call in calls():
        facts = facts_of(call)
        if facts is None:
            continue
        named: list[ast.expr] = []
        if isinstance(facts, ast.Dict):
            pairs = zip(facts.keys, facts.values)
            named = [value for key, value in pairs if isinstance(key, ast.Constant) and key.value == "event"]
        if named and isinstance(named[0], ast.Name):
            continue  # chosen just before, or passed in
        event = str(named[0].value) if named and isinstance(named[0], ast.Constant) else ""
        if not (event == "" and file in PASSED_ON):
            yield f"{file}:{call.lineno}", event


def test_every_log_line_has_an_event() -> None:
    assert [place for place, event in events() if not re.fullmatch(r"[a-z]+(-[a-z]+)*", event)] == []


def test_each_event_is_logged_in_one_place() -> None:
    count = Counter(event for _, event in events())

    assert {event: places for event, places in count.items() if places > 1} == TWICE


@pytest.mark.parametrize("sentence", ["slot moved", "a person should look", "job put down"])
def test_sentences_that_were_riddles_are_gone(sentence: str) -> None:
    for top in ("supervisor", "workerproc"):
        for path in (TOP / top).rglob("*.py"):
            assert f'"{sentence}"' not in path.read_text(encoding="utf-8"), path
