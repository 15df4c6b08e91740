"""Our supervision beside its peers', in one run: `make bench`, or

    python bench/supervision.py [--rounds 3] [--slots 8,64] [--kills 16] [--idle-s 30] [--restarts 5000]

Every round measures all tools one after the other, so that what else the machine does hits
all alike. Prints tables in Markdown; README.md says what each figure means.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

import measure
import peers
import real_worker
from measure import Figures
from ours import OurCrew, Ours
from tools import HERE, Tool, running

MANY_SLOTS = 256
TRAFFIC_S = 30.0
STATUS_EVERY_S = 1.0


def measure_tool(tool: Tool, slots: int, folder: Path, figures: Figures, kills: int, idle_s: float) -> None:
    """One life of one tool, from its first worker to its stop."""
    at = f"/ {slots}"
    with running(tool, slots, folder) as crew:
        if idle_s:
            figures.add(f"idle CPU s {at}", tool.name, measure.idle_cpu_s(crew, idle_s))
            figures.add(f"resident MB {at}", tool.name, measure.rss_bytes(crew.managers()) / 1e6)
        took_s = measure.kills(crew, kills)
        figures.add(f"kill to replacement ms {at}", tool.name, *(value * 1e3 for value in took_s))
        for _ in range(3):
            status_s = measure.status_s(crew, tool)
            if status_s is not None:
                figures.add(f"status ms {at}", tool.name, status_s * 1e3)
        figures.add(f"stop to gone ms {at}", tool.name, measure.stop(crew, tool) * 1e3)


def measure_survivors(tool: Tool, slots: int, folder: Path, figures: Figures) -> None:
    with running(tool, slots, folder) as crew:
        took_s, left = measure.survivors(crew)
        figures.add("supervisor killed: workers gone ms", tool.name, took_s * 1e3)
        figures.add("supervisor killed: workers alive after 3 s", tool.name, left)


def measure_many(folder: Path, figures: Figures, idle_s: float) -> None:
    """256 slots still work: all ready, one replaced, all gone."""
    measure_tool(Ours(), MANY_SLOTS, folder, figures, 16, idle_s)


def measure_traffic(folder: Path, slots: int, figures: Figures) -> None:
    """All workers beat as at work, and somebody asks for the status each second: share of one core."""
    with running(Ours("work"), slots, folder) as crew:
        assert isinstance(crew, OurCrew)
        before_s, until_s = measure.cpu_s(crew.managers()), time.monotonic() + TRAFFIC_S
        while time.monotonic() < until_s:
            crew.slots()
            time.sleep(STATUS_EVERY_S)
        share = (measure.cpu_s(crew.managers()) - before_s) / TRAFFIC_S
        figures.add(f"CPU % at work, status each second / {slots}", Ours.name, share * 100)
        figures.add(
            f"broker and gpuwatch: resident MB / {slots}", Ours.name, measure.rss_bytes(crew.helpers()) / 1e6
        )


def measure_growth(folder: Path, restarts: int, figures: Figures) -> None:
    """Workers that ask for a successor at once: descriptors and memory from a tenth of the way to its end."""
    tool = Ours("recycle")
    tool.wait_settled = lambda crew, slots: None  # type: ignore[method-assign]  # they never settle
    with running(tool, 8, folder) as crew:
        crew.births.all(restarts // 10)
        pid = crew.process.pid
        before = measure.descriptors(pid), measure.rss_bytes([pid])
        began_s = time.monotonic()
        crew.births.all(restarts - restarts // 10)
        rate = (restarts - restarts // 10) / (time.monotonic() - began_s)
        after = measure.descriptors(pid), measure.rss_bytes([pid])
        crew.pids = []
        figures.add(f"{restarts} restarts: descriptors more", Ours.name, after[0] - before[0])
        figures.add(f"{restarts} restarts: resident kB more", Ours.name, (after[1] - before[1]) / 1e3)
        figures.add(f"{restarts} restarts: each second", Ours.name, rate)
        measure.stop(crew, tool)


def table(figures: Figures, names: list[str]) -> str:
    """All figures, medians with the worst in brackets."""
    rows = [["median (worst)", *names], ["---"] * (len(names) + 1)]
    for what, by_tool in figures.values.items():
        cells = []
        for name in names:
            values = by_tool.get(name)
            cells.append(f"{_short(figures.median(what, name))} ({_short(max(values))})" if values else "")
        rows.append([what, *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _short(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.3f}"


def main(argv: list[str]) -> int:
    """Measure everything asked for and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slots", default="8,64", help="sizes, with commas (8,64)")
    parser.add_argument("--kills", type=int, default=16, help="workers killed in each round and size (16)")
    parser.add_argument("--idle-s", type=float, default=30.0, help="length of the idle measurement; 0: none")
    parser.add_argument("--restarts", type=int, default=5000, help="for the growth measurement; 0: none")
    parser.add_argument("--many", action="store_true", help="256 slots and the traffic of 64 as well")
    parser.add_argument("--real", type=int, default=0, help="kills of real workers with tiny.en")
    parser.add_argument("--alone", action="store_true", help="without the peers")
    parser.add_argument(
        "--home", type=Path, default=HERE.parent / ".venvs" / "bench", help="where peers are put"
    )
    args = parser.parse_args(argv)
    sizes = [int(size) for size in args.slots.split(",")]
    tools: list[Tool] = [Ours(), *([] if args.alone else peers.install(args.home))]
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="bench-") as top:
        for number in range(args.rounds):
            for slots in sizes:
                for tool in tools:
                    _say(f"round {number + 1} of {args.rounds}, {slots} slots, {tool.name}")
                    folder = Path(top) / f"{number}-{slots}-{tools.index(tool)}"
                    idle_s = args.idle_s if number == 0 else 0.0  # once: it takes long and varies little
                    measure_tool(tool, slots, folder, figures, args.kills, idle_s)
        for tool in tools:
            measure_survivors(tool, sizes[0], Path(top) / f"s-{tools.index(tool)}", figures)
        if args.many:
            _say(f"{MANY_SLOTS} slots")
            measure_many(Path(top) / "many", figures, args.idle_s)
            _say("traffic")
            measure_traffic(Path(top) / "traffic", 64, figures)
        if args.restarts:
            _say(f"{args.restarts} restarts")
            measure_growth(Path(top) / "growth", args.restarts, figures)
        if args.real:
            _say("real workers")
            real_worker.measure(Path(top) / "real", args.real, figures)
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    print(f"{when}, Python {platform.python_version()}, Linux {platform.release().split('-')[0]}\n")
    print(table(figures, [tool.name for tool in tools]))
    return 0


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
