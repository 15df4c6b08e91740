"""Server of the control socket: one JSON line in, one out.

Limits apply to clients, bytes of a request, time for a request and time between two. An invalid request
only closes that client's connection. At the limit of clients, a new one replaces the one that has been
idle longest.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Callable

from supervisor.contract import clock
from supervisor.contract.wire import framing
from supervisor.service.control.socket_file import ControlSocket

REQUEST_BYTES_MOST = 65_536
CLIENTS_MOST = 64
REQUEST_S = 5.0  # for a client's first line: a command sends it at once
IDLE_S = 60.0  # between two requests, as `status --watch` may leave
REPLY_S = 10.0  # for a client to read its reply

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class RequestRefused(Exception):
    """The request is refused; the text is for the user."""


@dataclass(eq=False)
class _Client:
    """A connection. `since_s`: its last activity; `uid`: its user."""

    task: asyncio.Task[None]
    uid: int
    since_s: float


class ControlServer:
    """Listens on a unix socket and calls `answer` for each request; that never waits."""

    def __init__(self, path: str, group: str, answer: Answer) -> None:
        self._path = path
        self._group = group
        self._answer = answer
        self._clients: set[_Client] = set()

    async def open(self) -> None:
        """Listen, for this user alone, or for `[control] group` as well. Raises as `ControlSocket` does."""
        self._socket = ControlSocket(self._path, self._group)
        self._server = await asyncio.start_unix_server(
            self._serve, sock=self._socket.listener, limit=REQUEST_BYTES_MOST
        )

    async def close(self) -> None:
        self._server.close()
        for client in tuple(self._clients):
            client.task.cancel()
        self._socket.remove()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # asyncio serves each connection in a task
        client = _Client(task, _uid_of(writer), clock.now_s())
        self._clients.add(client)
        if len(self._clients) > CLIENTS_MOST:
            dropped = _whom_to_drop(self._clients, client)
            self._clients.discard(dropped)  # at once: another new client in this turn must drop another one
            dropped.task.cancel()
        try:
            within_s = REQUEST_S
            while await self._one_request(reader, writer, within_s):
                client.since_s, within_s = clock.now_s(), IDLE_S
        except (OSError, asyncio.TimeoutError, asyncio.CancelledError):
            return  # closed, idle, dropped for a new client, or the server closes: no reply is due
        finally:
            self._clients.discard(client)
            writer.close()

    async def _one_request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, within_s: float
    ) -> bool:
        """Answer one line; return whether the client may send another."""
        try:
            line = await asyncio.wait_for(reader.readline(), within_s)
            if not line:
                return False
            reply, more = self.reply_to(line), True
        except ValueError:  # the line is over the limit
            reply, more = {"ok": False, "error": f"request of over {REQUEST_BYTES_MOST} bytes"}, False
        writer.write(framing.encode_line(reply))
        await asyncio.wait_for(writer.drain(), REPLY_S)
        return more and "closing" not in reply

    def reply_to(self, line: bytes) -> dict[str, Any]:
        """Turn one request line into one reply."""
        try:
            return {"ok": True, **self._answer(framing.decode_line(line.strip()))}
        except framing.BadLine as error:
            return {"ok": False, "error": f"not a request: {error}", "closing": True}
        except RequestRefused as error:
            return {"ok": False, "error": str(error)}


def _whom_to_drop(clients: Collection[_Client], newcomer: _Client) -> _Client:
    """Choose the client to drop: the longest idle one of the user with most connections.

    A user who floods the socket loses their own connections first.
    """
    others = [client for client in clients if client is not newcomer]
    count = Counter(client.uid for client in others)
    return max(others, key=lambda client: (count[client.uid], -client.since_s))


def _uid_of(writer: asyncio.StreamWriter) -> int:
    """Return the user of a connection, from the kernel; -1 if unknown (macOS)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return -1
    caller = writer.get_extra_info("socket")
    uid: int = struct.unpack("3i", caller.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))[1]
    return uid
