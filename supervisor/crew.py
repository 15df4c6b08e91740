"""Which slots exist and what their workers are started with.

Slots follow from the devices (`places.py` decides), recipes from the settings and the
model's folder. Workers begin when both are known; until then their slots say what they wait for.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

from supervisor import places, recipes
from supervisor import pool as pl
from supervisor import slot as sl
from supervisor.contract.settings import Settings
from supervisor.effects import Effects
from supervisor.host import read_host
from supervisor.model_fetch import NAME as MODEL
from supervisor.model_fetch import ModelFetch

log = logging.getLogger(__name__)

NO_DEVICE = "gpu0"  # the slot that says why there is none


class Crew:
    """Hires workers: one for each place."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        pool: pl.Pool,
        effects: Effects,
        make_worker: recipes.MakeWorker = recipes.worker,
    ) -> None:
        self.fetch = ModelFetch(settings.transcription.model)
        self._settings = settings
        self._environ = environ
        self._pool = pool
        self._effects = effects
        self._make_worker = make_worker
        self._places: dict[str, places.Place] = {}
        self._problem = ""

    def own_policies(self) -> dict[str, sl.Policy]:
        """Give the budgets of the children that always exist. They are never held."""
        return {
            # The broker tells the queue's state every few seconds; one that hangs in a call
            # to the network has time limits of its own, so this is the last resort.
            pl.BROKER: sl.Policy(
                start_s=60.0, silence_s=300.0, may_hold=False, reserve_s=0.0, drains_while_starting=True,
                backoff_most_s=10.0,
            ),
            pl.GPUWATCH: sl.Policy(start_s=60.0, silence_s=120.0, may_hold=False),
        }  # fmt: skip

    def devices(self) -> dict[str, str]:
        """Give each worker slot's device UUID; empty for the CPU."""
        return {name: place.device for name, place in self._places.items()}

    def start_fetching(self) -> None:
        """Start the short-lived child that finds or fetches the model."""
        self._effects.recipes[MODEL] = recipes.model_fetch(self.fetch.model, self._environ)
        why = self._effects.start(MODEL)
        if why:
            log.error("the model fetch can't be started", extra={"reason": why})

    def stop_fetching(self) -> None:
        if MODEL in self._effects.children:
            self._effects.children[MODEL].signal(9)

    def staff(self) -> list[pl.PoolEvent]:
        """Make the slots that should exist by now; give the events that bring them to life."""
        if self._pool.devices is None:
            return []
        if not self._places:
            self._plan()
        # A host that is drained from its start begins nothing; `resume` then finds all it needs.
        fresh = [name for name in self._places if self.fetch.path and self._waits(name)]
        if self._pool.mode is not pl.Mode.RUNNING:
            return []
        if not self._places:
            return [pl.SlotEvent(NO_DEVICE, sl.HoldIt(self._problem))]
        if not self.fetch.path:
            return [pl.SlotEvent(name, self._why_no_model()) for name in self._places]
        return [pl.SlotEvent(name, sl.Begin()) for name in fresh]

    def _why_no_model(self) -> sl.Event:
        if self.fetch.failure:
            return sl.HoldIt(f"no model: {self.fetch.failure}")
        share = "" if self.fetch.percent is None else f": {self.fetch.percent} %"
        return sl.Queued(f"waiting for the model{share}")

    def take_up(self, settings: Settings) -> list[str]:
        """Start workers with these settings from now on; give the slots that run with older ones."""
        self._settings = settings
        changed = []
        for name in [name for name in self._places if name in self._effects.recipes]:
            place = dataclasses.replace(self._places[name], threads=settings.devices.cpu_threads)
            recipe = self._make_worker(settings, self._environ, place, self.fetch.path)
            if recipe != self._effects.recipes[name]:
                self._places[name], self._effects.recipes[name] = place, recipe
                changed.append(self._pool.members[name].slot)
        return [slot.name for slot in changed if slot.state in sl.ALIVE and slot.next is sl.Next.RESTART]

    def look_for(self, model: str) -> None:
        """Make another model's name a folder; workers go on with the old one meanwhile."""
        self.stop_fetching()
        self.fetch = ModelFetch(model)
        if MODEL not in self._effects.children:
            self.start_fetching()

    def _plan(self) -> None:
        """Decide the places anew, as long as there is none; count memory before workers take theirs."""
        if self._pool.devices is None:
            return
        plan = places.plan(self._settings, self._pool.devices, read_host())
        text = f"{plan.problem}. {plan.cure}".strip(". ")
        if plan.problem and text != self._problem:
            level = logging.WARNING if plan.places else logging.ERROR
            log.log(
                level, "devices are not as they should be", extra={"problem": plan.problem, "cure": plan.cure}
            )
        self._problem = text
        self._places = {place.name: place for place in plan.places}
        supervisor = self._settings.supervisor
        policy = sl.Policy(
            start_s=supervisor.start_s,
            silence_s=supervisor.silence_s,
            stall_s=supervisor.stall_s,
            hold_after=supervisor.hold_after,
            probe_s=supervisor.probe_s,
        )
        for name in self._places or (NO_DEVICE,):
            if name not in self._pool.members:
                self._pool.add(name, "worker", policy)

    def _waits(self, name: str) -> bool:
        """A slot that has a recipe for the first time, or was held for want of model or device."""
        first = name not in self._effects.recipes
        if first:
            place = self._places[name]
            self._effects.recipes[name] = self._make_worker(
                self._settings, self._environ, place, self.fetch.path
            )
        return first
