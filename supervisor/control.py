"""The control socket: one JSON line in, one out, for people of this user (or group).

Bounded in every way: clients, bytes of a request, time between requests. What a client
sends wrong costs that client its connection and nobody else anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable
from typing import Any

from supervisor.contract import framing

REQUEST_BYTES_MOST = 65_536
CLIENTS_MOST = 64
IDLE_S = 60.0

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Refused(Exception):
    """The request can't be granted; the text is for the person who asked."""


class Control:
    """Listens on a unix socket and lets `answer` decide; that never waits."""

    def __init__(self, path: str, group: str, answer: Answer) -> None:
        self._path = path
        self._group = group
        self._answer = answer
        self._clients: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen, for this user alone, or for `[control] group` as well."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)  # ours by the lock on the state directory, and stale
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, self._path, limit=REQUEST_BYTES_MOST)
        finally:
            os.umask(before)
        if self._group:
            shutil.chown(self._path, group=self._group)
            os.chmod(self._path, 0o660)

    async def close(self) -> None:
        self._server.close()
        for client in tuple(self._clients):
            client.cancel()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._clients) >= CLIENTS_MOST:
            writer.close()
            return
        self._clients.add(task)
        try:
            while await self._one_request(reader, writer):
                pass
        except (OSError, asyncio.TimeoutError, asyncio.CancelledError):
            return  # gone, silent, or we are closing: nothing is owed
        finally:
            self._clients.discard(task)
            writer.close()

    async def _one_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one line; say whether the client may send another."""
        try:
            line = await asyncio.wait_for(reader.readline(), IDLE_S)
            if not line:
                return False
            reply, more = self.reply_to(line), True
        except ValueError:  # the line is over the limit
            reply, more = {"ok": False, "error": f"request of over {REQUEST_BYTES_MOST} bytes"}, False
        writer.write(framing.encode_line(reply))
        await asyncio.wait_for(writer.drain(), IDLE_S)
        return more and "closing" not in reply

    def reply_to(self, line: bytes) -> dict[str, Any]:
        """Turn one request line into one reply."""
        try:
            return {"ok": True, **self._answer(framing.decode_line(line.strip()))}
        except framing.BadLine as error:
            return {"ok": False, "error": f"not a request: {error}", "closing": True}
        except Refused as error:
            return {"ok": False, "error": str(error)}
