"""What tests of real processes share: backends (an imitation of AWS over HTTP), and children's nursery."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from tests.broker.aws_servers import AwsServer, Deployment, deploy
from tests.end_to_end.child_stage import Nursery, Play, is_alive
from tests.end_to_end.senders import AwsSender, LocalSender, Sender
from tests.fake_nvml.build import FakeNvml, build


@pytest.fixture
def deployment(moto: AwsServer) -> Deployment:
    return deploy(moto, max_receive_count=20)


@pytest.fixture(params=["local", "aws"])
def sender(request: pytest.FixtureRequest, tmp_path: Path) -> Sender:
    """The same promises on both backends."""
    if request.param == "local":
        return LocalSender(tmp_path / "state" / "local")
    return AwsSender(request.getfixturevalue("deployment"))


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(tmp_path: Path, nvml_library: Path) -> Iterator[FakeNvml]:
    """A driver of the test's own, with three GPUs."""
    made = FakeNvml(tmp_path / "driver", nvml_library, 3)
    yield made
    made.remove_locks()


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Play], None]:
    """Play a story with children of its own in an event loop; none outlives it."""

    def run(play: Play) -> None:
        async def all_of_it() -> None:
            nursery = Nursery(tmp_path, asyncio.get_running_loop())
            try:
                await play(nursery)
            finally:
                await nursery.close()

        asyncio.run(all_of_it())

    return run


@pytest.fixture
def strays() -> Iterator[list[int]]:
    """Pids that a test's children leave behind on purpose: ended here at the latest."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)
