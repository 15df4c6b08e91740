"""Ours: the real service with a trivial worker, measured as its peers are."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools import BIRTH_LIMIT_S, HERE, SETTLED_S, Crew, NotSeen


class OurCrew(Crew):
    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Ask over the control socket. Raises OSError while nobody answers."""
        address = json.loads((self.folder / "state" / "supervisor.json").read_text(encoding="utf-8"))
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(10)
            link.connect(address["socket"])
            link.sendall(json.dumps(request).encode() + b"\n")
            with link.makefile("rb") as lines:
                return dict(json.loads(lines.readline()))

    def slots(self) -> list[dict[str, Any]]:
        return list(self.ask({"do": "status"})["status"]["slots"])

    def helpers(self) -> list[int]:
        """Broker and gpuwatch."""
        return [slot["pid"] for slot in self.slots() if slot["kind"] != "worker" and slot["pid"]]


class Ours:
    name = "rem-supervisor"
    stop_signal: int = signal.SIGTERM
    provisioner: type[Crew] = OurCrew

    def __init__(self, mood: str = "rest") -> None:
        self._mood = mood

    def command(self, slots: int, folder: Path, fifo: Path) -> tuple[Sequence[str], dict[str, str]]:
        state = folder / "state"
        (folder / "config.toml").write_text(
            f"[backend]\nkind = 'local'\n[devices]\ndevice = 'cpu'\ncpu_slots = {slots}\n"
            "[transcription]\nmodel = 'tiny.en'\n[log]\nlevel = 'INFO'\nformat = 'json'\n"
        )
        script = str(HERE / "trivial_service.py")
        environment = {"REM_STATE_DIR": str(state), "PYTHONPATH": str(HERE.parent)}
        return (sys.executable, script, str(fifo), self._mood), environment

    def wait_settled(self, provisioner: Crew, slots: int) -> None:
        """Wait until the supervisor calls all of them ready."""
        assert isinstance(provisioner, OurCrew)
        until_s = time.monotonic() + BIRTH_LIMIT_S
        while time.monotonic() < until_s:
            states = [slot["state"] for slot in provisioner.slots()]
            if states.count("ready") == slots + 2:  # broker and gpuwatch too
                time.sleep(SETTLED_S)
                return
            time.sleep(0.1)
        raise NotSeen(f"not all of {slots} slots got ready: {provisioner.slots()}")

    def status(self, folder: Path) -> Sequence[str]:
        script = Path(sys.executable).with_name("rem-supervisor")
        return (str(script), "status") if script.exists() else (sys.executable, "-m", "supervisor", "status")
