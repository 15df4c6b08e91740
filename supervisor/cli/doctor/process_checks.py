"""The doctor's checks of processes and memory, with psutil, which works on every system.

psutil reads states, descriptors, limits and child processes, for which /proc has a different format each.
The service itself does not use it: it would cost the supervisor 4 MB.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import psutil

from supervisor.cli.text.text_format import bytes_text, span_text
from supervisor.contract import clock
from supervisor.contract.finding import Finding
from supervisor.placement.host import read_host

FEW_DESCRIPTORS_RATIO = 0.8
# A process that waits for a disk is in state D briefly; one that hangs in a driver stays there.
LOOK_AGAIN_S = 0.5
INIT = 1


def of_memory(need_bytes: int) -> Finding:
    """Check the memory for a worker that needs `need_bytes` (0: none is going to start)."""
    found = psutil.virtual_memory()
    free_bytes = min(int(found.available), read_host().free_memory_bytes)  # a container may have less
    detail = f"{bytes_text(free_bytes)} of {bytes_text(found.total)} available"
    if need_bytes <= free_bytes:
        return Finding("memory", "ok", detail)
    cure = "Choose a smaller model (WHISPER_MODEL), or give this machine or container more memory"
    return Finding("memory", "warn", f"{detail}; one worker needs about {bytes_text(need_bytes)}", cure)


def of_processes(pid: int) -> Iterator[Finding]:
    """Check a running service and its child processes: hanging, zombies, short of file descriptors."""
    try:
        top = psutil.Process(pid)
        family = [top, *top.children(recursive=True)]
        stuck = _in_states(family, (psutil.STATUS_DISK_SLEEP, psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED))
        if stuck:
            time.sleep(LOOK_AGAIN_S)
            stuck = _in_states(stuck, (psutil.STATUS_DISK_SLEEP, psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED))
        yield from map(_of_stuck, stuck)
        yield _of_family(family)
    except psutil.AccessDenied:
        yield Finding("processes", "ok", f"only root can inspect pid {pid} and its child processes")
    except psutil.NoSuchProcess:
        yield Finding(
            "processes", "warn", f"pid {pid} is not visible from here", "Run doctor on the service's host"
        )


def of_strays() -> Iterator[Finding]:
    """Find workers whose supervisor is gone; they do nothing and keep memory, for example on a GPU."""
    for process in psutil.process_iter(["pid", "ppid", "cmdline", "create_time", "memory_info"]):
        facts = process.info
        if list(facts["cmdline"] or ())[-2:] != ["-m", "workerproc"] or facts["ppid"] != INIT:
            continue
        if "supervisor" in " ".join(_command_of(INIT)):
            continue  # a supervisor that is the container's pid 1
        age = span_text(clock.wall_unix_s() - facts["create_time"])
        size = bytes_text(facts["memory_info"].rss) if facts["memory_info"] else "-"
        words = f"pid {facts['pid']} is a worker without a supervisor, up {age}, {size}"
        yield Finding("stray process", "warn", words, f"End it: kill {facts['pid']}")


def _of_family(family: Sequence[psutil.Process]) -> Finding:
    rss_bytes, most = 0, (0.0, "")
    for process in family:
        try:
            with process.oneshot():
                rss_bytes += process.memory_info().rss
                most = max(most, _descriptors(process))
        except psutil.NoSuchProcess:
            continue  # a worker that exited meanwhile
    count = f"{len(family)} processes, {bytes_text(rss_bytes)} resident"
    detail = f"{count}; {most[1]}" if most[1] else count
    if most[0] < FEW_DESCRIPTORS_RATIO:
        return Finding("processes", "ok", detail)
    return Finding("processes", "warn", detail, "Raise the limit: LimitNOFILE= in its unit, or ulimit -n")


def _descriptors(process: psutil.Process) -> tuple[float, str]:
    """Give the share of its file descriptor limit that a process uses, and a sentence about it."""
    if not hasattr(process, "rlimit"):
        return 0.0, ""  # macOS
    try:
        used, limit = process.num_fds(), process.rlimit(psutil.RLIMIT_NOFILE)[0]
    except psutil.AccessDenied:
        return 0.0, ""  # only root may inspect the supervisor and the broker
    if limit <= 0:
        return 0.0, ""
    return used / limit, f"pid {process.pid} has {used} of {limit} file descriptors open"


def _in_states(family: Sequence[psutil.Process], states: Sequence[str]) -> list[psutil.Process]:
    return [process for process in family if _state_of(process) in states]


def _of_stuck(process: psutil.Process) -> Finding:
    state = _state_of(process)
    if state == psutil.STATUS_DISK_SLEEP:
        words = f"pid {process.pid} hangs in the kernel (state D), where no signal reaches it"
        return Finding("processes", "fail", words, "See dmesg for NVRM, Xid or I/O errors; a reboot ends it")
    if state == psutil.STATUS_STOPPED:
        words = f"pid {process.pid} is stopped (SIGSTOP)"
        return Finding("processes", "fail", words, f"Continue it: kill -CONT {process.pid}")
    words = f"pid {process.pid} has exited but was not reaped (zombie)"
    return Finding("processes", "warn", words, "See the service's log; restart the service if this persists")


def _state_of(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return ""


def _command_of(pid: int) -> Sequence[Any]:
    try:
        return psutil.Process(pid).cmdline()
    except psutil.Error:
        return ()
