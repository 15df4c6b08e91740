"""Simulated GPUs, to try settings and faults on a host without one: `rem-supervisor run --fake-gpus N`.

They are reported like real ones, and everything after gpuwatch is real. Their behaviour is read at each poll
from a JSON file, which `rem-supervisor drill` or an operator writes:
`{"0": {"xids": [79], "recovery_action": "gpu-reset", "held_bytes": 9000000000, "lost": true}}`. Until
"hang_until_unix_s", the driver does not answer. Without "recovery_action", the action follows from the XIDs,
except the first "healed" of them; "unknown" simulates a driver that reports none.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

from supervisor.contract import clock
from supervisor.contract.wire.messages import Device, Xid
from supervisor.gpuwatch import health
from supervisor.gpuwatch.report import GpuReport
from supervisor.gpuwatch.xid import action_after

NAME = "Simulated GPU"
TOTAL_BYTES = 24 * 1024**3
IDLE_BYTES = 400 * 1024**2
LOOK_FOR_XIDS_EVERY_S = 0.5
HANG_STEP_S = 0.1


class SimulatedGpus:
    """N GPUs that a file describes."""

    def __init__(self, path: Path, count: int, on_xid: Callable[[Xid], None]) -> None:
        self._path = path
        self._count = count
        self._on_xid = on_xid
        self._reported_count = {n: len(_xids(script)) for n, script in self._scripts().items()}
        threading.Thread(target=self._report_xids_for_ever, name="xid", daemon=True).start()

    def look(self) -> GpuReport:
        never = threading.Event()
        while clock.wall_unix_s() < self._hangs_until_unix_s():
            never.wait(HANG_STEP_S)
        scripts = self._scripts()
        gpus = tuple(self._gpu(n, scripts.get(n, {})) for n in range(self._count))
        gone = [n for n, script in scripts.items() if script.get("lost")]
        note = ". ".join(f"GPU {n} does not answer: `drill` simulates its loss" for n in gone)
        return GpuReport(gpus, note)

    def uuid(self, n: int) -> str:
        """Return a UUID that is unique to the state directory: device locks are machine-wide."""
        tag = hashlib.sha256(str(self._path).encode()).hexdigest()[:8]
        return f"GPU-{tag}-5111-4a7e-8000-{n:012d}"

    def _hangs_until_unix_s(self) -> float:
        return max((_number(one, "hang_until_unix_s") for one in self._scripts().values()), default=0.0)

    def _gpu(self, n: int, script: Mapping[str, Any]) -> Device:
        used_bytes = IDLE_BYTES + int(_number(script, "held_bytes"))
        unhealed = _xids(script)[int(_number(script, "healed")) :]
        action = str(script.get("recovery_action") or action_after(unhealed))
        gpu = Device(
            self.uuid(n), NAME, n, used_bytes, TOTAL_BYTES, 0.0, float(35 + n % 10), power_w=20.0,
            throttle=(), ecc_errors_count=0, remapped_rows_count=0, remap_failed=False,
            recovery_action=None if action == "unknown" else action,
        )  # fmt: skip
        return health.lost(gpu) if script.get("lost") else health.with_health(gpu)

    def _report_xids_for_ever(self) -> None:
        never = threading.Event()
        while not never.wait(LOOK_FOR_XIDS_EVERY_S):
            for n, script in self._scripts().items():
                xids = _xids(script)
                for xid in xids[self._reported_count.get(n, 0) :]:
                    self._on_xid(Xid(self.uuid(n), xid, clock.now_s()))
                self._reported_count[n] = len(xids)

    def _scripts(self) -> dict[int, Mapping[str, Any]]:
        """Read the behaviour of each GPU; invalid entries are ignored."""
        try:
            plain = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        items = plain.items() if isinstance(plain, dict) else ()
        return {int(n): script for n, script in items if n.isdigit() and isinstance(script, dict)}


def _xids(script: Mapping[str, Any]) -> list[int]:
    found = script.get("xids")
    return [xid for xid in found if isinstance(xid, int)] if isinstance(found, list) else []


def _number(script: Mapping[str, Any], key: str) -> float:
    value = script.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0
