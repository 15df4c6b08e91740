"""Writes the last status to the state directory, for commands after the service has stopped.

Written after changes, at most every ten seconds. An idle service writes it once a minute, which
costs next to nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, Optional

from supervisor import __version__
from supervisor.contract import clock
from supervisor.pool.status import Facts
from supervisor.service.state_dir import STATUS_FILE, StateDir
from supervisor.settings.schema import Settings

log = logging.getLogger(__name__)

NEWS_EVERY_S = 10.0
IDLE_EVERY_S = 60.0  # memory and device figures change without events
CRASHES_SHOWN = 5
LOOK_EVERY_S = 2.0  # whether the state directory was lost


class StatusFile:
    """Decides when the status is written."""

    def __init__(
        self, state: StateDir, status: Callable[[], dict[str, Any]], lost: Callable[[], None] = lambda: None
    ) -> None:
        """`lost` is called once when the state directory was removed or replaced; then nothing is written."""
        self._state = state
        self._status = status
        self._tell_lost = lost
        self._is_lost = False
        self._looked_at_s = 0.0
        self._written_at_s = 0.0
        self._has_news = True

    def note_news(self) -> None:
        """Record that the status changed."""
        self._has_news = True

    def write_if_due(self, now_s: float) -> None:
        """Write the status if its interval has passed: a shorter one after changes."""
        if now_s - self._written_at_s >= (NEWS_EVERY_S if self._has_news else IDLE_EVERY_S):
            self.write(now_s)

    def write(self, now_s: float, ended: Mapping[str, Any] = {}) -> None:
        """Write the status now. A full disk is ignored. `ended`: how the service ended."""
        self._look(now_s)
        if self._is_lost:
            return
        self._written_at_s, self._has_news = now_s, False
        try:
            status = self._status()
            if ended:
                status = {**status, "supervisor": {**status.get("supervisor", {}), **ended}}
            self._state.write(STATUS_FILE, status)
        except OSError as error:
            log.warning(
                "status file not written", extra={"event": "status-file-not-written", "reason": str(error)}
            )

    def look_if_due(self, now_s: float) -> None:
        """Check at intervals whether the state directory was lost, and report it once."""
        if now_s - self._looked_at_s >= LOOK_EVERY_S:
            self._look(now_s)

    def _look(self, now_s: float) -> None:
        self._looked_at_s = now_s
        if not self._is_lost and self._state.is_lost():
            self._is_lost = True
            self._tell_lost()


def rss_bytes(pids: Iterable[int]) -> dict[int, int]:
    """Return resident memory by pid, without processes that /proc does not show."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/statm", "rb") as statm:
            found[pid] = int(statm.read().split()[1]) * _PAGE_BYTES
    return found


_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def facts_of(
    settings: Settings,
    *,
    started_at_s: float,
    now_s: float,
    pids: Iterable[int],
    devices: Mapping[str, str],
    notice: Optional[Mapping[str, Any]],
    crashes: Sequence[Mapping[str, Any]],
    model_fetches: Sequence[Mapping[str, Any]],
) -> Facts:
    """Collect the current facts; `pids` are those of the children."""
    return Facts(
        pid=os.getpid(),
        started_at_s=started_at_s,
        backend=settings.backend.kind,
        profile=settings.transcription.profile,
        now_s=now_s,
        now_unix_s=clock.wall_unix_s(),
        rss_bytes=rss_bytes(pids),
        devices=devices,
        compute=settings.devices.compute,
        fake_gpus=settings.devices.fake_gpus,
        notice=notice,
        crashes=crashes,
        model_fetches=model_fetches,
        version=__version__,
        host_name=os.uname().nodename,
        model=settings.transcription.model,
        compute_type=settings.transcription.compute_type,
        wanted_device=settings.devices.device,
    )
