"""A child's end of the socket to the supervisor: blocking; any thread sends, one thread receives.

The end of the socket and an error of it mean the same to a child: the supervisor is gone. Both raise
`LinkClosed`, and the caller decides how the process exits.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from typing import Callable, Generic, Optional, TypeVar

from supervisor.contract.wire import framing, messages

Incoming = TypeVar("Incoming")

_READ_BYTES = 65_536


class LinkClosed(Exception):
    """The other end closed the connection, or the connection broke."""


class BlockingLink(Generic[Incoming]):
    """Sends and receives messages on a connected socket."""

    def __init__(self, connection: socket.socket, accepted: tuple[type, ...]) -> None:
        """`accepted` are the classes of `Incoming`; any other message is invalid."""
        self._connection = connection
        self._accepted = accepted
        self._splitter = framing.LineSplitter()
        self._send_lock = threading.Lock()

    def send(self, message: messages.Message) -> None:
        """Send one message. Raises `LinkClosed`, and `framing.BadLine` if the message is too large."""
        line = messages.write(message)
        try:
            with self._send_lock:
                self._connection.sendall(line)
        except OSError as error:
            raise LinkClosed(str(error)) from error

    def receive(self, timeout_s: Optional[float] = None) -> Iterator[Incoming]:
        """Wait for data and yield the messages that it completes; yield none after `timeout_s`.

        Raises `LinkClosed`, and `framing.BadLine` for an invalid message: receive no more after either.
        """
        if timeout_s is None or select.select([self._connection], [], [], timeout_s)[0]:
            for line in self._splitter.feed(self._read()):
                yield messages.read(line, self._accepted)

    def listen(self, on_message: Callable[[Incoming], None], on_end: Callable[[Exception], None]) -> None:
        """Start a thread that calls `on_message` for each message, then `on_end` once with the error."""

        def run() -> None:
            try:
                while True:
                    for message in self.receive():
                        on_message(message)
            except (LinkClosed, framing.BadLine) as error:
                on_end(error)

        threading.Thread(target=run, name="link", daemon=True).start()

    def shut_down(self) -> None:
        """End the connection: `receive` and `send` raise `LinkClosed`, in a thread that waits there too."""
        with contextlib.suppress(OSError):  # the other end may be gone already
            self._connection.shutdown(socket.SHUT_RDWR)

    def _read(self) -> bytes:
        try:
            data = self._connection.recv(_READ_BYTES)
        except OSError as error:
            raise LinkClosed(str(error)) from error
        if not data:
            raise LinkClosed("end of file")
        return data
