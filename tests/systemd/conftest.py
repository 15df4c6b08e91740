"""One machine for all tests of this folder, a fresh service for each, and a loud word where there is none."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import leftovers
from tests.systemd.machine import CannotBoot, Machine, booted, why_not
from tests.systemd.unit import Unit

_ran: list[str] = []
_words: list[str] = []


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """A booted machine; where that can't be, every test here is skipped with the reason."""
    reason = why_not()
    if reason:
        pytest.skip(f"no machine with systemd: {reason}")
    folder = Path(tempfile.mkdtemp(prefix="rem-systemd-"))
    try:
        # Not in the `with`: what a test raises must not look like a boot that failed.
        machine = booted(folder)
        try:
            inside = machine.__enter__()
        except CannotBoot as error:
            pytest.skip(f"no machine with systemd: {error}")
        with leftovers.kept(inside.pid):  # and so all that runs inside
            yield inside
        machine.__exit__(None, None, None)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def unit(machine: Machine) -> Iterator[Unit]:
    """The installed unit, stopped, with nothing left of the test before; afterwards nothing of it runs."""
    unit = Unit(machine)
    unit.make_fresh()
    yield unit
    unit.stop(check=False)
    assert unit.processes() == {}


@pytest.fixture
def say() -> list[str]:
    """What is put in here is printed at the end, whatever pytest captures."""
    return _words


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and "tests/systemd/" in report.nodeid and not report.skipped:
        _ran.append(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many ran: a run in which all were skipped must not look like one that passed."""
    for line in _words:
        terminalreporter.write_line(f"systemd: {line}")
    skipped = [x for x in terminalreporter.stats.get("skipped", []) if "tests/systemd/" in x.nodeid]
    if skipped:
        reason = skipped[0].longrepr[2] if isinstance(skipped[0].longrepr, tuple) else skipped[0].longrepr
        terminalreporter.write_line(
            f"systemd: {len(skipped)} tests SKIPPED: {reason}", yellow=True, bold=True
        )
    terminalreporter.write_line(f"systemd: {len(_ran)} tests ran")
