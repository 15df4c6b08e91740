"""The doctor's check of the slots that a service would have here, before it starts.

It uses the service's own rule (`slot_plan.plan`). It finds a device that is configured but missing, GPUs
that `include` leaves out, and a model that fits on no GPU.
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
    """Report the slots, or why there would be none. `told`: gpuwatch's line of devices."""
    if settings.devices.fake_gpus:
        yield Finding("slots", "ok", f"{settings.devices.fake_gpus} on simulated GPUs")
        return
    try:
        devices = codec.from_plain(Devices, told.get("devices"))
    except codec.BadValue:
        return  # the check stopped before, which is already reported
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
