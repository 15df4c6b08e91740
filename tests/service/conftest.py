"""What tests of the control socket share."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from supervisor.contract import clock
from tests.pool.simulated_host import Host
from tests.service.control_stage import Stage, Story


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for a socket's name, which pytest's own folder may not be."""
    made = Path(tempfile.mkdtemp(prefix="rem-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def play(folder: Path) -> Callable[[Story], None]:
    """Play a story on a service with two workers, one of them at work."""

    def run(story: Story) -> None:
        async def all_of_it() -> None:
            # Requests are dated by the host's own clock.
            host = Host(workers=2, now_s=clock.now_s()).begin("a", takes_s=60).run(10)
            stage = Stage(str(folder / "control.sock"), host)
            async with stage.open():
                await story(stage)

        asyncio.run(all_of_it())

    return run
