"""The programs that the accuracy benchmark compares, and the process in which they listen.

    python bench/accuracy_programs.py MODEL FOLDER TRIED

reads one recording a line and answers with what each program heard, as JSON. All programs hear the same
samples with one thread, as the product decodes them; `plain` is faster-whisper itself with REM's options.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Optional

TOP = Path(__file__).resolve().parent.parent
PLAIN = "plain"


def programs(tried: Mapping[str, str]) -> dict[str, Optional[Any]]:
    """Give the table of programs: options by name, None for plain faster-whisper.

    `tried` adds programs: profile fast with the options of a JSON object.
    """
    from supervisor.contract import job_options

    fast = job_options.of_profile("fast")
    table = {
        PLAIN: None,
        "rem": job_options.of_profile("rem"),
        "fast, full windows": job_options.changed(fast, '{"window": "full"}'),
        "fast, fit windows": job_options.changed(fast, '{"window": "fit"}'),
    }
    return {**table, **{name: job_options.changed(fast, asked) for name, asked in tried.items()}}


class Listener:
    """A process with the model, started when it is first needed, which hears one recording at a time."""

    def __init__(self, model: Path, folder: Path, tried: Mapping[str, str]) -> None:
        from supervisor.processes import env_allowlist

        home = os.environ.get("HOME", "")
        self._environ = {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            **env_allowlist.for_worker({}, "{}", "", 1, str(TOP), home),
        }
        self._command = [sys.executable, __file__, str(model), str(folder), json.dumps(dict(tried))]
        self._process: Optional[subprocess.Popen[str]] = None

    def hear(
        self, wanted: Sequence[str], path: str, language: Optional[str], with_vad: bool
    ) -> dict[str, dict[str, Any]]:
        """Give for each wanted program its text, language, segments and seconds of CPU time."""
        if self._process is None:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                self._command, env=self._environ, stdin=pipe, stdout=pipe, text=True
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([list(wanted), path, language, with_vad]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process that hears {path} ended: its reason stands above")
        return dict(json.loads(answer))

    def close(self) -> None:
        """End the process, if it was started."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


class _Model:
    """The model, once for the product and once for plain faster-whisper."""

    def __init__(self, path: str, folder: Path) -> None:
        import faster_whisper

        from workerproc.engine.whisper.recogniser import Recogniser

        self._recogniser = Recogniser(path, "cpu", "int8", 1, lambda: None)
        self._recogniser.warm_up()
        self._direct = faster_whisper.WhisperModel(
            path, device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True
        )
        self._folder = folder

    def hear(
        self, table: Mapping[str, Optional[Any]], path: str, language: Optional[str], with_vad: bool
    ) -> dict[str, Any]:
        from workerproc.audio import decode
        from workerproc.audio.pcm_file import PcmFile

        heard = {}
        with PcmFile(self._folder) as pcm_file:
            decode.decode(Path(path), pcm_file, 1e6, lambda done_s, audio_s: None)
            samples = pcm_file.read(0, len(pcm_file))
            for name, options in table.items():
                began_s = time.process_time()
                if options is None:
                    found = self._plain(samples, language, with_vad)
                else:
                    changed = dataclasses.replace(options, language=language, vad_filter=with_vad)
                    found = self._ours(pcm_file, changed)
                heard[name] = {**found, "cpu_s": time.process_time() - began_s}
        return heard

    def _plain(self, samples: Any, language: Optional[str], with_vad: bool) -> dict[str, Any]:
        segments, info = self._direct.transcribe(
            samples,
            language=language,
            beam_size=5,
            vad_filter=with_vad,
            vad_parameters={"min_silence_duration_ms": 500},
        )
        return _answer(info.language, [(one.start, one.end, one.text) for one in segments])

    def _ours(self, pcm_file: Any, options: Any) -> dict[str, Any]:
        from workerproc.engine.batch import Batch

        batch = Batch(self._recogniser.native, 1)

        def work() -> dict[str, Any]:
            try:
                with batch.lane() as lane:
                    run = self._recogniser.transcribe(pcm_file, options, lane)
                    segments = [(one.start_s, one.end_s, one.text) for one in run.segments]
                    return {**_answer(run.language, segments), "windows": dict(run.windows)}
            finally:
                batch.close()

        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(work)
            batch.run()
            return found.result()


def _answer(language: Optional[str], segments: list[tuple[float, float, str]]) -> dict[str, Any]:
    return {
        "language": language,
        "text": " ".join(text.strip() for _, _, text in segments),
        "begins_s": [begin_s for begin_s, _, _ in segments],
        "ends_s": [end_s for _, end_s, _ in segments],
    }


def main(model: str, folder: str, tried: str) -> None:
    table = programs(json.loads(tried))
    loaded = _Model(model, Path(folder))
    for line in sys.stdin:
        wanted, *recording = json.loads(line)
        chosen = {name: table[name] for name in wanted}
        print(json.dumps(loaded.hear(chosen, *recording)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
