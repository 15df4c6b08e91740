"""What watching GPUs costs: CPU time and memory of the real gpuwatch process on a fake driver.

    python bench/gpuwatch_cost.py [GPUs] [seconds]

Prints the share of one core, the first seconds (imports, first look) left out. Budget: 0.3 % for 8 GPUs.
The fake driver's own work is in the figure: reading its file, and one wait a GPU for events.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

from tests.fake_nvml.build import FakeNvml, build  # noqa: E402  # found only now

WARM_UP_S = 5.0


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    for_s = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    with tempfile.TemporaryDirectory() as folder:
        library = build(Path(folder))
        nvml = FakeNvml(Path(folder) / "driver", library, count)
        nvml.set({f"gpu{n}.recovery": 0 for n in range(count)})
        ours, theirs = socket.socketpair()
        environ = {
            **os.environ, **nvml.environ(), "PYTHONPATH": str(TOP), "REM_LINK_FD": str(theirs.fileno()),
            "REM_PARENT_PID": str(os.getpid()), "REM_CHILD_SETTINGS": "{}",
        }  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.gpuwatch"], env=environ, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        time.sleep(WARM_UP_S)
        before_s, began_s = cpu_s(process.pid), time.monotonic()
        time.sleep(for_s)
        share = (cpu_s(process.pid) - before_s) / (time.monotonic() - began_s)
        resident = resident_bytes(process.pid)
        ours.close()
        process.wait(10)
    print(f"{count} GPUs, {for_s:.0f} s: {share:.3%} of a core, {resident / 1e6:.1f} MB resident")


if __name__ == "__main__":
    main()
