"""Client of the control socket: sends one request to a running supervisor and reads one reply.

Every wait has a limit: a supervisor that does not reply within five seconds is reported
as an error, with its pid.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import socket
import stat
import struct
from collections.abc import Mapping
from typing import Any, Callable

from supervisor.cli.client.errors import CommandFailed
from supervisor.contract import clock
from supervisor.contract.exits import Exit
from supervisor.contract.wire import framing
from supervisor.settings.socket_path import Address, read_address, socket_for_group, socket_path

ANSWER_WITHIN_S = 5.0


class NotRunning(CommandFailed):
    """No supervisor runs on this state directory."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, Exit.NOT_RUNNING)


class NotPermitted(CommandFailed):
    """A supervisor may be running here, but this user has no access to it."""


def ask(
    state_dir: str,
    request: Mapping[str, Any],
    environ: Mapping[str, str],
    within_s: float = ANSWER_WITHIN_S,
) -> dict[str, Any]:
    """Send `request` to the supervisor of this state directory and give its reply, which is `ok`.

    Raises `NotRunning`, or `CommandFailed` for no reply, an invalid reply, or a request that the
    supervisor refused.
    """
    address = find(state_dir, environ)
    with _connect(address, state_dir) as link:
        pid = _peer_pid(link) or address.pid
        reply = _exchange(link, request, pid, within_s)
    if reply.get("ok") is not True:
        raise CommandFailed(
            str(reply.get("error") or f"the supervisor (pid {pid}) refused the request without a reason")
        )
    return reply


def find(state_dir: str, environ: Mapping[str, str]) -> Address:
    """Give the address of the supervisor of this state directory.

    Raises `NotRunning`, or `NotPermitted` if this user may not read it.
    """
    written, is_hidden = None, False
    try:
        written = read_address(state_dir)
    except PermissionError:
        is_hidden = True
    if environ.get("REM_SOCKET"):
        pid = written.pid if written else 0
        return Address(pid, socket_path(state_dir, environ), 0.0)
    if is_hidden:
        path = socket_for_group(state_dir)
        if not path:
            raise _forbidden(state_dir)
        return Address(0, path, 0.0)
    if written is None:
        raise _not_running(state_dir)
    return written


def _not_running(state_dir: str) -> NotRunning:
    return NotRunning(f"no supervisor is running on {state_dir}. Start one: rem-supervisor run")


def _forbidden(path: str) -> NotPermitted:
    """Name the service's possible user and a way to get access. `path`: its socket or state directory."""
    user, group = "another user", ""
    with contextlib.suppress(OSError):  # its owner can't be read either
        found = os.stat(path)
        user = _name_of(lambda: pwd.getpwuid(found.st_uid).pw_name, found.st_uid)
        if stat.S_ISSOCK(found.st_mode) and found.st_mode & stat.S_IWGRP:
            group = _name_of(lambda: grp.getgrgid(found.st_gid).gr_name, found.st_gid)
    way = (
        f"join group {group}" if group else "open the service to a group: [control] group in its config.toml"
    )
    return NotPermitted(
        f"Permission denied: a service may be running here as {user} ({path}). Use sudo, or {way}. "
        "To run your own service, set REM_STATE_DIR."
    )


def _name_of(look_up: Callable[[], str], number: int) -> str:
    try:
        return look_up()
    except KeyError:
        return str(number)


def _connect(address: Address, state_dir: str) -> socket.socket:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # connect() blocks too if the listener's queue is full.
    link.settimeout(ANSWER_WITHIN_S)
    try:
        link.connect(address.socket)
        return link
    except (FileNotFoundError, ConnectionRefusedError):
        link.close()
        raise _not_running(state_dir) from None
    except PermissionError:
        link.close()
        raise _forbidden(address.socket) from None
    except OSError as error:
        link.close()
        if isinstance(error, TimeoutError) or "timed out" in str(error):
            raise _silent(address.pid, ANSWER_WITHIN_S) from None
        raise CommandFailed(f"the control socket {address.socket} can't be used: {error}") from error


def _exchange(link: socket.socket, request: Mapping[str, Any], pid: int, within_s: float) -> dict[str, Any]:
    answer_by_s = clock.now_s() + within_s
    splitter = framing.LineSplitter()
    try:
        link.sendall(framing.encode_line(request))
        while True:
            link.settimeout(max(0.001, answer_by_s - clock.now_s()))
            data = link.recv(65_536)
            if not data:
                raise CommandFailed(
                    f"the supervisor (pid {pid}) closed the connection without a reply. See its log."
                )
            lines = splitter.feed(data)
            if lines:
                return framing.decode_line(lines[0])
    except socket.timeout:
        raise _silent(pid, within_s) from None
    except OSError as error:
        raise CommandFailed(
            f"the supervisor (pid {pid}) closed the connection: {error}. See its log."
        ) from error
    except framing.BadLine as error:
        raise CommandFailed(
            f"the reply of pid {pid} is invalid ({error}). Does REM_SOCKET name another program's socket?"
        ) from error


def _silent(pid: int, within_s: float) -> CommandFailed:
    return CommandFailed(
        f"the supervisor (pid {pid or 'unknown'}) did not answer within {within_s:g} s. "
        "It may be stopped or overloaded. See its log, and its state in `ps`."
    )


def _peer_pid(link: socket.socket) -> int:
    """Get the listener's pid from the kernel; 0 if it is not available."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return 0
    pid: int = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))[0]
    return pid  # also 0 for a listener outside this pid namespace
