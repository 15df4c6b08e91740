"""Imports an engine by its name in the settings. Only that engine's libraries are imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from typing_extensions import TypeAlias

    from workerproc.engine.port import Engine

# (model_path, device, compute_type, threads, step) -> a loaded model. Raises as `port.Engine` says.
MakeEngine: TypeAlias = "Callable[[str, str, str, int, Callable[[], None]], Engine]"


def importing(engine: str) -> MakeEngine:
    """Import an engine of `contract/engines.py`; return what loads a model with it. Raises ImportError."""
    if engine == "openai-whisper":
        from workerproc.engine.others import openai_whisper

        return openai_whisper.OpenaiWhisper
    if engine == "whisper.cpp":
        from workerproc.engine.others import whisper_cpp

        return whisper_cpp.WhisperCpp
    from workerproc.engine.whisper import recogniser

    return recogniser.Recogniser
