"""A real worker with tiny.en, killed in the middle of a recording, in the whole service.

Two CPU slots on the local backend. One of them gets a recording; SIGKILL; then two moments are
taken: when the killed slot's heir is READY, as the status says, and when the neighbour runs the dead
one's job: its main thread, which slept for want of work, runs. The kernel tells that without
disturbing either.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar

from measure import Figures
from ours import OurCrew, Ours
from tools import HERE, Births, now_s

REPOSITORY = HERE.parent
RECORDING = REPOSITORY / "supervisor" / "samples" / "lighthouse.ogg"
LIMIT_S = 60.0
LOOK_S = 0.005  # how exact a moment is
LOOK_CLOSELY_S = 0.0005

T = TypeVar("T")


def wait_for(fact: Callable[[], Optional[T]], what: str, look_s: float = LOOK_S) -> T:
    until_s = time.monotonic() + LIMIT_S
    while time.monotonic() < until_s:
        found = fact()
        if found:
            return found
        time.sleep(look_s)
    raise TimeoutError(f"waited {LIMIT_S:.0f} s in vain: {what}")


def workers(provisioner: OurCrew) -> list[Mapping[str, Any]]:
    try:
        return [slot for slot in provisioner.slots() if slot["kind"] == "worker"]
    except (OSError, ValueError):
        return []  # it is only starting


def measure(folder: Path, kills: int, figures: Figures) -> None:
    """Kill so many workers in mid-job, each in a service of its own, so that each had a good life."""
    for number in range(kills):
        to_ready_s, to_neighbour_s = one_kill(folder / str(number))
        figures.add("real worker: kill to READY ms", Ours.name, to_ready_s * 1e3)
        figures.add("real worker: kill to its job on a neighbour ms", Ours.name, to_neighbour_s * 1e3)


AT_WORK_NS = 3_000_000  # more than the beat that a new job brings: it decodes


def one_kill(folder: Path) -> tuple[float, float]:
    """Seconds from the kill to the heir's READY, and to the job's beginning next door."""
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(
        "[backend]\nkind = 'local'\n[devices]\ndevice = 'cpu'\ncpu_slots = 2\n"
        "[transcription]\nmodel = 'tiny.en'\n"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(REPOSITORY),
        "REM_STATE_DIR": str(folder / "state"),
    }
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor", "run"], env=environment, cwd=folder, stdout=log, stderr=log
        )
    provisioner = OurCrew(process, Births(folder / "births"), folder, environment)
    try:
        wait_for(
            lambda: [s["state"] for s in workers(provisioner)] == ["ready", "ready"], "two ready workers"
        )
        submit = [sys.executable, "-m", "supervisor", "submit", str(RECORDING)]
        subprocess.run(submit, env=environment, cwd=folder, check=True, capture_output=True)
        busy = wait_for(lambda: next((s for s in workers(provisioner) if s["jobs"]), None), "a busy worker")
        time.sleep(0.5)  # into the middle of it
        near = next(s["pid"] for s in workers(provisioner) if s["name"] != busy["name"])
        slept_ns = all_threads_ns(near)
        killed_at_s = now_s()
        os.kill(busy["pid"], signal.SIGKILL)
        wait_for(lambda: all_threads_ns(near) > slept_ns + AT_WORK_NS, "the job next door", LOOK_CLOSELY_S)
        begun_at_s = now_s()
        job = busy["jobs"][0]["id"]
        assert [j["id"] for s in workers(provisioner) for j in s["jobs"] if s["pid"] == near] == [job]
        ready_at_s = _ready_at_s(provisioner, busy)
        return ready_at_s - killed_at_s, begun_at_s - killed_at_s
    finally:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)  # at once: what runs is given back
        process.wait(LIMIT_S)
        provisioner.births.close()


def all_threads_ns(pid: int) -> int:
    """How long a process's threads have run so far: a job begins in a lane, not in the first thread."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def _ready_at_s(provisioner: OurCrew, dead: Mapping[str, Any]) -> float:
    def reborn() -> float:
        mine = [s for s in workers(provisioner) if s["name"] == dead["name"]]
        return now_s() if any(s["state"] == "ready" and s["pid"] != dead["pid"] for s in mine) else 0.0

    return wait_for(reborn, "the heir's readiness")
