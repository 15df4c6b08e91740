"""The engine: the only file that imports faster_whisper, and what we rely on in it.

One `Recogniser` is one loaded model on one device. Its text equals a direct
`WhisperModel.transcribe` with the same options, threads and interpreter: nothing is
done differently, only watched. The watching is two thin wrappers that call `step` after each native
call (encode, generate, a stretch of voice detection), because these are what takes time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Callable, Optional

import faster_whisper
import faster_whisper.vad
import numpy as np

from supervisor.contract.messages import Failure
from workerproc import errors
from workerproc.audio import RATE_HZ, Samples
from workerproc.transcript import Segment

Step = Callable[[], None]

WINDOW_S = 30
MIN_SILENCE_MS = 500  # REM's
_WATCHED = frozenset({"encode", "generate", "detect_language", "align", "run"})


@dataclass(frozen=True)
class Options:
    """What decides the text, beside model, threads and interpreter. Profile `rem`."""

    beam_size: int = 5
    language: Optional[str] = None  # None: detected
    vad_filter: bool = True
    min_silence_duration_ms: int = MIN_SILENCE_MS
    condition_on_previous_text: bool = True


@dataclass(frozen=True)
class Run:
    """One recording in the engine: the language is known, the segments come as they are made."""

    language: Optional[str]
    segments: Iterator[Segment]


class Recogniser:
    """A loaded model."""

    def __init__(self, model_path: str, device: str, compute_type: str, threads: int, step: Step) -> None:
        """Load a model folder. Raises `ModelBroken` or `DeviceBroken`, never asks the network."""
        try:
            model = faster_whisper.WhisperModel(
                model_path,
                device=device,
                compute_type=compute_type,
                cpu_threads=threads,
                num_workers=1,
                local_files_only=True,
            )
        except Exception as error:
            raise _ours(error, f"{model_path} on {device} as {compute_type}") from error
        self.compute_type = str(model.model.compute_type)
        model.model = _Watched(model.model, step)
        _watch_voice_detection(step)
        self._model: Any = model

    def warm_up(self) -> None:
        """Compute one silent window: loading proves little, computing proves the libraries.

        Raises as loading does.
        """
        silence = np.zeros(WINDOW_S * RATE_HZ, dtype=np.float32)
        try:
            faster_whisper.vad.get_speech_timestamps(silence[:RATE_HZ])
            segments, _ = self._model.transcribe(silence, language="en", temperature=0.0)
            for _ in segments:
                pass
        except Exception as error:
            raise _ours(error, "the first window could not be computed") from error

    def transcribe(self, samples: Samples, options: Options) -> Run:
        """Begin a recording; the work is done while the segments are taken."""
        segments, info = self._model.transcribe(
            samples,
            language=options.language,
            beam_size=options.beam_size,
            vad_filter=options.vad_filter,
            vad_parameters={"min_silence_duration_ms": options.min_silence_duration_ms},
            condition_on_previous_text=options.condition_on_previous_text,
        )
        return Run(info.language, (Segment(s.id, s.start, s.end, s.text) for s in segments))


def known_models() -> dict[str, str]:
    """Give the hub repository of each model name that faster-whisper knows."""
    from faster_whisper.utils import _MODELS

    return dict(_MODELS)


def versions() -> dict[str, str]:
    """Name the engine: its parts decide the text."""
    return {name: metadata.version(name) for name in ("faster-whisper", "ctranslate2", "onnxruntime", "av")}


class _Watched:
    """Stands before a native object and counts the calls that take time."""

    def __init__(self, native: Any, step: Step) -> None:
        self._native = native
        self._step = step

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._native, name)
        if name not in _WATCHED:
            return value

        def counted(*args: Any, **kwargs: Any) -> Any:
            result = value(*args, **kwargs)
            self._step()
            return result

        return counted


def _watch_voice_detection(step: Step) -> None:
    """Count each stretch (some five minutes) that voice detection goes through."""
    detector = faster_whisper.vad.get_vad_model()
    if not isinstance(detector.session, _Watched):
        detector.session = _Watched(detector.session, step)


def _ours(error: Exception, where: str) -> Exception:
    """Turn what loading or warming up raised into the error that says who can cure it."""
    text = f"{where}: {errors.sentence(error)}"
    if isinstance(error, errors.JobStopped):
        return error
    if errors.classify(error) is Failure.SICK_DEVICE:
        return errors.DeviceBroken(text)
    return errors.ModelBroken(text)
