"""Our supervision beside its peers', in one run: `make bench`, or

    python bench/supervision.py [--rounds 3] [--slots 8,64] [--kills 16] [--idle-s 30] [--write]

Every round measures all tools one after the other, so that what else the machine does hits
all alike. Prints tables in Markdown, and puts them into RESULTS.md with `--write`; README.md says what
each figure means.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import measure
import peers
import real_worker
import report
from floor import Floor
from measure import Figures
from ours import OurCrew, Ours
from tools import HERE, Crew, Tool, running

MANY_SLOTS = 256
TRAFFIC_S = 30.0
LOOKS = 100
STATUS_EVERY_S = 1.0
TARGETS = (  # what our medians should not exceed
    ("kill to replacement ms / 8", 3.0),
    ("kill to replacement ms / 64", 3.0),
    ("idle CPU s / 8", 0.02),
    ("idle CPU s / 64", 0.02),
    ("resident MB / 8", 30.0),
    ("resident MB / 64", 30.0),
    ("stop to gone ms / 64", 200.0),
    ("status ms / 8", 80.0),
    ("status ms / 64", 80.0),
    ("supervisor killed: workers gone ms", 1000.0),
    ("CPU % at work, status each second / 64", 1.0),
    ("5000 restarts: descriptors more", 0.0),
    ("real worker: kill to its job on a neighbour ms", 50.0),
)


def measure_tool(tool: Tool, slots: int, folder: Path, figures: Figures, kills: int, idle_s: float) -> None:
    """One life of one tool, from its first worker to its stop."""
    at = f"/ {slots}"
    with running(tool, slots, folder) as provisioner:
        if idle_s:
            figures.add(f"idle CPU s {at}", tool.name, measure.idle_cpu_s(provisioner, idle_s))
            figures.add(f"resident MB {at}", tool.name, measure.rss_bytes(provisioner.managers()) / 1e6)
        took_s = measure.kills(provisioner, kills)
        figures.add(f"kill to replacement ms {at}", tool.name, *(value * 1e3 for value in took_s))
        for _ in range(3):
            status_s = measure.status_s(provisioner, tool)
            if status_s is not None:
                figures.add(f"status ms {at}", tool.name, status_s * 1e3)
        figures.add(f"stop to gone ms {at}", tool.name, measure.stop(provisioner, tool) * 1e3)


def measure_survivors(tool: Tool, slots: int, folder: Path, figures: Figures) -> None:
    with running(tool, slots, folder) as provisioner:
        took_s, left = measure.survivors(provisioner)
        figures.add("supervisor killed: workers gone ms", tool.name, took_s * 1e3)
        figures.add("supervisor killed: workers alive after 3 s", tool.name, left)


def measure_many(folder: Path, figures: Figures, idle_s: float) -> None:
    """256 slots still work: all ready, one replaced, all gone."""
    measure_tool(Ours(), MANY_SLOTS, folder, figures, 16, idle_s)


def measure_traffic(folder: Path, slots: int, figures: Figures) -> None:
    """All workers beat as at work, and somebody asks for the status each second: share of one core."""
    with running(Ours("work"), slots, folder) as provisioner:
        assert isinstance(provisioner, OurCrew)
        before_s, until_s = measure.cpu_s(provisioner.managers()), time.monotonic() + TRAFFIC_S
        while time.monotonic() < until_s:
            provisioner.slots()
            time.sleep(STATUS_EVERY_S)
        share = (measure.cpu_s(provisioner.managers()) - before_s) / TRAFFIC_S
        figures.add(f"CPU % at work, status each second / {slots}", Ours.name, share * 100)
        figures.add(
            f"broker and gpuwatch: resident MB / {slots}",
            Ours.name,
            measure.rss_bytes(provisioner.helpers()) / 1e6,
        )


def measure_growth(folder: Path, restarts: int, figures: Figures) -> None:
    """Workers that ask for a successor at once: descriptors and memory from a tenth of the way to its end."""
    tool = Ours("recycle")
    tool.wait_settled = lambda provisioner, slots: None  # type: ignore[method-assign]  # they never settle
    with running(tool, 8, folder) as provisioner:
        provisioner.births.all(restarts // 10)
        pid = provisioner.process.pid
        before = _most_descriptors(provisioner), measure.rss_bytes([pid])
        began_s = time.monotonic()
        provisioner.births.all(restarts - restarts // 10)
        rate = (restarts - restarts // 10) / (time.monotonic() - began_s)
        after = _most_descriptors(provisioner), measure.rss_bytes([pid])
        provisioner.pids = []
        figures.add(f"{restarts} restarts: descriptors more", Ours.name, after[0] - before[0])
        figures.add(f"{restarts} restarts: resident kB more", Ours.name, (after[1] - before[1]) / 1e3)
        figures.add(f"{restarts} restarts: each second", Ours.name, rate)
        measure.stop(provisioner, tool)


def _most_descriptors(provisioner: Crew) -> int:
    """While slots come and go: one between two lives holds three less."""
    most = 0
    for _ in range(LOOKS):
        provisioner.births.all(1)
        most = max(most, measure.descriptors(provisioner.process.pid))
    return most


def table(figures: Figures, names: list[str]) -> str:
    """All figures, medians with the worst in brackets."""
    rows = [["median (worst)", *names]]
    for what, by_tool in figures.values.items():
        cells = []
        for name in names:
            values = by_tool.get(name)
            cells.append(f"{_short(figures.median(what, name))} ({_short(max(values))})" if values else "")
        rows.append([what, *cells])
    return report.table(rows)


def targets(figures: Figures) -> str:
    """Each target whose figure was measured, and whether our median met it."""
    rows = [["target", "median", "met"]]
    for what, most in TARGETS:
        if Ours.name in figures.values.get(what, {}):
            median = figures.median(what, Ours.name)
            rows.append([f"{what}: at most {most:g}", _short(median), "yes" if median <= most else "no"])
    for what in [what for what in figures.values if what.startswith("kill to replacement")]:
        for name, share in (("runit", 1.0), ("supervisord 4.3", 0.01)):
            if name in figures.values[what] and Ours.name in figures.values[what]:
                ratio = figures.median(what, Ours.name) / figures.median(what, name)
                met = "yes" if ratio <= share else "no"
                rows.append([f"{what}: at most {share:g} times {name}", f"{ratio:.3f} times", met])
    return report.table(rows)


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
    parser.add_argument("--write", action="store_true", help="put the tables into RESULTS.md")
    parser.add_argument(
        "--home", type=Path, default=HERE.parent / ".venvs" / "bench", help="where peers are put"
    )
    args = parser.parse_args(argv)
    sizes = [int(size) for size in args.slots.split(",")]
    tools: list[Tool] = [Ours(), *([] if args.alone else [Floor(), *peers.install(args.home)])]
    load_before = os.getloadavg()[0]
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="bench-") as top:
        for number in range(args.rounds):
            for slots in sizes:
                for tool in tools:
                    _say(f"round {number + 1} of {args.rounds}, {slots} slots, {tool.name}")
                    folder = Path(top) / f"{number}-{slots}-{tools.index(tool)}"
                    idle_s = args.idle_s if number == 0 else 0.0  # once: it takes long and varies little
                    measure_tool(tool, slots, folder, figures, args.kills, idle_s)
        for tool in [tool for tool in tools if not isinstance(tool, Floor)]:
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
    parts = [report.heading(load_before), targets(figures), table(figures, [tool.name for tool in tools])]
    print("\n\n".join(parts))
    if args.write:
        report.write("supervision", "\n\n".join(parts))
    return 0


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
