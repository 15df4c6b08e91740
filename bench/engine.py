"""Speed, memory and accuracy of the engine and of the whole service, against plain faster-whisper.

    python bench/engine.py [--repeats 5] [--recordings 48] [--rows service,loop,batch,...] [--write]

Each row is measured in turns (ours, theirs, ours, ...), so that a machine that is busy with other
things is unfair to both; medians count, ranges and the load stand beside them. `--write` puts the table
into RESULTS.md. README.md says what each row means.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

import engine_corpus as corpus  # noqa: E402
import engine_programs as programs  # noqa: E402
import engine_services as services  # noqa: E402
import report  # noqa: E402
from engine_table import Row, table  # noqa: E402

from tests.broker.aws_servers import run_server  # noqa: E402

CORES = 2
WORKERS = 1 if programs.on_gpu() else 2
ROWS = 8
SLOW_CALL_S = 0.15
LONG_S = 480.0
HOUR_S = 3600.0

Measure = Callable[[], float]


@dataclass
class Bench:
    """What all rows need."""

    folder: Path
    paths: list[str]
    repeats: int
    stack: ExitStack

    def program(self, program: str, *arguments: str) -> programs.Measured:
        return self.stack.enter_context(programs.Measured(program, model_path(), *arguments))

    def in_turns(self, ways: Mapping[str, Measure]) -> dict[str, list[float]]:
        """Measure each way once, then each again; the first time of all, when things grow, does not count."""
        for measure in ways.values():
            measure()
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(self.repeats):
            for name, measure in ways.items():
                taken[name].append(measure())
        return taken


def model_path() -> str:
    from workerproc.process import models

    folder = models.packaged("tiny.en")
    assert folder is not None, "the packaged model is not installed: make test installs it"
    return str(folder)


# --- the rows


def service_rows(bench: Bench) -> list[Row]:
    """All recordings through a service on SQLite, one on ministack, plainly, and through our loop alone."""
    plain = bench.program(programs.PLAIN, bench.paths[0], str(CORES))
    loops = [
        bench.program(programs.LOOP, str(bench.folder), *bench.paths[n::WORKERS]) for n in range(WORKERS)
    ]
    environ = bench.stack.enter_context(services.on_sqlite(bench.folder / "sqlite"))
    server = bench.stack.enter_context(_server())
    aws, _ = bench.stack.enter_context(services.on_aws(bench.folder / "aws", server))

    native: list[float] = []

    def loop() -> float:
        for one in loops:
            one.begin(16 if programs.on_gpu() else 0)  # as the service's workers have
        answers = [one.answer() for one in loops]
        native.append(max(answer["native_s"] for answer in answers))
        return max(answer["wall_s"] for answer in answers)

    taken = bench.in_turns(
        {
            "sqlite": lambda: services.submit(environ, bench.paths, bench.folder / "out"),
            "plain": lambda: float(plain.measure(as_rem(bench.paths))["wall_s"]),
            "aws": lambda: aws.run(bench.paths),
            "loop": loop,
        }
    )
    recordings = f"{len(bench.paths)} short recordings"
    calls = native[1:]
    return [
        Row(f"{recordings}, service on SQLite, against plain", taken["sqlite"], taken["plain"], 5.0),
        Row(f"{recordings}, service on ministack, against plain", taken["aws"], taken["plain"], 4.3),
        Row("the engine's calls alone, against plain: no service gains more", calls, taken["plain"], None),
        Row("the service on SQLite, against the engine's calls alone", taken["sqlite"], calls, 0.9),
        Row("the service on ministack, against the engine's calls alone", taken["aws"], calls, 0.85),
        *_accuracy(bench, environ, plain),
    ]


def as_rem(paths: Sequence[str]) -> dict[str, Any]:
    return {"paths": list(paths), "conditioned": True}


def _accuracy(bench: Bench, environ: Mapping[str, str], plain: programs.Measured) -> list[Row]:
    """Of recordings whose words are known: against plain as REM has it, and with our options and threads."""
    known = corpus.known_ones()
    output = bench.folder / "known"
    services.submit(environ, list(known), output)
    ours = [(output / f"{Path(path).stem}.txt").read_text(encoding="utf-8") for path in known]
    wish, alike = as_rem(list(known)), bench.program(programs.PLAIN, bench.paths[0], "1")
    said = list(known.values())
    heard = {
        "the same options and one thread": alike.measure({**wish, "conditioned": False}),
        "REM's options": plain.measure(wish),
    }
    own = corpus.word_error_ratio(said, ours)
    return [
        Row(
            f"word error rate of {len(known)} recordings, against plain with {what}",
            [own],
            [corpus.word_error_ratio(said, answer["texts"])],
            1.0,
            "",
        )
        for what, answer in heard.items()
    ]


def slow_row(bench: Bench) -> list[Row]:
    """A service on ministack with 150 ms added to each call, against the same service without."""
    server = bench.stack.enter_context(_server())
    aws, proxy = bench.stack.enter_context(services.on_aws(bench.folder / "slow", server))

    def run(delay_s: float) -> float:
        proxy.delay_s = delay_s
        try:
            return aws.run(bench.paths)
        finally:
            proxy.delay_s = 0.0

    taken = bench.in_turns({"slow": lambda: run(SLOW_CALL_S), "fast": lambda: run(0.0)})
    return [Row("150 ms more for every SQS, S3 and DynamoDB call", taken["slow"], taken["fast"], 0.92)]


def long_row(bench: Bench) -> list[Row]:
    """One recording of eight minutes over two slots."""
    from supervisor.settings.schema import TranscriptionSettings

    name = "one 8-minute recording over two slots, against plain"
    if not hasattr(TranscriptionSettings(), "split"):
        return [Row(name, [], [], 3.5, note="not built")]
    path = corpus.long_one(bench.folder, LONG_S)
    plain = bench.program(programs.PLAIN, bench.paths[0], str(CORES))
    environ = bench.stack.enter_context(services.on_sqlite(bench.folder / "long"))
    taken = bench.in_turns(
        {
            "ours": lambda: services.submit(environ, [path], bench.folder / "long-out"),
            "plain": lambda: float(plain.measure(as_rem([path]))["wall_s"]),
        }
    )
    return [Row(name, taken["ours"], taken["plain"], 3.5)]


def batch_row(bench: Bench) -> list[Row]:
    """One thread: windows of eight recordings in a call against one; and the same in CTranslate2 alone."""
    loop = bench.program(programs.LOOP, str(bench.folder), *bench.paths)
    bare = bench.program(programs.BARE, *bench.paths[:8])
    texts: set[str] = set()
    cost_s: dict[str, list[float]] = {}
    sizes = (1, 2, 4, ROWS)

    def rows(count: int) -> float:
        answer = loop.measure(count)
        texts.add(json.dumps(answer["texts"]))
        return float(answer["cpu_s"])

    def ceiling() -> float:
        for name, value in bare.measure().items():
            cost_s.setdefault(name, []).append(value)
        return 0.0

    taken = bench.in_turns({str(n): lambda n=n: rows(n) for n in sizes} | {"bare": ceiling})  # type: ignore[misc]
    assert len(texts) == 1, "the texts differ between batch sizes"
    own = [
        Row(
            f"batch {n} against 1, one thread, CPU time, same text",
            taken[str(n)],
            taken["1"],
            1.2 if n == ROWS else None,
        )
        for n in sizes[1:]
    ]
    calls = {n: [e + g for e, g in zip(cost_s["encode_1"], cost_s[f"generate_{n}"])] for n in sizes}
    most = Row(f"the same in bare calls of CTranslate2, {ROWS} against 1", calls[ROWS], calls[1], 1.0)
    parts = ", ".join(
        f"{name.replace('_', ' by ')} {statistics.median(v) * 1e3:.0f}" for name, v in cost_s.items()
    )
    return [*own, Row(most.name, most.ours, most.theirs, None, note=f"ms a row: {parts}")]


def rows_rows(bench: Bench) -> list[Row]:
    """The whole service with 1 and 4 windows a call, and as its workers choose: three of them, in turns."""
    sizes = {"1": 1, "4": 4, "auto": 0}
    environs = {
        name: bench.stack.enter_context(
            services.on_sqlite(bench.folder / f"rows-{name}", f"[transcription]\nbatch_size = {size}\n")
        )
        for name, size in sizes.items()
    }
    taken = bench.in_turns(
        {
            name: lambda name=name: services.submit(environs[name], bench.paths, bench.folder / f"out-{name}")  # type: ignore[misc]
            for name in sizes
        }
    )
    texts = {
        name: {
            path.name: path.read_text(encoding="utf-8") for path in (bench.folder / f"out-{name}").iterdir()
        }
        for name in sizes
    }
    assert texts["1"] == texts["4"] == texts["auto"], "the texts differ between rows"
    chosen = [
        f"{slot['batch_size']} ({', '.join(f'{ms} ms with {n}' for n, ms in slot['batch_token_ms'].items())})"
        for slot in services.workers(environs["auto"], bench.folder)
    ]
    name = f"{len(bench.paths)} short recordings"
    return [
        Row(f"{name}, 1 window a call against 4", taken["1"], taken["4"], None),
        Row(
            f"{name}, as many as workers choose against 4",
            taken["auto"],
            taken["4"],
            1.0,
            note=f"a token, at the end: {'; '.join(chosen)}",
        ),
        Row("the same against 1", taken["auto"], taken["1"], 0.97),
    ]


def memory_row(bench: Bench) -> list[Row]:
    """Peak memory until the first segment of an hour, each time in a new process."""
    path = corpus.long_one(bench.folder, HOUR_S)

    def peak(program: str) -> float:
        with programs.Measured(program, model_path(), path) as measured:
            return float(measured.measure()["peak_bytes"]) / 1e6

    return [
        Row("peak memory, 1 hour of audio", [peak(programs.OWN_PEAK)], [peak(programs.PLAIN_PEAK)], 5.0, "MB")
    ]


def ready_row(bench: Bench) -> list[Row]:
    """From exec to a worker's word that it is ready, against doing the same by hand."""
    from tests.workerproc.process import worker_in

    def ours() -> float:
        began_s = time.perf_counter()
        with worker_in(bench.folder) as worker:
            worker.ready()
            return time.perf_counter() - began_s

    def by_hand() -> float:
        began_s = time.perf_counter()
        with programs.Measured(programs.BY_HAND, model_path()):
            return time.perf_counter() - began_s

    taken = bench.in_turns({"ours": ours, "by hand": by_hand})
    return [Row("exec to ready, tiny.en, against by hand", taken["ours"], taken["by hand"], 1 / 1.2)]


def _server() -> Any:
    from contextlib import contextmanager

    return contextmanager(run_server)("ministack")


ALL: dict[str, Callable[[Bench], list[Row]]] = {
    "service": service_rows,
    "slow": slow_row,
    "long": long_row,
    "batch": batch_row,
    "rows": rows_rows,
    "memory": memory_row,
    "ready": ready_row,
}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--recordings", type=int, default=48)
    parser.add_argument("--rows", default=",".join(ALL))
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    asked = parser.parse_args(arguments)
    rows: list[Row] = []
    loads = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory(prefix="rem-bench-") as name:
        paths = corpus.short_ones(Path(name), asked.recordings)
        for row in asked.rows.split(","):
            with ExitStack() as stack:
                rows += ALL[row](Bench(Path(name), paths, asked.repeats, stack))
            loads.append(os.getloadavg()[0])
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    command = f"python bench/engine.py --repeats {asked.repeats} --recordings {asked.recordings}"
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    load = f"load {min(loads):.1f} to {max(loads):.1f}"
    text = (
        f"{when}, Python {sys.version.split()[0]}, {load}. `{command} --rows {asked.rows}`\n\n{table(rows)}"
    )
    print(text)
    if asked.write:
        report.write("engine", text)


if __name__ == "__main__":
    main(sys.argv[1:])
