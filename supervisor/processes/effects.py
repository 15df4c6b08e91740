"""Carries out the pool's actions: starts children, sends messages, sends signals."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

from supervisor.contract.wire import messages as m
from supervisor.pool.state import events as ev
from supervisor.pool.state import slot_types as sl
from supervisor.processes import stray_processes
from supervisor.processes.child import Child, ChildListener, ChildSpec
from supervisor.processes.spawning import PlaceTaken
from supervisor.processes.stray_processes import alive_in_group

log = logging.getLogger(__name__)

BROKER_LEAVES_S = 3.0  # a broker whose supervisor exited releases everything within two


class Effects:
    """The children of this process, by slot name."""

    def __init__(self, listener: ChildListener, post: Callable[[ev.PoolEvent], None]) -> None:
        self.instance_id = stray_processes.new_instance_id()
        self.child_specs: dict[str, ChildSpec] = {}
        self.children: dict[str, Child] = {}
        self.left_behind: list[Child] = []  # hang in the driver; reaped if they ever exit
        self._groups: dict[str, int] = {}  # each slot's newest process group
        self._listener = listener
        self._post = post
        self._loop = asyncio.get_running_loop()

    def everyone(self) -> tuple[Child, ...]:
        """Return all children that must be reaped: those in slots, and those left behind."""
        return (*self.children.values(), *self.left_behind)

    def carry_out(self, action: ev.Action) -> None:
        """Carry out one action. The result of a start is posted as an event."""
        if isinstance(action, ev.Send):
            self._send(action.name, action.message)
        elif isinstance(action, ev.ForSlot):
            self._command(action.name, action.command)

    def forget(self, name: str) -> None:
        """Remove a child that exited."""
        self.children.pop(name, None)

    def jitter_ratio(self) -> float:
        """Draw the share of a back-off that is waited out, 0 to 1."""
        return random.random()  # spreads restarts; not for security

    def start(self, name: str) -> Optional[sl.SpawnFailed]:
        """Start the child of this slot; return the reason if that fails."""
        if name not in self.child_specs:
            return sl.SpawnFailed("the model is not available yet", blocked=True)
        try:
            self._wait_for_none_of(name)
            self.children[name] = Child(self.child_specs[name], self._listener, self._loop, self.instance_id)
        except PlaceTaken as error:
            # No process with this slot's mark should run now: one that left its group keeps the lock.
            self.end_strays(self.instance_id, name)
            return sl.SpawnFailed(str(error), blocked=True)
        except OSError as error:
            return sl.SpawnFailed(str(error), self.jitter_ratio())
        self._groups[name] = self.children[name].pid
        return None

    def end_strays(self, instance_id: str, slot: str = "", spared: str = "") -> None:
        """Kill and log the processes marked with an instance id, except those of the slot `spared`."""
        for stray in stray_processes.find(instance_id, slot):
            if stray.slot != spared:
                stray_processes.end(stray, instance_id)
                facts = {
                    "slot": stray.slot,
                    "pid": stray.pid,
                    "former_life": instance_id != self.instance_id,
                }
                log.warning("stray process killed", extra={"event": "stray-process-killed", **facts})

    def end_former_instance(self, state_path: Path, write: Callable[[str, dict[str, Any]], None]) -> None:
        """Kill the processes that the last supervisor on this state directory left.

        Its broker gets time to release its jobs first.

        `write` writes a small file in the state directory.
        """
        former = stray_processes.former_instance_id(state_path)
        self.end_strays(former, spared=ev.BROKER)
        self._loop.call_later(BROKER_LEAVES_S, self.end_strays, former)
        try:
            write(stray_processes.LIFE_FILE, {"life": self.instance_id})
        except OSError as error:
            log.warning(
                "could not save instance id; stray processes will not be cleaned up at the next start",
                extra={"event": "instance-id-not-saved", "reason": str(error)},
            )

    def _wait_for_none_of(self, name: str) -> None:
        """Raise `PlaceTaken` while a process of the former process's group still runs."""
        left = alive_in_group(self._groups.get(name, 0))
        if left:
            pids = ", ".join(map(str, left))
            raise PlaceTaken(f"the former worker is gone, but not what it started: pid {pids}")

    def _command(self, name: str, command: sl.ProcessCommand) -> None:
        if isinstance(command, sl.Spawn):
            self._post(ev.SlotEvent(name, self.start(name) or sl.Spawned(self.children[name].pid)))
        elif isinstance(command, sl.Signal):
            if name in self.children:
                self.children[name].signal(command.signum)
        elif isinstance(command, sl.LeaveBehind):
            self._leave_behind(name)
        elif isinstance(command, sl.TellDrain):
            leave = m.Leave(command.deadline_at_s) if name == ev.BROKER else m.Drain(command.deadline_at_s)
            self._send(name, leave)
        else:
            facts = {"slot": name, "device_uuid": command.device_uuid or None, "what": command.text}
            log.error("operator attention needed", extra={"event": "operator-attention", **facts})

    def _leave_behind(self, name: str) -> None:
        """Ignore a child's messages. If it exits after all, it is reaped and its slot gets an event."""
        child = self.children.pop(name)

        def end() -> None:
            self.left_behind.remove(child)
            log.info(
                "process that survived SIGKILL has ended",
                extra={"event": "unkillable-process-ended", "slot": name, "pid": child.pid},
            )
            self._post(ev.SlotEvent(name, sl.LeftBehindExited()))

        self.left_behind.append(child)
        child.leave_behind(end)

    def _send(self, name: str, message: m.Message) -> None:
        if name in self.children:
            self.children[name].send(message)
