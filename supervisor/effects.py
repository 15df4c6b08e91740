"""Carries out what the pool decided: starts children, writes to them, signals them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Optional

from supervisor import pool as pl
from supervisor import slot as sl
from supervisor.child import Child, Ears, PlaceTaken, Recipe
from supervisor.contract import messages as m

log = logging.getLogger(__name__)


class Effects:
    """The children of this process, by the name of their slot."""

    def __init__(self, ears: Ears, post: Callable[[pl.PoolEvent], None]) -> None:
        self.recipes: dict[str, Recipe] = {}
        self.children: dict[str, Child] = {}
        self._ears = ears
        self._post = post
        self._loop = asyncio.get_running_loop()

    def carry_out(self, action: pl.Action) -> None:
        """Do one thing. What comes of a start is posted as an event."""
        if isinstance(action, pl.Send):
            self._send(action.name, action.message)
        elif isinstance(action, pl.ForSlot):
            self._command(action.name, action.command)
        elif isinstance(action, pl.Note):
            log.log(logging.getLevelName(action.level.upper()), action.sentence, extra=dict(action.facts))

    def forget(self, name: str) -> None:
        """A child is dead: its slot is free for the next."""
        self.children.pop(name, None)

    def jitter_ratio(self) -> float:
        """Draw the share of a back-off that is waited out, 0 to 1."""
        return random.random()  # spreads restarts; guards nothing

    def start(self, name: str) -> Optional[str]:
        """Start the child of this slot; give the reason where that can't be done."""
        if name not in self.recipes:
            return "the model is not here yet"
        try:
            self.children[name] = Child(self.recipes[name], self._ears, self._loop)
        except (PlaceTaken, OSError) as error:
            return str(error)
        return None

    def _command(self, name: str, command: sl.Command) -> None:
        if isinstance(command, sl.Spawn):
            why = self.start(name)
            event = sl.SpawnFailed(why, self.jitter_ratio()) if why else sl.Spawned(self.children[name].pid)
            self._post(pl.SlotEvent(name, event))
        elif isinstance(command, sl.Signal):
            if name in self.children:
                self.children[name].signal(command.signum)
        elif isinstance(command, sl.TellDrain):
            leave = m.Leave(command.deadline_at_s) if name == pl.BROKER else m.Drain(command.deadline_at_s)
            self._send(name, leave)
        else:
            log.error("a person should look", extra={"slot": name, "what": command.text})

    def _send(self, name: str, message: m.Message) -> None:
        if name in self.children:
            self.children[name].send(message)
