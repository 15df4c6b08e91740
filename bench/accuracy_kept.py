"""What programs heard before, so that a run that was cut off, or a new program, hears only what is missing.

One JSON object a line. A line counts only for the same samples, options, model and libraries, and for the
product's programs only while the worker's code is the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Optional

TOP = Path(__file__).resolve().parent.parent
LIBRARIES = ("faster-whisper", "ctranslate2", "onnxruntime", "av", "numpy")


class Kept:
    """A file of answers, or none. Safe for threads."""

    def __init__(self, path: Optional[Path], model: Path, table: Mapping[str, Optional[Any]]) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._answers: dict[str, Any] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                self._answers.update(json.loads(line))
        common = [_model(model), *(metadata.version(name) for name in LIBRARIES)]
        code = _digest(file.read_bytes() for file in sorted((TOP / "workerproc").rglob("*.py")))
        self._programs = {
            name: json.dumps([*common, options and [code, dataclasses.asdict(options)]])
            for name, options in table.items()
        }

    def known(self, recording: list[Any]) -> dict[str, Any]:
        """Give the answers of those programs that heard this recording already, by program."""
        keys = {name: self._key(name, recording) for name in self._programs}
        return {name: self._answers[key] for name, key in keys.items() if key in self._answers}

    def keep(self, recording: list[Any], answers: Mapping[str, Any]) -> None:
        """Add answers to the file, if there is one."""
        if self._path is not None:
            lines = [json.dumps({self._key(name, recording): one}) for name, one in answers.items()]
            with self._guard, self._path.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)

    def _key(self, program: str, recording: list[Any]) -> str:
        path, *how = recording
        asked = json.dumps([self._programs[program], *how]).encode()
        return _digest([Path(path).read_bytes(), asked])


def _model(folder: Path) -> str:
    return f"{(folder / 'model.bin').stat().st_size} {_digest([(folder / 'config.json').read_bytes()])}"


def _digest(parts: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()
