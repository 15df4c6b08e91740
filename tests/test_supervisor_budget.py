"""What the supervisor process may cost: memory, libraries, and the time that its start takes."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.imports import TOP

IMPORTED_BY_RUN = """
import json, os, sys
import supervisor.service.run
from supervisor.placement.host import read_host
read_host()
status = open("/proc/self/status").read() if os.path.exists("/proc/self/status") else ""
resident = [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS")]
print(json.dumps({"modules": sorted(sys.modules), "resident_bytes": (resident or [0])[0]}))
"""


def test_the_supervisor_process_stays_small() -> None:
    """What must never die carries no library that could kill it, and under 30 MB."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED_BY_RUN],
        cwd=TOP,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    seen = json.loads(done.stdout)

    packages = {name.split(".")[0] for name in seen["modules"]}
    heavy = {
        "boto3",
        "botocore",
        "pynvml",
        "numpy",
        "av",
        "faster_whisper",
        "ctranslate2",
        "aiohttp",
        "pydantic",
    }
    assert "asyncio" in packages
    assert packages & heavy == set()
    assert not [
        name
        for name in seen["modules"]
        if name.startswith(("supervisor.broker", "supervisor.gpuwatch", "workerproc"))
    ]
    assert seen["resident_bytes"] < 30_000_000


IMPORT_CPU = """
import json, resource, subprocess, sys
def cpu_s(module):
    best = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(best)
print(json.dumps([cpu_s("asyncio"), cpu_s("supervisor.service.run")]))
"""


def test_the_supervisor_starts_in_a_small_multiple_of_what_asyncio_takes() -> None:
    """The budget is 100 ms of one core where asyncio takes 30; load moves the ratio less than the time."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_CPU], cwd=TOP, check=True, capture_output=True, text=True, timeout=120
    )
    asyncio_s, ours_s = json.loads(done.stdout)

    assert ours_s < 6 * asyncio_s
