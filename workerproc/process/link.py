"""The worker's end of the socket to the supervisor: one thread receives, any thread may send.

Messages are received while the main thread is inside a native call, which may take seconds. When the socket
closes, the supervisor is gone and the process exits at once. Where the kernel has no parent-death signal,
this is the only protection against orphaned workers.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from typing import Callable

from supervisor.contract.exits import Exit
from supervisor.contract.wire import framing, messages
from supervisor.contract.wire.messages import FromWorker, ToWorker

log = logging.getLogger(__name__)

_READ_BYTES = 65_536


class WorkerLink:
    """A socket to the supervisor; the process exits when it is closed."""

    def __init__(self, sock: socket.socket, die: Callable[[int], None]) -> None:
        """`die` flushes the log and ends the process with an exit code."""
        self._sock = sock
        self._die = die
        self._lock = threading.Lock()

    def send(self, message: FromWorker) -> None:
        """Send one message. May be called from any thread."""
        line = messages.write(message)
        try:
            with self._lock:
                self._sock.sendall(line)
        except OSError:
            # The log has no reader any more either.
            os._exit(Exit.ORPHANED)

    def listen(self, on_message: Callable[[ToWorker], None]) -> None:
        """Start the thread that calls `on_message` with each message."""
        threading.Thread(target=self._listen, args=(on_message,), name="link", daemon=True).start()

    def _listen(self, on_message: Callable[[ToWorker], None]) -> None:
        lines = framing.LineSplitter()
        while True:
            try:
                data = self._sock.recv(_READ_BYTES)
            except OSError:
                data = b""
            if not data:
                os._exit(Exit.ORPHANED)
            try:
                for line in lines.feed(data):
                    on_message(messages.read(line, messages.TO_WORKER))
            except framing.BadLine as error:
                log.error("invalid message", extra={"event": "message-invalid", "reason": str(error)})
                self._die(Exit.PROTOCOL)
