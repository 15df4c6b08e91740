"""What the supervisor process costs before it does anything: imports and resident memory.

    python bench/supervisor_cost.py [runs]

Prints medians; compare with the budget in the design: imports under 100 ms, under 30 MB.
Import times are CPU time, so that what else the machine does matters little.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
PROBE = """
import json, sys, time
began = time.process_time()
{imports}
took_s = time.process_time() - began
resident = [line for line in open("/proc/self/status") if line.startswith("VmRSS")][0]
print(json.dumps([took_s, int(resident.split()[1]) * 1024, len(sys.modules)]))
"""
CASES = {
    "bare interpreter": "",
    "asyncio": "import asyncio",
    "supervisor.cli.main (every command)": "import supervisor.cli.main, supervisor.cli.arguments",
    "supervisor.service.run (the service)": "import supervisor.service.run",
}


def probe(imports: str) -> tuple[float, int, int, float]:
    """Run a fresh interpreter: seconds of imports, resident bytes, modules, seconds in all."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(imports=imports)],
        cwd=TOP,
        check=True,
        capture_output=True,
        text=True,
    )
    whole_s = time.perf_counter() - began
    took_s, resident_bytes, modules = json.loads(done.stdout)
    return took_s, resident_bytes, modules, whole_s


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    print(f"Python {sys.version.split()[0]}, median of {runs} runs")
    print(f"{'':32} {'import ms':>10} {'resident MB':>12} {'modules':>8} {'process ms':>11}")
    for name, imports in CASES.items():
        columns = list(zip(*(probe(imports) for _ in range(runs))))
        took_s, resident_bytes, modules, whole_s = (statistics.median(column) for column in columns)
        row = f"{took_s * 1e3:>10.1f} {resident_bytes / 1e6:>12.1f} {modules:>8.0f} {whole_s * 1e3:>11.1f}"
        print(f"{name:32} {row}")


if __name__ == "__main__":
    main()
