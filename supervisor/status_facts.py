"""What a status shows beside the pool: our own process, its settings, and figures from outside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from supervisor import __version__
from supervisor.contract import clock
from supervisor.snapshot import Facts, gist
from supervisor.status_file import rss_bytes

if TYPE_CHECKING:
    from supervisor.loop import Service

CRASHES_SHOWN = 5


def facts_of(service: Service) -> Facts:
    """Collect the facts of this moment."""
    own = service.loaded.settings
    now_s = clock.now_s()
    return Facts(
        pid=os.getpid(),
        started_at_s=service.started_at_s,
        backend=own.backend.kind,
        profile=own.transcription.profile,
        now_s=now_s,
        now_unix_s=clock.wall_unix_s(),
        rss_bytes=rss_bytes(child.pid for child in service.effects.children.values()),
        devices=service.crew.devices(),
        compute=own.devices.compute,
        fake_gpus=own.devices.fake_gpus,
        notice=service.notices.picture(now_s),
        crashes=service.chronicle.newest(CRASHES_SHOWN),
        version=__version__,
        host_name=os.uname().nodename,
        model=own.transcription.model,
        compute_type=own.transcription.compute_type,
        wanted_device=own.devices.device,
    )


def gist_of(service: Service) -> dict[str, Any]:
    """Give what `degraded.py` wants to know, at little cost."""
    wanted = service.loaded.settings.devices.device
    return gist(service.pool, clock.now_s(), service.started_at_s, wanted)
