"""The gpuwatch process: polls GPUs and reports to the supervisor until the link closes.

One thread polls NVML, which may hang forever; one per GPU waits for XIDs; the main thread waits for messages.
Only the main thread ends the process, by `os._exit`, so that a hung driver cannot keep it alive. Only the
main thread evaluates XIDs, so that a hung driver cannot hide them.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from typing import Optional, Protocol

from supervisor.contract import clock
from supervisor.contract.exits import Exit
from supervisor.contract.wire import framing
from supervisor.contract.wire.blocking_link import BlockingLink, LinkClosed
from supervisor.contract.wire.messages import (
    Device,
    Devices,
    Look,
    Up,
    Xid,
)
from supervisor.gpuwatch import nvml_errors, pci
from supervisor.gpuwatch.report import GpuReport, devices_of, is_news
from supervisor.gpuwatch.xid import judge
from supervisor.gpuwatch.xid_bursts import XidBursts

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
LOOK_MOST_OFTEN_S = 0.1
# A driver that loads late is available within seconds, but each failing nvmlInit forks a helper four times.
LOOK_AFTER_FAILURE_FIRST_S, LOOK_AFTER_FAILURE_MOST_S = 2.0, 30.0
REPORT_EVERY_S = 30.0
# The first call initializes GPUs that no process holds open, which takes seconds for each. A guess.
FIRST_HANGS_AFTER_S = 30.0
HANGS_AFTER_S = 10.0
WAKE_S = 1.0


class GpuSource(Protocol):
    """A source of GPU reports: NVML, or simulated GPUs."""

    def look(self) -> GpuReport: ...


class Watch:
    """The last report, and the lock under which all threads change and send it."""

    def __init__(
        self, link: BlockingLink[Look], source: GpuSource, overrides: Mapping[str, str] = {}
    ) -> None:
        self._link = link
        self._source = source
        self._overrides = overrides
        self._lock = threading.Lock()
        self._last: Optional[Devices] = None
        self._reported_at_s = 0.0
        self._poll_began_at_s: Optional[float] = None  # None: no call is in progress
        self._answered = False
        self._poll_now = threading.Event()
        self._order: Optional[Look] = None
        self._bursts = XidBursts()
        self._nvidia_pci = pci.has_nvidia_gpu()

    def look_for_ever(self) -> None:
        """Poll and report until the process ends."""
        failures = 0
        while True:
            failures = failures + 1 if self.look_once() else 0
            self._poll_now.wait(self._pause_s(failures))
            self._poll_now.clear()

    def look_once(self) -> bool:
        """Poll once, report changes; return whether NVML failed."""
        poll_began_at_s = self._poll_began_at_s = clock.now_s()
        report = self._source.look()
        self._poll_began_at_s, self._answered = None, True
        self._report(report, poll_began_at_s)
        return report.failed

    def look_often(self, order: Look) -> None:
        """Poll more often, as ordered by a Look."""
        self._order = order
        self._poll_now.set()

    def report_if_stuck(self) -> None:
        """Report once that the driver hangs if the current poll takes too long."""
        poll_began_at_s = self._poll_began_at_s
        limit_s = HANGS_AFTER_S if self._answered else FIRST_HANGS_AFTER_S
        if poll_began_at_s is not None and clock.now_s() - poll_began_at_s >= limit_s:
            self._report(
                GpuReport((), nvml_errors.hangs(limit_s), failed=True), poll_began_at_s, regularly=False
            )

    def report_xid(self, xid: Xid) -> None:
        """Report an XID at once; the fault follows when its burst is complete.

        Each number once per burst: a failing GPU repeats the same XID hundreds of times.
        """
        with self._lock:
            if not self._bursts.add(xid):
                return
            self._link.send(xid)
        self._poll_now.set()  # the verdict needs the recovery action after the fault

    def report_faults(self) -> float:
        """Report the faults that are due; return the seconds until the next may be."""
        with self._lock:
            now_s = clock.now_s()
            for burst in self._bursts.due(now_s):
                gpu = self._seen(burst.uuid)
                action = gpu.recovery_action if gpu is not None else None
                whole = gpu.parent or gpu.uuid if gpu is not None else burst.uuid
                self._link.send(judge(burst.uuid, burst.xids, burst.at_s, action, self._overrides, whole))
            due_at_s = self._bursts.next_due_at_s()
        return WAKE_S if due_at_s is None else max(0.0, min(WAKE_S, due_at_s - now_s))

    def _seen(self, uuid: str) -> Optional[Device]:
        """Return a device, or any MIG device of a GPU, as last seen."""
        seen: tuple[Device, ...] = self._last.devices if self._last is not None else ()
        return next((gpu for gpu in seen if uuid in (gpu.uuid, gpu.parent)), None)

    def _pause_s(self, failures: int) -> float:
        order = self._order
        if order is not None and clock.now_s() < order.until_at_s:
            return max(LOOK_MOST_OFTEN_S, order.every_s)
        return pause_after_s(failures)

    def _report(self, report: GpuReport, poll_began_at_s: float, regularly: bool = True) -> None:
        with self._lock:
            if not report.gpus:
                self._nvidia_pci = pci.has_nvidia_gpu()  # matters only if NVML reports no GPU
            now = devices_of(report, os.environ, self._nvidia_pci, self._last, poll_began_at_s)
            is_first = self._last is None
            often = self._order is not None and poll_began_at_s < self._order.until_at_s
            due = regularly and (often or clock.now_s() - self._reported_at_s >= REPORT_EVERY_S)
            if not is_news(self._last, now) and not due:
                return
            self._last, self._reported_at_s = now, clock.now_s()
            self._link.send(now)
            if is_first:
                self._link.send(Up(_summary(now)))


def pause_after_s(failures: int) -> float:
    """Return the pause before the next poll, after this many failed polls in a row."""
    if not failures:
        return LOOK_EVERY_S
    return min(LOOK_AFTER_FAILURE_MOST_S, LOOK_AFTER_FAILURE_FIRST_S * 2.0 ** min(failures - 1, 10))


def serve(link: BlockingLink[Look], watch: Watch) -> Exit:
    """Watch until the supervisor closes the link; return the exit code."""
    failed = threading.Event()
    threading.Thread(target=_look, args=(watch, link, failed), name="nvml", daemon=True).start()
    try:
        while True:
            for order in link.receive(watch.report_faults()):
                watch.look_often(order)
            watch.report_if_stuck()
    except framing.BadLine:
        return Exit.PROTOCOL
    except LinkClosed:
        return Exit.FAILED if failed.is_set() else Exit.OK


def _look(watch: Watch, link: BlockingLink[Look], failed: threading.Event) -> None:
    try:
        watch.look_for_ever()
    except LinkClosed:
        return  # the main thread sees the end of the link, too, and exits
    except Exception:  # outermost in this thread
        # A bug. Shutting down the link wakes the main thread, which ends the process.
        log.exception("GPU monitoring failed", extra={"event": "gpuwatch-failed"})
        failed.set()
        link.shut_down()


def _summary(devices: Devices) -> str:
    count = len(devices.devices)
    if count == 0:
        return f"no GPU: {devices.problem}" if devices.problem else "no GPU"
    names = ", ".join(sorted({gpu.name for gpu in devices.devices}))
    return f"{count} GPU{'s' if count > 1 else ''}: {names}"
