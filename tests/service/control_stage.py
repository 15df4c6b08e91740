"""A real control socket with a host in virtual time behind it, and clients for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Mapping
from types import SimpleNamespace
from typing import Any, Callable, Optional, cast

from supervisor.pool import status
from supervisor.pool.state.events import PoolEvent
from supervisor.service.control.server import ControlServer
from supervisor.service.control_requests import ControlRequests
from supervisor.service.loop import Service
from supervisor.settings.mistakes import SettingsWrong
from supervisor.settings.schema import Settings
from tests.pool.simulated_host import Host
from tests.pool.test_status import facts

LIMIT_S = 60.0


class Desk:
    """What `Requests` needs of a service, with a host in virtual time behind it."""

    def __init__(self, host: Host) -> None:
        self.host, self.pool = host, host.pool
        self.loaded = SimpleNamespace(settings=Settings())
        self.notices = SimpleNamespace(resumed=lambda: None)
        self.wrong: Optional[SettingsWrong] = None

    def post(self, event: PoolEvent) -> None:
        self.host.post(event)

    def create_slots(self) -> None:
        """Nothing to do: its slots have all they need."""

    def status(self) -> dict[str, Any]:
        return status.take(self.pool, facts(self.host))

    def fetch_models_again(self) -> list[str]:
        return []

    def reload(self) -> str:
        if self.wrong is not None:
            raise self.wrong
        return "nothing has changed"


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self) -> Mapping[str, Any]:
        line = await asyncio.wait_for(self.reader.readline(), LIMIT_S)
        return cast("Mapping[str, Any]", json.loads(line))

    async def ask(self, **request: Any) -> Mapping[str, Any]:
        await self.send(json.dumps(request).encode() + b"\n")
        return await self.reply()

    async def is_closed(self) -> bool:
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(1), LIMIT_S) == b""
        return True


class Stage:
    """A control server on a socket of its own, and clients for it."""

    def __init__(self, path: str, host: Host) -> None:
        self.path, self.host, self.desk = path, host, Desk(host)
        self.control = ControlServer(path, "", ControlRequests(cast("Service", self.desk)).answer)
        self._clients: list[Client] = []

    async def client(self) -> Client:
        self._clients.append(Client(*await asyncio.open_unix_connection(self.path, limit=2**20)))
        return self._clients[-1]

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        await self.control.open()
        try:
            yield
        finally:
            for client in self._clients:
                client.writer.close()
            await self.control.close()


Story = Callable[[Stage], Awaitable[None]]
