"""The doctor's check of EC2 notices: would this machine receive one?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from supervisor.contract import clock
from supervisor.contract.finding import Finding
from supervisor.notices import imds
from supervisor.notices.http_get import Limits
from supervisor.notices.imds import Imds, ImdsFailed
from supervisor.notices.notice import PATHS, Nonsense, NoticePolicy, Now, read
from supervisor.notices.watch import kinds_of, why_off
from supervisor.settings.load import Loaded
from supervisor.settings.schema import Settings


def of_notices(loaded: Loaded, environ: Mapping[str, str]) -> Finding:
    """Query the instance metadata service once, as the running service would."""
    everything = {**loaded.aws_environment, **environ}
    off = why_off(loaded.settings.notices, everything)
    if off is not None:
        return Finding(
            "notices", "warn" if off.is_mistake else "ok", f"not monitored: {off.reason}", off.cure
        )
    service = Imds(imds.endpoint_of(everything), Limits())
    try:
        words = asyncio.run(_live(service, loaded.settings))
    except (ImdsFailed, Nonsense) as error:
        cure = "Until it responds, interruptions come without warning"
        return Finding("notices", "warn", str(error), cure)
    if words:
        cure = "The service stays drained on this machine; `rem-supervisor resume` accepts jobs anyway"
        return Finding("notices", "warn", f"this machine is about to be taken away: {words}", cure)
    return Finding("notices", "ok", "the metadata service responds; no notice is active")


async def _live(service: Imds, in_force: Settings) -> str:
    """Describe the notices that are active now."""
    now = Now(clock.now_s(), clock.wall_unix_s())
    policy = NoticePolicy(in_force.supervisor.drain_s, in_force.notices.rebalance_s)
    kinds = kinds_of(in_force.notices)
    found = [read(kind, await service.get(PATHS[kind]), now, policy) for kind in kinds]
    return ", ".join(notice.why for notice in found if notice is not None)
