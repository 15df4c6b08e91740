"""Creates slots for the devices of this host and specifies their workers.

Slots follow from the devices (`slot_plan.py` decides), child specs from the settings and the
model's folder. Workers start when both are known; until then the slots' reasons say what is missing.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from supervisor.contract.wire.messages import Devices
from supervisor.placement import gpu_selection, slot_plan
from supervisor.placement.host import read_host
from supervisor.pool.pool import Pool
from supervisor.pool.state import events as ev
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.oom_fallback import Load
from supervisor.processes import child_specs
from supervisor.processes.child import ChildSpec
from supervisor.processes.effects import Effects
from supervisor.service.model_fetch import NAME as MODEL
from supervisor.service.model_fetch import ModelFetch
from supervisor.settings.schema import Settings

log = logging.getLogger(__name__)

BROKER_SILENCE_LEAST_S = 10.0
NO_DEVICE = "gpu0"  # the slot that says why there is none
# The children that always exist. They are never held.
OWN_POLICIES: dict[str, sl.Policy] = {
    # How long it may be silent follows from the lease: `own_policies`.
    ev.BROKER: sl.Policy(
        start_s=60.0, may_hold=False, reserve_s=0.0, drains_while_starting=True,
        backoff_most_s=10.0,
    ),
    # It reports every 30 s; one whose driver hangs does not, and is replaced.
    ev.GPUWATCH: sl.Policy(start_s=60.0, silence_s=60.0, may_hold=False, may_leave_behind=True),
}  # fmt: skip


def own_policies(lease_s: float) -> dict[str, sl.Policy]:
    """Return the budgets of broker and gpuwatch."""
    broker = dataclasses.replace(OWN_POLICIES[ev.BROKER], silence_s=broker_silence_s(lease_s))
    return {**OWN_POLICIES, ev.BROKER: broker}


def broker_silence_s(lease_s: float) -> float:
    """Return the broker's silence budget: its successor must find the leases still open.

    It reports every 5 s in any case, and extends a lease after a third of its length: with another third
    for silence, a third is left for the successor. At least two report intervals, although the shortest
    leases expire in that time. A replacement costs only a moment (design.md, "The way of one job").
    """
    return max(BROKER_SILENCE_LEAST_S, lease_s / 3)


class Provisioner:
    """Creates the slots and child specs of workers, one for each planned slot."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        pool: Pool,
        effects: Effects,
        make_worker: child_specs.MakeWorker = child_specs.worker,
    ) -> None:
        # By the name of their child.
        self.fetches = {MODEL: _fetch_of(settings, settings.transcription.model)}
        self._settings = settings
        self._environ = environ
        self._pool = pool
        self._effects = effects
        self._make_worker = make_worker
        self._places: dict[str, slot_plan.SlotSpec] = {}
        self._present: tuple[str, ...] = ()
        self._problem = ""

    @property
    def fetch(self) -> ModelFetch:
        """The fetch of the settings' own model."""
        return self.fetches[MODEL]

    def devices(self) -> dict[str, str]:
        """Return each worker slot's device UUID; empty for the CPU."""
        return {name: place.device for name, place in self._places.items()}

    def start_fetching(self, name: str = MODEL) -> None:
        """Start the short-lived child that finds or fetches a model."""
        fetch = self.fetches.get(name)
        if fetch is None or fetch.path or name in self._effects.children:
            return  # the model is not needed any more, or was requested before this retry was due
        self._effects.child_specs[name] = child_specs.model_fetch(
            name, fetch.model, fetch.engine, self._environ
        )
        failed = self._effects.start(name)
        if failed:
            log.error(
                "model download cannot be started",
                extra={"event": "model-fetch-failed", "reason": failed.why},
            )

    def fetch_again(self) -> list[str]:
        """Start the failed fetches again on request; return their models' names."""
        failed = [
            name
            for name, fetch in self.fetches.items()
            if fetch.ask_again() or (fetch.failure and not fetch.path)
        ]
        names = [name for name in failed if name not in self._effects.children]
        for name in names:
            self.start_fetching(name)
        return [self.fetches[name].model for name in names]

    def model_fetches(self) -> list[dict[str, Any]]:
        """Return the running downloads: model, percent done, total bytes."""
        return [
            {"model": fetch.model, "percent": fetch.percent, "total_bytes": fetch.total_bytes}
            for fetch in self.fetches.values()
            if fetch.percent is not None and not fetch.path
        ]

    def stop_fetching(self) -> None:
        for name in self.fetches:
            if name in self._effects.children:
                self._effects.children[name].signal(9)

    def create_slots(self) -> list[ev.PoolEvent]:
        """Create the slots that should exist now; return the events that start them."""
        if self._pool.devices is None:
            return []
        self._follow(self._pool.devices)
        # A host drained from its start starts no worker; `resume` then finds everything prepared.
        fresh = [name for name in self._places if self._fetch_for(name).path and self._waits(name)]
        if self._pool.mode is not ev.Mode.RUNNING:
            return []
        if not self._places:
            return [ev.SlotEvent(NO_DEVICE, sl.HoldIt(self._problem))]
        lacking = [name for name in self._places if not self._fetch_for(name).path]
        events = [ev.SlotEvent(name, _why_no_model(self._fetch_for(name))) for name in lacking]
        return [*events, *(ev.SlotEvent(name, sl.Begin()) for name in fresh)]

    def _fetch_for(self, slot: str) -> ModelFetch:
        """Return the fetch of a slot's model; it starts when the first slot needs it."""
        model = self._places[slot].model
        name = f"{MODEL} {model}" if model else MODEL
        if name not in self.fetches:
            self.fetches[name] = _fetch_of(self._settings, model)
            self.start_fetching(name)
        return self.fetches[name]

    def apply_settings(self, settings: Settings) -> list[str]:
        """Start workers with these settings from now on; return the slots that must restart for that."""
        self._settings = settings
        fresh = self._renewed()
        changed = []
        for name in [name for name in self._places if name in self._effects.child_specs]:
            place = fresh.get(name, self._places[name])
            path = self._fetch_for(name).path
            if not path:
                continue  # its new model is being fetched: until then it keeps the old one
            spec = self._spec(place, path)
            if spec != self._effects.child_specs[name]:
                self._places[name], self._effects.child_specs[name] = place, spec
                changed.append(self._pool.members[name].slot)
        self._register_slots()
        return [slot.name for slot in changed if _is_affected(slot)]

    def restart_event(self, name: str, by_s: float) -> ev.PoolEvent:
        """Return the event that restarts a slot with its new child spec."""
        if self._pool.members[name].slot.state is sl.SlotState.HELD:
            return ev.SlotEvent(name, sl.Begin())
        return ev.DrainSlots((name,), by_s, "reload", sl.Next.RESTART)

    def _renewed(self) -> dict[str, slot_plan.SlotSpec]:
        """Return the slot specs of present devices under the current settings; the slots' names stay."""
        if self._pool.devices is None:
            return {}
        if not any(place.device for place in self._places.values()):
            threads = self._settings.devices.cpu_threads
            return {name: dataclasses.replace(place, threads=threads) for name, place in self._places.items()}
        planned = slot_plan.plan(self._settings, self._pool.devices, read_host()).places
        by_device = {(place.device, place.number): place for place in planned}
        known = {name: by_device.get((place.device, place.number)) for name, place in self._places.items()}
        return {name: dataclasses.replace(place, name=name) for name, place in known.items() if place}

    def fetch_model(self, settings: Settings) -> None:
        """Fetch the model of new settings; workers keep the old one meanwhile."""
        if MODEL in self._effects.children:
            self._effects.children[MODEL].signal(9)
        self.fetches[MODEL] = _fetch_of(settings, settings.transcription.model)
        if MODEL not in self._effects.children:
            self.start_fetching()

    def _follow(self, devices: Devices) -> None:
        """Add slots for new devices. Slots of vanished devices stay, with that as their reason."""
        present = tuple(gpu.uuid for gpu in devices.devices)
        on_gpus = any(place.device for place in self._places.values())
        if self._places and (devices.failed or not on_gpus or present == self._present):
            return
        self._present = present
        # Reads free memory before workers use it.
        plan = slot_plan.plan(self._settings, devices, read_host())
        self._log_problem(plan)
        known = {(place.device, place.number) for place in self._places.values()}
        for place in plan.places:
            if not place.device or (place.device, place.number) not in known:
                name = gpu_selection.free_name(place.name, self._places)
                self._places[name] = dataclasses.replace(place, name=name)
        self._register_slots()

    def _log_problem(self, plan: slot_plan.SlotPlan) -> None:
        text = f"{plan.problem}. {plan.cure}".strip(". ")
        if plan.problem and text != self._problem:
            level = logging.WARNING if plan.places else logging.ERROR
            log.log(
                level,
                "GPU configuration error",
                extra={"event": "gpu-configuration", "problem": plan.problem, "cure": plan.cure},
            )
        self._problem = text

    def _register_slots(self) -> None:
        """Register each slot and its device with the pool."""
        supervisor = self._settings.supervisor
        policy = sl.Policy(
            start_s=supervisor.start_s,
            silence_s=supervisor.silence_s,
            stall_s=supervisor.stall_s,
            stall_decoding_s=supervisor.stall_decoding_s,
            stall_writing_s=supervisor.stall_writing_s,
            hold_after=supervisor.hold_after,
            probe_s=supervisor.probe_s,
        )
        members = self._pool.members
        if self._places and NO_DEVICE not in self._places:
            self._pool.remove(NO_DEVICE)
        for name in self._places or (NO_DEVICE,):
            if name not in members:
                self._pool.add(name, "worker", policy)
        for name, place in self._places.items():
            self._pool.assign_device(name, place.device, place.parent, place.need_bytes, place.refusal)

    def _waits(self, name: str) -> bool:
        """Return whether a slot gets its first child spec now."""
        first = name not in self._effects.child_specs
        if first:
            self._effects.child_specs[name] = self._spec(self._places[name], self._fetch_for(name).path)
        return first

    def refit(self, name: str) -> None:
        """Start this slot's next workers with what fits into memory."""
        if name in self._places and name in self._effects.child_specs:
            path = self._fetch_for(name).path
            if path:
                self._effects.child_specs[name] = self._spec(self._places[name], path)

    def _spec(self, place: slot_plan.SlotSpec, path: str) -> ChildSpec:
        model = slot_plan.model_of(self._settings, place)
        limits = self._pool.memory.limits_of(place.device, model)
        rows = place.batch_size if limits.rows is None else min(place.batch_size, limits.rows)
        compute_type = limits.compute_type or place.compute_type
        fitted = dataclasses.replace(place, batch_size=rows, compute_type=compute_type)
        used_type = compute_type or slot_plan.compute_type_for(self._settings, place.kind)
        self._pool.will_load(place.name, Load(model, place.kind, used_type))
        return self._make_worker(self._settings, self._environ, fitted, path)


def _fetch_of(settings: Settings, model: str) -> ModelFetch:
    return ModelFetch(model, engine=settings.transcription.engine)


def _is_affected(slot: sl.Slot) -> bool:
    """Return whether new settings affect a slot now: it runs, or was held because of the old ones."""
    if slot.state is sl.SlotState.HELD:
        return slot.hold is sl.Hold.SETTINGS
    return slot.state in sl.ALIVE and slot.next is sl.Next.RESTART


def _why_no_model(fetch: ModelFetch) -> sl.Event:
    if fetch.failure:
        return sl.HoldIt(fetch.failure)
    share = "" if fetch.percent is None else f": {fetch.percent} %"
    return sl.Queued(f"waiting for the model{share}")
