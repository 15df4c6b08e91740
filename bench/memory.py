"""Memory over the whole of a long recording: one of our workers beside plain faster-whisper, as a picture.

    python bench/memory.py [--hours 12] [--their-hours 1] [--write]

The recording is the shipped speech with nine times as much silence around it. Resident memory is
read twice a second, less what the process had when it was idle. `--write` puts the figures into
RESULTS.md and the curves into memory.svg. Twelve hours take five minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

import report  # noqa: E402

from supervisor.contract.wire.messages import Failed, Job, Staged  # noqa: E402
from tests.workerproc import process, recordings  # noqa: E402

PICTURE = TOP / "bench" / "memory.svg"
RATE_HZ = 16_000
EVERY_S = 0.5
SILENCE_SHARE = 0.9
TARGET_MB = 400.0
PLAIN = """
import sys
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
list(model.transcribe(__import__("numpy").zeros(480000, dtype="float32"), language="en", temperature=0.0)[0])
print("idle", flush=True)
sys.stdin.readline()
for segment in model.transcribe(sys.argv[2], beam_size=5, vad_filter=True)[0]:
    pass
print("done", flush=True)
"""

Curve = list[tuple[float, float]]  # seconds since the beginning, MB beyond idle


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=12.0)
    parser.add_argument("--their-hours", type=float, default=1.0)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args(arguments)
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="rem-bench-") as name:
        idle_mb, ours = of_our_worker(Path(name), asked.hours)
        their_idle_mb, theirs = of_plain(Path(name), asked.their_hours)
    peaks = [max(mb for _, mb in curve) for curve in (ours, theirs)]
    rows = [
        ("", "length", "idle MB", "peak beyond idle, MB", "took"),
        _row("our worker, profile fast", asked.hours, idle_mb, peaks[0], ours),
        _row("plain faster-whisper", asked.their_hours, their_idle_mb, peaks[1], theirs),
    ]
    met = "met" if peaks[0] <= TARGET_MB else "missed"
    text = (
        f"{report.heading(load_before)}\n{report.table(rows)}\n\n"
        f"Target: at most {TARGET_MB:.0f} MB beyond idle: {met}. Both over time: [memory.svg](memory.svg)."
    )
    print(text)
    if asked.write:
        report.write("memory", text)
        PICTURE.write_text(
            picture([(f"ours, {asked.hours:g} h", ours), (f"plain, {asked.their_hours:g} h", theirs)]),
            encoding="utf-8",
        )


def _row(name: str, hours: float, idle_mb: float, peak_mb: float, curve: Curve) -> tuple[str, ...]:
    return (name, f"{hours:g} h", f"{idle_mb:.0f}", f"{peak_mb:.0f}", f"{curve[-1][0]:.0f} s")


def recording(folder: Path, hours: float) -> Path:
    """Write the speech and its silence again and again."""
    speech = [recordings.samples_of(clip.path) for clip in recordings.samples()]
    path = folder / f"{hours:g}.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        samples = 0
        while samples < hours * 3600 * RATE_HZ:
            for piece in speech:
                silence = bytes(int(len(piece) * 2 * SILENCE_SHARE / (1 - SILENCE_SHARE)) // 2 * 2)
                file.writeframes(piece.tobytes() + silence)
                samples += len(piece) + len(silence) // 2
    return path


def of_our_worker(folder: Path, hours: float) -> tuple[float, Curve]:
    """Give a worker's idle memory and its curve over a whole recording."""
    path = recording(folder, hours)
    (folder / "worker").mkdir()
    (folder / "job").mkdir()
    os.link(path, folder / "job" / "audio")
    process.LIMIT_S = 24 * 3600.0
    settings = {"profile": "fast", "batch_size": 4, "max_audio_s": 48 * 3600.0}
    with process.worker_in(folder / "worker", **settings) as worker:
        worker.ready()
        idle_mb = resident_mb(worker.process.pid)
        with watched(worker.process.pid, idle_mb) as curve:
            worker.send(Job(process.card(folder / "job", None)))
            ending = worker.next(Staged, Failed)
        assert isinstance(ending, Staged), ending
    path.unlink()
    return idle_mb, curve


def of_plain(folder: Path, hours: float) -> tuple[float, Curve]:
    """The same of faster-whisper by hand."""
    command = [sys.executable, "-c", PLAIN, process.model_path(), str(recording(folder, hours))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as plain:
        assert plain.stdin is not None
        assert plain.stdout is not None
        assert plain.stdout.readline() == "idle\n"
        idle_mb = resident_mb(plain.pid)
        with watched(plain.pid, idle_mb) as curve:
            plain.stdin.write("go\n")
            plain.stdin.flush()
            assert plain.stdout.readline() == "done\n"
    return idle_mb, curve


@contextmanager
def watched(pid: int, idle_mb: float) -> Iterator[Curve]:
    """Read a process's memory all the while."""
    curve: Curve = []
    over = threading.Event()
    began_s = time.monotonic()

    def look() -> None:
        while not over.wait(EVERY_S):
            curve.append((time.monotonic() - began_s, resident_mb(pid) - idle_mb))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield curve
    finally:
        over.set()
        thread.join()


def resident_mb(pid: int) -> float:
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def picture(curves: Sequence[tuple[str, Curve]]) -> str:
    """Draw memory over the share of the time that each took."""
    width, height, left, top = 720, 360, 70, 40
    most_mb = max(mb for _, curve in curves for _, mb in curve) * 1.05

    def at(share: float, mb: float) -> tuple[float, float]:
        return left + share * width, top + height * (1 - max(0.0, mb) / most_mb)

    lines = []
    for n, (name, curve) in enumerate(curves):
        points = " ".join("{:.1f},{:.1f}".format(*at(s / curve[-1][0], mb)) for s, mb in curve)
        color = ("#1b6ca8", "#c0392b")[n % 2]
        lines.append(f'<polyline fill="none" stroke="{color}" stroke-width="2" points="{points}"/>')
        lines.append(f'<text x="{left + 10}" y="{top + 18 + 20 * n}" fill="{color}">{name}</text>')
    for step in range(5):
        mb = most_mb * step / 4
        x, y = at(0.0, mb)
        lines.append(f'<line x1="{x}" x2="{x + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        lines.append(f'<text x="{x - 6}" y="{y + 4:.1f}" text-anchor="end">{mb:.0f}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 20}" height="{top + height + 50}" '
        'font-family="sans-serif" font-size="13">\n<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="{left}" y="20">MB beyond idle, over the time that the recording took</text>\n'
        + "\n".join(lines)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
