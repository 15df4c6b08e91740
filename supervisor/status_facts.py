"""What a status shows beside the pool: our own process, its settings, and figures from outside."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from supervisor import __version__
from supervisor.contract import clock
from supervisor.contract.settings_schema import Settings
from supervisor.snapshot import Facts
from supervisor.status_file import rss_bytes

CRASHES_SHOWN = 5


def facts_of(
    settings: Settings,
    *,
    started_at_s: float,
    now_s: float,
    pids: Iterable[int],
    devices: Mapping[str, str],
    notice: Optional[Mapping[str, Any]],
    crashes: Sequence[Mapping[str, Any]],
) -> Facts:
    """Collect the facts of this moment; `pids` are those of the children."""
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
        version=__version__,
        host_name=os.uname().nodename,
        model=settings.transcription.model,
        compute_type=settings.transcription.compute_type,
        wanted_device=settings.devices.device,
    )
