"""The worker's link: messages are received while the main thread is inside a native call of seconds.

When the socket closes, the supervisor is gone and the process exits at once. Where the kernel has no
parent-death signal, this is the only protection against orphaned workers.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import Callable

from supervisor.contract.exits import Exit
from supervisor.contract.wire import framing
from supervisor.contract.wire.blocking_link import BlockingLink, LinkClosed
from supervisor.contract.wire.messages import TO_WORKER, Message, ToWorker

log = logging.getLogger(__name__)


class WorkerLink(BlockingLink[ToWorker]):
    """A link to the supervisor; the process exits when it is closed."""

    def __init__(self, sock: socket.socket, die: Callable[[int], None]) -> None:
        """`die` flushes the log and ends the process with an exit code."""
        super().__init__(sock, TO_WORKER)
        self._die = die

    def send(self, message: Message) -> None:
        """Send one message. May be called from any thread."""
        try:
            super().send(message)
        except LinkClosed as error:
            self.exit_on_end(error)

    def exit_on_end(self, error: Exception) -> None:
        """Exit: the link has ended with `error`."""
        if not isinstance(error, framing.BadLine):
            # The log has no reader any more either.
            os._exit(Exit.ORPHANED)
        log.error("invalid message", extra={"event": "message-invalid", "reason": str(error)})
        self._die(Exit.PROTOCOL)
