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

    def send(self, message: FromBroker) -> None:
        """Send one message. Errors are ignored: the reader thread notices a closed connection."""
        if not self._is_open:
            return
        try:
            self._connection.sendall(write(message))
        except OSError:
            self._is_open = False

    def read_on(self, on_message: Callable[[ToBroker], None], on_end: Callable[[], None]) -> None:
        """Start the reader thread: it calls `on_message` for each message, then `on_end` once."""
        threading.Thread(
            target=self._read_all, args=(on_message, on_end), name="broker-link", daemon=True
        ).start()

    def _read_all(self, on_message: Callable[[ToBroker], None], on_end: Callable[[], None]) -> None:
        lines = framing.LineSplitter()
        try:
            while True:
                data = self._connection.recv(_CHUNK_BYTES)
                if not data:
                    break
                for line in lines.feed(data):
                    on_message(read(line, TO_BROKER))
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
        on_end()
