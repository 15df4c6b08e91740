"""`python -m workerproc check`: would a worker start here? Printed for `rem-supervisor doctor`.

One JSON line a check: `{"check", "state": "ok|warn|fail", "detail", "cure"}`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Optional

from supervisor.contract.exits import Exit
from workerproc import errors, models

_AV_TOO_NEW = 19


@dataclass(frozen=True)
class Finding:
    """What one check came to."""

    check: str
    state: str
    detail: str
    cure: str = ""


def main(model_path: Optional[str]) -> int:
    """Print each finding as it is made; give 1 where one failed."""
    failed = False
    for finding in _findings(model_path):
        failed = failed or finding.state == "fail"
        print(json.dumps(asdict(finding), ensure_ascii=False), flush=True)
    return Exit.FAILED if failed else Exit.OK


def _findings(model_path: Optional[str]) -> Iterator[Finding]:
    installed = [_installed(name) for name in ("faster-whisper", "ctranslate2", "onnxruntime", "av")]
    yield from installed
    if all(finding.state != "fail" for finding in installed):
        yield _imports()
        if model_path is not None:
            yield _model(model_path)


def _installed(name: str) -> Finding:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, "fail", "is not installed", "Run make venv, or pip install -r requirements.txt")
    return judged(name, version)


def judged(name: str, version: str) -> Finding:
    """Say whether this version will do."""
    major = int((re.match(r"\d+", version) or ["0"])[0])
    if name == "av" and major >= _AV_TOO_NEW:
        # Importing and loading do not show it: every decode fails.
        return Finding(name, "fail", f"{version} breaks faster-whisper 1.2.1", "pip install 'av<19'")
    if name == "faster-whisper" and version != "1.2.1":
        return Finding(
            name, "warn", f"{version} is not the tested version", "pip install faster-whisper==1.2.1"
        )
    return Finding(name, "ok", version)


def _imports() -> Finding:
    models.quiet_hub()
    try:
        from workerproc import recogniser  # noqa: F401  # the import is the check
    except Exception as error:  # noqa: BLE001  # a doctor reports whatever it finds
        cure = "Install the pinned requirements anew: make clean, make venv"
        return Finding("engine", "fail", f"can't be imported: {errors.sentence(error)}", cure)
    return Finding("engine", "ok", "imported")


def _model(model_path: str) -> Finding:
    from workerproc.recogniser import Recogniser

    missing = models.missing_files(Path(model_path))
    if missing:
        cure = "Fetch it anew: python -m workerproc fetch NAME"
        return Finding("model", "fail", f"{model_path} lacks {', '.join(missing)}", cure)
    began_s = time.monotonic()
    try:
        Recogniser(model_path, "cpu", "int8", 1, step=lambda: None).warm_up()
    except (errors.ModelBroken, errors.DeviceBroken) as error:
        return Finding("model", "fail", str(error), "Fetch the model anew, or choose another one")
    took_s = time.monotonic() - began_s
    return Finding("model", "ok", f"{model_path} computed its first window after {took_s:.1f} s (cpu, int8)")
