"""Finds and kills processes that a former worker or supervisor left behind.

Each supervisor draws an instance id at its start. Every child has it in its environment with the slot's
name, and so have the child's own children. The broker hides its environment, so its mark is also on its
command line. The mark identifies a process that left its group and session, or outlived its supervisor.
The instance id of the last supervisor on a state directory is in a file there. A process that clears its
environment is not found: if it holds a device's lock, its slot waits for it and names it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from supervisor.contract.child_bootstrap import INSTANCE_OPTION, INSTANCE_VARIABLE

LIFE_FILE = "life.json"


@dataclass(frozen=True)
class StrayProcess:
    """A process with the mark of an instance."""

    pid: int
    slot: str


def new_instance_id() -> str:
    """Draw a unique instance id."""
    return secrets.token_hex(16)


def former_instance_id(state_path: Path) -> str:
    """Return the instance id of the last supervisor on this state directory; empty if unknown."""
    try:
        instance_id = json.loads((state_path / LIFE_FILE).read_text(encoding="utf-8"))["life"]
    except (OSError, ValueError, TypeError, KeyError):
        return ""
    return instance_id if isinstance(instance_id, str) and len(instance_id) == 32 else ""


def find(instance_id: str, slot: str = "") -> list[StrayProcess]:
    """Return the processes marked with an instance id, of one slot or of all, without this process."""
    if not instance_id:
        return []
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit() and int(name) != os.getpid():
            theirs = _slot_of(int(name), instance_id)
            if theirs and slot in ("", theirs):
                found.append(StrayProcess(int(name), theirs))
    return found


def end(stray: StrayProcess, instance_id: str) -> None:
    """Kill a process if its pid still belongs to the process that was found."""
    if not hasattr(os, "pidfd_open"):
        return  # another process may have its pid by now
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(stray.pid)
        try:
            if _slot_of(stray.pid, instance_id) == stray.slot:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)


def _slot_of(pid: int, instance_id: str) -> str:
    """Return the slot in a process's mark; empty if it has another mark or none, or cannot be read."""
    begin, folder = f"{INSTANCE_VARIABLE}={instance_id}/".encode(), Path(f"/proc/{pid}")
    try:
        try:
            entries = (folder / "environ").read_bytes().split(b"\0")
        except PermissionError:
            begin = f"{instance_id}/".encode()
            entries = _after_option((folder / "cmdline").read_bytes().split(b"\0"))
    except OSError:
        return ""
    marks = [entry[len(begin) :] for entry in entries if entry.startswith(begin)]
    return marks[0].decode("utf-8", "replace") if marks else ""


def _after_option(words: Sequence[bytes]) -> list[bytes]:
    """Return the mark on a command line: the word after the option."""
    return [word for option, word in zip(words, words[1:]) if option == INSTANCE_OPTION.encode()]


def alive_in_group(group: int) -> list[int]:
    """Return the running pids of a process group, without zombies; 0 is no group.

    /proc is only searched in the rare case that the group exists.
    """
    try:
        if group <= 0:
            return []
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):  # it exited, or the number belongs to another user now
        return []
    return sorted(pid for pid, state, own in _processes() if own == group and state not in "ZX")


def _processes() -> list[tuple[int, str, int]]:
    """Return pid, state and process group of every process in /proc."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()
        found.append((int(folder.name), fields[0], int(fields[2])))
    return found
