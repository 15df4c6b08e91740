"""What the engine is measured against, and its own loop: programs that load once and measure at each word.

Each runs in a process of its own, says `up` when it is warm, and for each line it is sent measures
once and answers with one line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

TOP = Path(__file__).resolve().parent.parent

# faster-whisper in one process. As REM's worker has it: two threads, conditioned on the text before.
PLAIN = """
import json, os, sys, time
from faster_whisper import WhisperModel
device = os.environ.get("WHISPER_DEVICE", "cpu")
kind = "float16" if device == "cuda" else "int8"
model = WhisperModel(
    sys.argv[1], device=device, compute_type=kind, cpu_threads=int(sys.argv[3]), local_files_only=True
)
vad = {"min_silence_duration_ms": 500}
def once(path, conditioned=True):
    segments, _ = model.transcribe(path, beam_size=5, vad_filter=True, vad_parameters=vad,
        condition_on_previous_text=conditioned)
    return " ".join(segment.text.strip() for segment in segments)
once(sys.argv[2])
print("up", flush=True)
for line in sys.stdin:
    wish = json.loads(line)
    began_s = time.perf_counter()
    texts = [once(path, wish["conditioned"]) for path in wish["paths"]]
    print(json.dumps({"wall_s": time.perf_counter() - began_s, "texts": texts}), flush=True)
"""

# Our engine without broker, supervisor, disk or queue: decoded already, so many lanes as a worker has.
LOOP = """
import json, os, sys, threading, time
from pathlib import Path
from supervisor.contract.job_options import of_profile
from workerproc.audio import decode
from workerproc.engine import batch_tuning
from workerproc.engine.batch import Batch
from workerproc.engine.whisper.native import tokens_in
from workerproc.engine.whisper.recogniser import Recogniser
from workerproc.audio.pcm_file import PcmFile
model, folder, paths = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
device = os.environ.get("WHISPER_DEVICE", "cpu")
kind, encode_most = ("float16", 4) if device == "cuda" else ("int8", 1)
recogniser = Recogniser(model, device, kind, 1, lambda: None)
recogniser.warm_up()
tapes = [PcmFile(folder) for _ in paths]
for path, tape in zip(paths, tapes):
    decode.decode(Path(path), tape, 1e6, lambda done_s, audio_s: None)
class Timed:  # what of a turn the engine's own calls take: no loop can be faster
    native_s = 0.0
    def make(self, kind, requests):
        began_s = time.perf_counter()
        answers = recogniser.native.make(kind, requests)
        self.native_s += time.perf_counter() - began_s
        return answers
timed = Timed()
MOST = 4
measured = batch_tuning.Measured(MOST)
def once(rows):  # 0: as many as are cheapest by measure, as a worker on a CPU has it
    global measured
    timed.native_s = 0.0
    batch = Batch(timed, rows or MOST, encode_most, tokens=None if rows else tokens_in)
    batch.measured = measured
    texts, numbers = {}, iter(range(len(tapes)))
    guard = threading.Lock()
    def work():
        while True:
            with guard:
                n = next(numbers, None)
            if n is None:
                return
            with batch.lane() as lane:
                run = recogniser.transcribe(tapes[n], of_profile("fast"), lane)
                texts[n] = [segment.text for segment in run.segments]
    threads = [threading.Thread(target=work) for _ in range((rows or MOST) + 1)]
    def close():
        for thread in threads:
            thread.join()
        batch.close()
    for thread in (*threads, threading.Thread(target=close)):
        thread.start()
    batch.run()
    measured = measured if rows else batch.measured
    return [texts[n] for n in sorted(texts)]
once(1)
print("up", flush=True)
for line in sys.stdin:
    began_s, cpu_s = time.perf_counter(), time.process_time()
    texts = once(json.loads(line))
    wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    answer = {"wall_s": wall_s, "cpu_s": cpu_s, "native_s": timed.native_s, "texts": texts}
    print(json.dumps(answer), flush=True)
"""

# CTranslate2 alone, one thread: what a row costs in calls of so many rows. No loop can be faster than this.
BARE = """
import json, sys, time
from pathlib import Path
import ctranslate2
import numpy as np
from faster_whisper import WhisperModel, decode_audio
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
def window(path):
    features = model.feature_extractor(decode_audio(path))[:, :3000]
    return np.pad(features, ((0, 0), (0, 3000 - features.shape[1]))).astype(np.float32)
windows = np.stack([window(sys.argv[2 + n % (len(sys.argv) - 2)]) for n in range(8)])
view = lambda rows: ctranslate2.StorageView.from_array(np.ascontiguousarray(rows))
prompt = [model.hf_tokenizer.token_to_id("<|startoftranscript|>")]
def encode(most):
    calls = [model.model.encode(view(windows[n:n + most])) for n in range(0, 8, most)]
    return np.concatenate([np.asarray(rows) for rows in calls])
def generate(rows, most):
    for n in range(0, 8, most):
        model.model.generate(view(rows[n:n + most]), [prompt] * most, beam_size=5, return_scores=True,
            return_no_speech_prob=True, suppress_blank=True, max_initial_timestamp_index=50)
def timed(call):
    began_s = time.process_time()
    call()
    return (time.process_time() - began_s) / 8
rows = encode(1)
generate(rows, 8)
print("up", flush=True)
for line in sys.stdin:
    found = {f"encode_{n}": timed(lambda: encode(n)) for n in (1, 2, 4, 8)}
    found.update({f"generate_{n}": timed(lambda: generate(rows, n)) for n in (1, 2, 4, 8)})
    print(json.dumps(found), flush=True)
"""

# Until the first segment of a long recording: everything that must be in memory before it, is.
PLAIN_PEAK = """
import json, resource, sys
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
print("up", flush=True)
for line in sys.stdin:
    segments, _ = model.transcribe(sys.argv[2], beam_size=5, vad_filter=True)
    next(iter(segments))
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"peak_bytes": peak_bytes}), flush=True)
"""

OWN_PEAK = """
import json, resource, sys, threading
from pathlib import Path
from supervisor.contract.job_options import of_profile
from workerproc.audio import decode
from workerproc.engine.batch import Batch
from workerproc.engine.whisper.recogniser import Recogniser
from workerproc.audio.pcm_file import PcmFile
recogniser = Recogniser(sys.argv[1], "cpu", "int8", 1, lambda: None)
print("up", flush=True)
for line in sys.stdin:
    batch = Batch(recogniser.native, 1, 1)
    def work():
        with batch.lane() as lane, PcmFile(Path(sys.argv[2]).parent) as tape:
            decode.decode(Path(sys.argv[2]), tape, 1e6, lambda done_s, audio_s: None)
            next(iter(recogniser.transcribe(tape, of_profile("fast"), lane).segments))
        batch.close()
    threading.Thread(target=work).start()
    batch.run()
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"peak_bytes": peak_bytes}), flush=True)
"""

BY_HAND = """
import sys
import numpy as np
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
segments, _ = model.transcribe(np.zeros(480000, dtype=np.float32), language="en", temperature=0.0)
list(segments)
print("up", flush=True)
import os
os._exit(0)
"""


def on_gpu() -> bool:
    return os.environ.get("WHISPER_DEVICE", "cpu") == "cuda"


class Measured:
    """One of the programs, running, warm and waiting."""

    def __init__(self, program: str, *arguments: str) -> None:
        """`LOOP` and `BARE` get a worker's environment; the others what a plain service has."""
        environ = {**os.environ, "PYTHONPATH": str(TOP), "HF_HUB_OFFLINE": "1"}
        if program in (LOOP, BARE, OWN_PEAK):
            from supervisor.processes import env_allowlist

            device = os.environ.get("CUDA_VISIBLE_DEVICES", "0") if on_gpu() else ""
            environ = {
                **environ,
                **env_allowlist.for_worker({}, "{}", device, 1, str(TOP), os.environ.get("HOME", "")),
            }
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "up\n", "a program of the benchmark did not come up"

    def __enter__(self) -> Measured:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self, word: Any) -> None:
        """Let it measure once."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(word) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for what it measured."""
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))

    def measure(self, word: Any = None) -> dict[str, Any]:
        self.begin(word)
        return self.answer()
