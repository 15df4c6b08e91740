"""The worker's end of the socket: one thread hears, everybody may speak.

Messages are heard at once, though the main thread is inside a native call for seconds.
The end of the link means that the supervisor is gone: the process leaves at that moment,
which is the only orphan safety there is where the kernel has no parent-death signal.
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
    """A socket to the supervisor that ends the process when it breaks."""

    def __init__(self, sock: socket.socket, die: Callable[[int], None]) -> None:
        """`die` ends the process with a code, after its log is written."""
        self._sock = sock
        self._die = die
        self._lock = threading.Lock()

    def send(self, message: FromWorker) -> None:
        """Write one message, whole, from any thread."""
        line = messages.write(message)
        try:
            with self._lock:
                self._sock.sendall(line)
        except OSError:
            # Nobody is left to read a log either.
            os._exit(Exit.ORPHANED)

    def listen(self, hear: Callable[[ToWorker], None]) -> None:
        """Start the thread that gives each message to `hear`."""
        threading.Thread(target=self._listen, args=(hear,), name="link", daemon=True).start()

    def _listen(self, hear: Callable[[ToWorker], None]) -> None:
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
                    hear(messages.read(line, messages.TO_WORKER))
            except framing.BadLine as error:
                log.error("invalid message", extra={"event": "message-invalid", "reason": str(error)})
                self._die(Exit.PROTOCOL)
