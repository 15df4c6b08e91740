"""Speed of the engine and of the whole service, against plain faster-whisper on the same cores.

    python bench/engine.py [--repeats 5] [--recordings 48] [--rows service,batch,ready] [--json FILE]

Each row is measured in turns (ours, theirs, ours, ...), so that a machine that is busy with
other things is unfair to both; medians and ranges are printed, and how many cores were free. The recordings
are pieces of 5 to 14 s, cut from the shipped samples and from `shared/audio` where it is at hand.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Any, Callable

TOP = Path(__file__).resolve().parent.parent
SHARED = TOP.parent / "shared" / "audio"
RATE_HZ = 16_000
PIECES_S = (5, 7, 9, 11, 14)
LIMIT_S = 600.0

PLAIN = """
import sys, time
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=2, local_files_only=True)
vad = {"min_silence_duration_ms": 500}
def once(path):
    segments, _ = model.transcribe(path, beam_size=5, vad_filter=True, vad_parameters=vad)
    return " ".join(segment.text.strip() for segment in segments)
once(sys.argv[2])
began_s = time.perf_counter()
for path in sys.argv[2:]:
    once(path)
print(time.perf_counter() - began_s)
"""

BATCH = """
import sys, threading, time
from pathlib import Path
from workerproc import audio
from workerproc.batch import Batch
from supervisor.contract.options import of_profile
from workerproc.recogniser import Recogniser
from workerproc.tape import Tape
rows, model, paths = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
recogniser = Recogniser(model, "cpu", "int8", 1, lambda: None)
recogniser.warm_up()
sounds = [Tape(Path(paths[0]).parent) for _ in paths]
for path, tape in zip(paths, sounds):
    audio.decode(Path(path), tape, 1e6, lambda done_s, audio_s: None)
batch, texts, numbers = Batch(recogniser.native, rows, 1), {}, iter(range(len(sounds)))
guard = threading.Lock()
def work():
    while True:
        with guard:
            n = next(numbers, None)
        if n is None:
            return
        with batch.lane() as lane:
            run = recogniser.transcribe(sounds[n], of_profile("fast"), lane)
            texts[n] = [segment.text for segment in run.segments]
threads = [threading.Thread(target=work) for _ in range(rows + 1 if rows > 1 else 1)]
def close():
    for thread in threads:
        thread.join()
    batch.close()
began_s, cpu_s = time.perf_counter(), time.process_time()
for thread in (*threads, threading.Thread(target=close)):
    thread.start()
batch.run()
print(time.perf_counter() - began_s, time.process_time() - cpu_s, hash(str(sorted(texts.items()))))
"""

BY_HAND = """
import sys, time
import numpy as np
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
segments, _ = model.transcribe(np.zeros(480000, dtype=np.float32), language="en", temperature=0.0)
list(segments)
print("ready", flush=True)
import os
os._exit(0)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--recordings", type=int, default=48)
    parser.add_argument("--rows", default="service,batch,ready")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rem-bench-") as folder:
        paths = corpus(Path(folder), asked.recordings)
        rows: dict[str, Callable[[], dict[str, Any]]] = {
            "service": lambda: service_row(Path(folder), paths, asked.repeats),
            "batch": lambda: batch_row(paths, asked.repeats),
            "ready": lambda: ready_row(Path(folder), asked.repeats),
        }
        found = {name: rows[name]() for name in asked.rows.split(",")}
    for name, row in found.items():
        print(f"{name}: {json.dumps(row)}", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


def model_path() -> str:
    from workerproc import models

    folder = models.packaged("tiny.en")
    assert folder is not None, "the packaged model is not installed: make test installs it"
    return str(folder)


def corpus(folder: Path, count: int) -> list[str]:
    """Cut `count` short recordings, the same each time."""
    sources = sorted([*(TOP / "supervisor" / "samples").glob("*.*"), *SHARED.glob("*.*")])
    sounds = [
        _decoded(path, folder)
        for path in sources
        if path.suffix in (".wav", ".flac", ".ogg", ".mp3", ".opus")
    ]
    whole = [piece for sound in sounds for piece in _pieces(sound)]
    paths = []
    for n in range(count):
        path = folder / f"recording-{n:02}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes((whole[n % len(whole)] * 32_767).astype("<i2").tobytes())
        paths.append(str(path))
    return paths


def _decoded(path: Path, folder: Path) -> Any:
    from workerproc import audio
    from workerproc.tape import Tape

    with Tape(folder) as tape:
        audio.decode(path, tape, 1e6, lambda done_s, audio_s: None)
        return tape.read(0, len(tape))


def _pieces(sound: Any) -> list[Any]:
    pieces, at = [], 0
    while len(sound) - at >= PIECES_S[0] * RATE_HZ:
        length = PIECES_S[len(pieces) % len(PIECES_S)] * RATE_HZ
        pieces.append(sound[at : at + length])
        at += length
    return pieces


# --- the rows


def service_row(folder: Path, paths: list[str], repeats: int) -> dict[str, Any]:
    """All recordings through a running service with an embedded queue, against one plain process."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "REM_"))},
        "PYTHONPATH": str(TOP),
        "REM_BACKEND": "local",
        "REM_STATE_DIR": str(folder / "state"),
        "REM_SOCKET": str(folder / "s"),
        "REM_PROFILE": "fast",
        "WHISPER_MODEL": "tiny.en",
        "WHISPER_DEVICE": "cpu",
    }
    command = [sys.executable, "-m", "supervisor"]
    log = (folder / "service.log").open("wb")
    service = subprocess.Popen([*command, "run"], env=environ, stdout=log, stderr=log, cwd=folder)
    try:
        _until_ready(command, environ, folder)

        def ours() -> float:
            began_s = time.perf_counter()
            subprocess.run(
                [*command, "submit", *paths, "--wait", "--output", str(folder / "out")],
                env=environ,
                cwd=folder,
                check=True,
                stdout=subprocess.DEVNULL,
                timeout=LIMIT_S,
            )
            return time.perf_counter() - began_s

        ours()  # whatever grows with the first jobs has grown

        return _in_turns(ours, lambda: float(_run(PLAIN, model_path(), *paths)[0]), repeats)
    finally:
        service.terminate()
        service.wait(60)
        log.close()


def batch_row(paths: list[str], repeats: int) -> dict[str, Any]:
    """One thread: windows of eight recordings in a call against one; wall and processor time, same text."""
    texts: set[str] = set()
    processor: dict[int, list[float]] = {1: [], 8: []}

    def with_rows(rows: int) -> float:
        wall_s, cpu_s, text = _run(BATCH, str(rows), model_path(), *paths)
        texts.add(text)
        processor[rows].append(float(cpu_s))
        return float(wall_s)

    row = _in_turns(lambda: with_rows(8), lambda: with_rows(1), repeats)
    cpu = statistics.median(processor[1]) / statistics.median(processor[8])
    return {**row, "ratio_of_processor_time": round(cpu, 2), "text_identical": len(texts) == 1}


def ready_row(folder: Path, repeats: int) -> dict[str, Any]:
    """From exec to a worker's word that it is ready, against doing the same by hand."""
    sys.path.insert(0, str(TOP))
    from tests.worker.process import worker_in

    def ours() -> float:
        began_s = time.perf_counter()
        with worker_in(folder) as worker:
            worker.ready()
            return time.perf_counter() - began_s

    def by_hand() -> float:
        began_s = time.perf_counter()
        _run(BY_HAND, model_path())
        return time.perf_counter() - began_s

    return _in_turns(ours, by_hand, repeats)


# --- how it is measured


def _in_turns(ours: Callable[[], float], theirs: Callable[[], float], repeats: int) -> dict[str, Any]:
    taken: dict[str, list[float]] = {"ours_s": [], "theirs_s": []}
    load = os.getloadavg()[0]
    for _ in range(repeats):
        taken["ours_s"].append(ours())
        taken["theirs_s"].append(theirs())
    medians = {name: round(statistics.median(values), 2) for name, values in taken.items()}
    ranges = {f"{name}_range": [round(min(v), 2), round(max(v), 2)] for name, v in taken.items()}
    ratio = round(statistics.median(taken["theirs_s"]) / statistics.median(taken["ours_s"]), 2)
    return {**medians, "times_faster": ratio, **ranges, "load_before": round(load, 1), "repeats": repeats}


def _run(program: str, *arguments: str) -> list[str]:
    environ = {**os.environ, "PYTHONPATH": str(TOP), "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0"}
    if program is BATCH:
        from supervisor import environments

        environ = {**environ, **environments.for_worker({}, "{}", "", 1, str(TOP)), "PYTHONHASHSEED": "0"}
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environ,
        check=True,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    return ended.stdout.split()


def _until_ready(command: list[str], environ: dict[str, str], folder: Path) -> None:
    ends_s = time.perf_counter() + LIMIT_S
    while time.perf_counter() < ends_s:
        asked = subprocess.run(
            [*command, "status", "--json"], env=environ, cwd=folder, capture_output=True, check=False
        )
        slots = json.loads(asked.stdout)["slots"] if asked.stdout.startswith(b"{") else []
        states = [slot["state"] for slot in slots if slot["kind"] == "worker"]
        if states and set(states) == {"ready"}:
            return
        time.sleep(0.2)
    raise AssertionError("the service did not become ready")


if __name__ == "__main__":
    main()
