"""One child process: started, read, sent to, signalled and reaped. The only file that does so.

Start: `spawning.py`, with a session of its own, a socket pair as the link, one pipe for its output, a
lock file for its place whose descriptor it inherits. End: a pidfd in the event loop and
waitid(P_PIDFD), never waitpid(-1); on kernels without pidfds (old ones, gVisor, macOS) a SIGCHLD handler
that polls each child; without a free descriptor for a pidfd, a timer that polls.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Protocol

from supervisor.contract import child_bootstrap
from supervisor.contract.exits import STATUS_UNKNOWN
from supervisor.contract.wire import framing
from supervisor.contract.wire import messages as m
from supervisor.processes.child_output import ChildOutput
from supervisor.processes.fair_reader import FairReader
from supervisor.processes.orphan_reaper import is_ours_to_reap
from supervisor.processes.spawning import has_pidfds, lock_place, open_pidfd, spawn

log = logging.getLogger(__name__)

READ_BYTES = 65_536
WRITE_BYTES_MOST = 4 * framing.MAX_LINE_BYTES  # a child with this much unread does not read
DEAF_MOST_S = 1.0
ASK_EVERY_S = 0.2  # poll for the exit if the pidfd does not report it or could not be opened
LAST_READS_MOST = 64  # 4 MiB, more than a socket holds: the rest is a stray grandchild's flood
LAST_MESSAGES_MOST = 1_000  # of a child that exited: more than any sends at once


@dataclass(frozen=True)
class ChildSpec:
    """How to start one child."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    speaks: tuple[type, ...]  # the messages it may send
    lock_path: str = ""  # held while the process or a child of it runs
    hides_memory: bool = False  # its environment is unreadable, so its mark is on the command line too


class ChildListener(Protocol):
    """Receives messages, output and exits of children."""

    def on_message(self, name: str, message: m.Message) -> None:
        """A valid message arrived on the link."""

    def on_output(self, name: str, line: str) -> None:
        """A line arrived on its standard output or error."""

    def on_broken_link(self, name: str, why: str) -> None:
        """The link cannot be used any more; the process may still run."""

    def on_exit(self, name: str, returncode: int) -> None:
        """The process was reaped; this is the last call for it."""


class NullListener:
    """Listener of an abandoned process: only its exit matters."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    def on_message(self, name: str, message: m.Message) -> None: ...

    def on_output(self, name: str, line: str) -> None: ...

    def on_broken_link(self, name: str, why: str) -> None: ...

    def on_exit(self, name: str, returncode: int) -> None:
        self._end()


class Child:
    """A running process in a slot. Made by `start`, useless after `on_exit`."""

    def __init__(
        self, spec: ChildSpec, listener: ChildListener, loop: asyncio.AbstractEventLoop, instance_id: str = ""
    ) -> None:
        self.name = spec.name
        self._listener = listener
        self._loop = loop
        self._speaks = spec.speaks
        self._splitter = framing.LineSplitter()
        self._said: tuple[Optional[bytes], Any] = (None, None)  # its last line and the message in it
        self._unsent = bytearray()
        self._closed = False  # our end of the link
        self._link, theirs = socket.socketpair()
        self._link.setblocking(False)
        out_fd, out_theirs = os.pipe()
        lock_fd = -1
        try:
            lock_fd = lock_place(spec.lock_path) if spec.lock_path else -1
            self.pid = _start(spec, instance_id, theirs.fileno(), out_theirs, lock_fd)
        except BaseException:
            self._link.close()
            os.close(out_fd)
            raise
        finally:
            theirs.close()
            os.close(out_theirs)
            if lock_fd >= 0:
                os.close(lock_fd)
        self._returncode: Optional[int] = None
        self._pidfd = -1
        self._heard = FairReader(loop, self._link.fileno(), self._on_link, self._on_line)
        self._output = ChildOutput(self.name, out_fd, loop, self._report_output)
        self._watch()

    def send(self, message: m.Message) -> None:
        """Write a message, now or when the child reads. A child that never reads loses its link."""
        if self._closed:
            return
        idle = not self._unsent
        self._unsent += m.write(message)
        if len(self._unsent) > WRITE_BYTES_MOST:
            self._report_broken_link("it does not read its messages")
        elif idle:
            self._flush()

    def close_link(self) -> None:
        """Close the link: the child reads end of file."""
        if not self._closed:
            self._closed = True
            self._heard.close()
            self._loop.remove_writer(self._link.fileno())
            self._link.close()

    def signal(self, signum: int) -> None:
        """Send a signal; SIGKILL goes to the whole process group."""
        if self._returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if signum == signal.SIGKILL:
                os.killpg(self.pid, signum)
            else:
                os.kill(self.pid, signum)

    def leave_behind(self, end: Callable[[], None]) -> None:
        """Ignore its messages; when it exits at last, it is reaped and `end` is called."""
        self._listener = NullListener(end)
        self.close_link()

    def reap(self) -> None:
        """Take the exit status if the process exited, after reading its last messages and output."""
        returncode = self._exit_status()
        if returncode is None:
            return
        self._returncode = returncode
        # Its own children may still run in its group; none of them may hold the device.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.ExitStack() as always:
            # Whatever its last messages caused: a slot that never gets the exit is lost.
            always.callback(self._listener.on_exit, self.name, returncode)
            always.callback(self._let_go)
            self._read_the_rest()

    # --- inside ---------------------------------------------------------------------

    def _watch(self) -> None:
        """Detect its exit by a pidfd; without a free descriptor, poll until there is one."""
        if self._pidfd < 0:
            try:
                self._pidfd = open_pidfd(self.pid)
            except OSError:
                self._loop.call_later(ASK_EVERY_S, self._poll_exit)
        if self._pidfd >= 0:
            self._loop.add_reader(self._pidfd, self._on_pidfd)

    def _on_pidfd(self) -> None:
        """Reap. A dead process that a debugger holds cannot be reaped yet: poll with a pause."""
        self.reap()
        if self._returncode is None:
            self._loop.remove_reader(self._pidfd)
            self._loop.call_later(ASK_EVERY_S, self._poll_exit)

    def _poll_exit(self) -> None:
        self.reap()
        if self._returncode is None:
            self._watch()

    def _exit_status(self) -> Optional[int]:
        """Reap without waiting: negative for a signal, None while it runs."""
        if self._returncode is not None:
            return None
        try:
            return self._wait()
        except ChildProcessError:
            # Reaped elsewhere, or by the kernel (SIGCHLD is ignored): it exited in any case.
            return STATUS_UNKNOWN

    def _wait(self) -> Optional[int]:
        if self._pidfd < 0:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            return os.waitstatus_to_exitcode(status) if pid else None
        found = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def _read_the_rest(self) -> None:
        dropped = self._heard.finish(LAST_READS_MOST, LAST_MESSAGES_MOST)
        if dropped:
            facts = {"child": self.name, "messages": dropped}
            log.warning(
                "messages dropped: a process left more than is read after its end",
                extra={"event": "child-messages-dropped", **facts},
            )
        self._output.finish()

    def _let_go(self) -> None:
        self.close_link()
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        self._output.finish()

    def _on_link(self) -> bool:
        """Read once; return whether data arrived."""
        try:
            data = self._link.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self._on_end_of_link()
            return False
        try:
            self._heard.waiting.extend(self._splitter.feed(data))
        except framing.BadLine as error:
            self._report_broken_link(f"it sent what is no message: {error}")
        return True

    def _on_line(self, line: bytes) -> None:
        try:
            message = self._read(line)
        except framing.BadLine as error:
            self._report_broken_link(f"it sent what is no message: {error}")
        else:
            self._listener.on_message(self.name, message)

    def _on_end_of_link(self) -> None:
        """Usually it is about to exit; if it does not, the listener must know that it reads nothing."""
        self._heard.read_no_more()
        if self._returncode is None:
            self._loop.call_later(DEAF_MOST_S, self._still_there)

    def _read(self, line: bytes) -> Any:
        """Parse a message. A line equal to the last one, such as an idle heartbeat, is parsed once."""
        if line != self._said[0]:
            self._said = (line, m.read(line, self._speaks))
        return self._said[1]

    def _still_there(self) -> None:
        if self._returncode is None:
            self._listener.on_broken_link(self.name, "it closed its link but goes on living")

    def _report_broken_link(self, why: str) -> None:
        self.close_link()
        self._listener.on_broken_link(self.name, why)

    def _flush(self) -> None:
        try:
            sent = self._link.send(self._unsent[:READ_BYTES])
            del self._unsent[:sent]
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._unsent.clear()  # it exited; the pidfd reports that
        if self._closed:
            return
        if self._unsent:
            self._loop.add_writer(self._link.fileno(), self._flush)
        else:
            self._loop.remove_writer(self._link.fileno())

    def _report_output(self, line: str) -> None:
        self._listener.on_output(self.name, line)


def watch_without_pidfd(loop: asyncio.AbstractEventLoop, reap_all: Callable[[], None]) -> None:
    """Poll every child when one exits: on kernels without pidfds, and as PID 1 for orphans."""
    if not has_pidfds() or is_ours_to_reap():
        loop.add_signal_handler(signal.SIGCHLD, reap_all)


def _start(spec: ChildSpec, instance_id: str, link_fd: int, out_fd: int, lock_fd: int) -> int:
    """Start the process; return its pid, which is also written into the lock file."""
    mark = f"{instance_id}/{spec.name}"
    environment = {
        **spec.environment,
        child_bootstrap.LINK_FD: str(link_fd),
        child_bootstrap.PARENT_PID: str(os.getpid()),
        child_bootstrap.INSTANCE_VARIABLE: mark,
    }
    command = [*spec.command, child_bootstrap.INSTANCE_OPTION, mark] if spec.hides_memory else spec.command
    inherited = [fd for fd in (link_fd, lock_fd) if fd >= 0]
    pid = spawn(command, environment, out_fd, inherited)
    if lock_fd >= 0:
        # For whoever finds the place locked. On a full disk the pid is old or missing; the lock still holds.
        with contextlib.suppress(OSError):
            os.pwrite(lock_fd, f"{pid}\n".encode().ljust(16), 0)
    return pid
