"""For every test: no telemetry, nothing left behind, and imitations of AWS for those that ask for them."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import pytest

from tests.support import leftovers

if TYPE_CHECKING:
    from tests.broker.aws_servers import AwsServer

# Before onnxruntime is imported: it writes into the home folder and speaks to its maker otherwise.
os.environ.update(ORT_DISABLE_TELEMETRY="1", ORT_TELEMETRY_DISABLED="1")
# Before numpy is: a direct call of the engine must compute as a worker with one thread does.
os.environ["OPENBLAS_NUM_THREADS"] = "1"


@dataclass(frozen=True)
class Before:
    """What was open and running when a test file began."""

    files: dict[int, str]
    processes: dict[int, str]


_BEGAN_UNIX_S = pytest.StashKey[float]()
_BEFORE = pytest.StashKey[Before]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: Optional[pytest.Item]) -> Iterator[None]:
    """Fail a test file that leaves a descriptor open or a process running, when its last test is through."""
    stash = item.config.stash
    if _BEFORE not in stash:
        stash[_BEFORE] = Before(leftovers.descriptors(), leftovers.descendants())
    result = yield
    if nextitem is None or nextitem.path != item.path:
        before = stash[_BEFORE]
        del stash[_BEFORE]
        left = leftovers.new_processes(before.processes) + leftovers.new_descriptors(before.files)
        if left:
            _fail(item, f"{item.path} leaves {len(left)} processes or open files:\n" + "\n".join(left[:20]))
    return result


# A server of each kind for each test process: whoever asks first starts it, and it serves all folders.


@pytest.fixture(scope="session")
def moto() -> Iterator[AwsServer]:
    yield from _server("moto")


@pytest.fixture(scope="session")
def ministack() -> Iterator[AwsServer]:
    if sys.version_info < (3, 10):
        pytest.skip("ministack needs Python 3.10 or newer")
    yield from _server("ministack")


def _server(name: str) -> Iterator[AwsServer]:
    from tests.broker.aws_servers import run_server  # here: boto3 takes a moment, and most tests do without

    yield from run_server(name)


def _fail(item: pytest.Item, words: str) -> None:
    report = pytest.TestReport(
        item.nodeid, item.location, {}, outcome="failed", longrepr=words, when="teardown"
    )
    item.ihook.pytest_runtest_logreport(report=report)


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[_BEGAN_UNIX_S] = time.time()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """When all test processes are through, no service that a test started may still run."""
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    left = leftovers.orphans_of_ours(session.config.stash[_BEGAN_UNIX_S])
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        reporter.write_line(f"processes left by this run: {left}", red=True)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose name leaves room for a socket: pytest's own may be too long to bind."""
    folder = Path(tempfile.mkdtemp(prefix="rem-"))
    yield folder
    shutil.rmtree(folder)
