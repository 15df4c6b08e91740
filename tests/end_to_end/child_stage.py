"""A nursery for real children: starts scripts as `child.Child`, writes down what is heard, leaves none."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional

from supervisor.contract.wire import messages as m
from supervisor.processes.child import Child, ChildSpec
from tests.support.waiting import wait_in_loop

REPOSITORY = Path(__file__).resolve().parents[2]
LIMIT_S = 60.0

HEAD = """
import os, signal, socket, sys, time
from supervisor.contract import child_bootstrap
from supervisor.contract.wire import framing, messages as m
link = child_bootstrap.link()
def say(*words):
    for word in words:
        link.sendall(m.write(word))
def lines():
    splitter = framing.LineSplitter()
    while True:
        data = link.recv(65536)
        if not data:
            return
        yield from splitter.feed(data)
def rest():
    while True:
        signal.pause()
def fork_stray():
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()  # out of the group that dies with its leader
        link.close()
        os.write(writes, b"!")
        return 0
    os.read(reads, 1)
    return pid
"""


@dataclass
class Ears:
    """Writes down all that is heard, in order."""

    story: list[tuple[str, Any]] = field(default_factory=list)
    died_with: dict[str, int] = field(default_factory=dict)

    def on_message(self, name: str, message: m.Message) -> None:
        self.story.append(("heard", message))

    def on_output(self, name: str, line: str) -> None:
        self.story.append(("printed", line))

    def on_broken_link(self, name: str, why: str) -> None:
        self.story.append(("broke", why))

    def on_exit(self, name: str, returncode: int) -> None:
        self.story.append(("died", returncode))
        self.died_with[name] = returncode

    def of(self, kind: str) -> list[Any]:
        return [what for how, what in self.story if how == kind]


class Nursery:
    """Starts scripts as children and leaves none behind."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.listener = Ears()
        self._folder = folder
        self._loop = loop
        self._children: list[Child] = []

    def start(
        self, script: str, name: str = "w0", lock: str = "", command: Optional[list[str]] = None
    ) -> Child:
        path = self._folder / f"{name}.py"
        path.write_text(HEAD + textwrap.dedent(script), encoding="utf-8")
        spec = ChildSpec(name, command or [sys.executable, str(path)], environment(), m.FROM_WORKER, lock)
        child = Child(spec, self.listener, self._loop)
        self._children.append(child)
        return child

    async def until(self, fact: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
        return await wait_in_loop(fact, lambda: f"a fact; so far: {self.listener.story[-5:]}", limit_s)

    async def until_dead(self, name: str = "w0") -> int:
        await self.until(lambda: name in self.listener.died_with)
        return self.listener.died_with[name]

    async def close(self) -> None:
        for child in self._children:
            child.signal(signal.SIGKILL)
        for child in self._children:
            await self.until(lambda child=child: child._returncode is not None)


def environment() -> Mapping[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}


Play = Callable[[Nursery], Awaitable[None]]


def is_alive(pid: int) -> bool:
    """Say whether a process runs; a zombie that nobody reaps does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
