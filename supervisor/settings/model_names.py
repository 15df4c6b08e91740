"""Validates model names: known names, hub repositories, folders of this host.

Whether a repository exists is found later, by the model fetch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from supervisor.contract.engine.engines import DEFAULT, ENGINES, EngineFacts
from supervisor.contract.whisper_names import MODELS, is_english_only, is_folder, is_repository, model_hint
from supervisor.settings.rules import Problem
from supervisor.settings.schema import Settings


def check_models(settings: Settings, for_workers: bool = True) -> Iterator[Problem]:
    """Give every invalid model, and options that an English-only model does not support.

    `for_workers` false: no checks, because this user may be unable to read the models' folders.
    """
    if not for_workers:
        return
    transcription = settings.transcription
    facts = ENGINES.get(transcription.engine, ENGINES[DEFAULT])
    wrong = _wrong_model(transcription.model, facts)
    if wrong is not None:
        yield ("transcription.model", *wrong)
    for device, model in settings.devices.model.items():
        wrong = _wrong_model(model, facts)
        if wrong is not None:
            yield "devices.model", f"{wrong[0]} (of {device})", wrong[1]
    english = [m for m in (transcription.model, *settings.devices.model.values()) if is_english_only(m)]
    if not english:
        return
    cure = f"Remove it, or choose a multilingual model such as {english[0][: -len('.en')]}"
    if transcription.language not in ("", "en"):
        yield "transcription.language", f"model {english[0]} supports English only", cure
    if transcription.task == "translate":
        yield "transcription.task", f"model {english[0]} supports English only and can't translate", cure


def _wrong_model(model: str, engine: EngineFacts) -> Optional[tuple[str, str]]:
    """Say what is wrong with a model's name, and the fix."""
    if not engine.model and (model in MODELS or (is_repository(model) and not is_folder(model))):
        return None
    try:
        path = Path(model).expanduser()
        is_there = path.is_file() if engine.model and not engine.is_folder else bool(model) and path.is_dir()
    except PermissionError:
        return f"this user can't read {model}", "Give the service's user read access to it"
    except (OSError, ValueError, RuntimeError):  # too long, a NUL in it, or a user who does not exist
        is_there = False
    if is_there:
        return None
    if engine.model:
        return f"{model[:60]!r} is not {engine.model}", "Write the path of one on this host"
    if is_folder(model):
        return f"there is no folder {model}", "Correct the path, or write a model name such as base"
    return f"there is no model {model[:60]!r}", model_hint(model)
