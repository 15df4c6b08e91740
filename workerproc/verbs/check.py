"""`python -m workerproc check`: checks whether a worker can start, for `rem-supervisor doctor`.

Prints one JSON line per check: `{"check", "state": "ok|warn|fail", "detail", "cure"}`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from supervisor.contract import codec
from supervisor.contract.engine import engines
from supervisor.contract.exits import Exit
from supervisor.contract.finding import Finding
from supervisor.contract.job_options import Options
from workerproc.engine.loading import load
from workerproc.process import errors, models, telemetry

if TYPE_CHECKING:
    from workerproc.engine.port import Engine

_AV_TOO_NEW = 19


def main(model_path: Optional[str], options: Optional[str] = None, engine: str = engines.DEFAULT) -> int:
    """Print each finding at once; return 1 where one failed. `options`: the service's options, as JSON."""
    failed = False
    for finding in _findings(model_path, options, engine):
        failed = failed or finding.state == "fail"
        print(json.dumps(asdict(finding), ensure_ascii=False), flush=True)
    return Exit.FAILED if failed else Exit.OK


def _findings(model_path: Optional[str], options: Optional[str], engine: str) -> Iterator[Finding]:
    extra = engines.ENGINES[engine].extra
    needed = ("faster-whisper", "ctranslate2", "onnxruntime", "av", *((extra,) if extra else ()))
    installed = [_installed(name, extra) for name in needed]
    yield from installed
    if all(finding.state != "fail" for finding in installed):
        imported = _imports(engine)
        yield imported
        if model_path is not None and imported.state == "ok":
            yield from _model(model_path, options, engine)


def _installed(name: str, extra: str = "") -> Finding:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        cure = "Run make venv, or pip install -r requirements.txt"
        if name == extra:
            cure = f"Run pip install -r requirements-{extra}.txt"
        return Finding(name, "fail", "is not installed", cure)
    return judged(name, version)


def judged(name: str, version: str) -> Finding:
    """Check a library's version."""
    major = int((re.match(r"\d+", version) or ["0"])[0])
    if name == "av" and major >= _AV_TOO_NEW:
        # Importing and loading succeed, but every decode fails.
        return Finding(name, "fail", f"{version} breaks faster-whisper 1.2.1", "pip install 'av<19'")
    if name == "faster-whisper" and version != "1.2.1":
        return Finding(
            name, "warn", f"{version} is not the tested version", "pip install faster-whisper==1.2.1"
        )
    return Finding(name, "ok", version)


def _imports(engine: str) -> Finding:
    telemetry.switch_off()
    try:
        load.importing(engine)
    except Exception as error:  # noqa: BLE001  # a doctor reports whatever it finds
        cure = "Install the pinned requirements anew: make clean, make venv"
        return Finding("engine", "fail", f"can't be imported: {errors.sentence(error)}", cure)
    return Finding("engine", "ok", "imported" if engine == engines.DEFAULT else f"{engine} imported")


def _model(model_path: str, options: Optional[str], engine: str) -> Iterator[Finding]:
    missing = models.missing_files(Path(model_path)) if engine == engines.DEFAULT else []
    if missing:
        cure = "Fetch it anew: python -m workerproc fetch NAME"
        yield Finding("model", "fail", f"{model_path} lacks {', '.join(missing)}", cure)
        return
    began_s = time.monotonic()
    try:
        recogniser = load.importing(engine)(model_path, "cpu", "int8", 1, lambda: None)
        recogniser.warm_up()
    except (errors.ModelBroken, errors.DeviceBroken) as error:
        yield Finding("model", "fail", str(error), "Fetch the model anew, or choose another one")
        return
    took_s, kind = time.monotonic() - began_s, recogniser.compute_type
    yield Finding("model", "ok", f"{model_path} computed its first window after {took_s:.1f} s (cpu, {kind})")
    if options is not None:
        yield _options(recogniser, options)


def _options(recogniser: Engine, options: str) -> Finding:
    """Check whether the model supports the service's options; its tokenizer counts their tokens."""
    try:
        unfit = recogniser.unfit(codec.from_plain(Options, json.loads(options)))
    except ValueError as error:
        return Finding("options", "fail", str(error), "Correct [transcription] in config.toml")
    if unfit is not None:
        return Finding("options", "fail", f"[transcription] {unfit}", "Write less, or choose another model")
    return Finding("options", "ok", "the model can follow them")
