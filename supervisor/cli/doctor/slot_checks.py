"""Which slots a service would have with these settings on this machine, before it is started.

The same rule as the service's own (`places.plan`) judges: a device that is asked for and not there, GPUs that
`include` leaves out, a model that fits on no GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from supervisor.contract import codec
from supervisor.contract.finding import Finding
from supervisor.contract.wire.messages import Devices
from supervisor.placement import slot_plan
from supervisor.settings.schema import Settings


def of_slots(settings: Settings, told: Mapping[str, Any], host: slot_plan.Host) -> Iterator[Finding]:
    """Say which slots there would be, or why there would be none. `told`: gpuwatch's line of devices."""
    if settings.devices.fake_gpus:
        yield Finding("slots", "ok", f"{settings.devices.fake_gpus} on simulated GPUs")
        return
    try:
        devices = codec.from_plain(Devices, told.get("devices"))
    except codec.BadValue:
        return  # it broke off before it came so far, which is a finding already
    plan = slot_plan.plan(settings, devices, host)
    if not plan.places:
        yield Finding("slots", "fail", plan.problem, plan.cure)
        return
    refused = [place for place in plan.places if place.refusal]
    for place in refused:
        yield Finding(
            "slots", "fail", f"{place.name} would be held: {place.refusal}", "Correct the settings named"
        )
    free = [place.name for place in plan.places if not place.refusal]
    if free:
        yield Finding("slots", "ok", ", ".join(free))
