"""The broker's end of the socket to the supervisor."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Callable

from supervisor.contract.wire import framing
from supervisor.contract.wire.messages import TO_BROKER, FromBroker, ToBroker, read, write

log = logging.getLogger(__name__)
_CHUNK_BYTES = 65_536


class BrokerLink:
    """Sends from the main thread; a reader thread delivers incoming messages."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._is_open = True

    def say(self, message: FromBroker) -> None:
        """Send one message. Errors are ignored: the reader thread notices a closed connection."""
        if not self._is_open:
            return
        try:
            self._connection.sendall(write(message))
        except OSError:
            self._is_open = False

    def read_on(self, heard: Callable[[ToBroker], None], ended: Callable[[], None]) -> None:
        """Start the reader thread: it calls `heard` for each message, then `ended` once."""
        threading.Thread(target=self._read_all, args=(heard, ended), name="broker-link", daemon=True).start()

    def _read_all(self, heard: Callable[[ToBroker], None], ended: Callable[[], None]) -> None:
        lines = framing.LineSplitter()
        try:
            while True:
                data = self._connection.recv(_CHUNK_BYTES)
                if not data:
                    break
                for line in lines.feed(data):
                    heard(read(line, TO_BROKER))
        except framing.BadLine as error:
            log.error(
                "invalid message from the supervisor",
                extra={"event": "supervisor-message-invalid", "reason": str(error)},
            )
        except OSError as error:
            log.warning(
                "connection to the supervisor broken",
                extra={"event": "supervisor-link-broken", "reason": str(error)},
            )
        ended()
