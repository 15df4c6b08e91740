"""A service on GPUs that a file tells what to do: its environment, its slots, what it logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Optional

from tests.end_to_end.running_service import LIMIT_S, Service, wait_for
from tests.fake_nvml.build import FakeNvml


def on(nvml: FakeNvml, **more: str) -> dict[str, str]:
    """The environment of a service on that driver."""
    return {**nvml.environ(), "REM_COMPUTE": "cpu", "WHISPER_DEVICE": "cuda", **more}


def slot(service: Service, name: str) -> dict[str, Any]:
    """The slot as it is now, once there is one."""
    return wait_for(lambda: next((one for one in service.slots() if one["name"] == name), None), name)


def wait_state(service: Service, name: str, state: str, limit_s: float = LIMIT_S) -> dict[str, Any]:
    """Wait until a slot is in that state; gives it."""

    def reached() -> Optional[dict[str, Any]]:
        found = [one for one in service.slots() if one["name"] == name]
        return found[0] if found and found[0]["state"] == state else None

    return wait_for(reached, f"{name} {state}; the log ends {service.log[-1500:]}", limit_s)


def log_lines(service: Service, sentence: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in service.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["message"] == sentence]


def environ_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)
