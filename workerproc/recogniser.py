"""The engine: the only file that imports faster_whisper, and what we rely on in it.

One `Recogniser` is one loaded model on one device. Its text equals a direct
`WhisperModel.transcribe` with the same options, threads and interpreter: each job runs
that very function, on an object of its own that shares the model; only the native calls
(`native.py`) are made elsewhere, maybe together with other jobs'. After each of them, and after each
stretch of voice detection, `step` is called, because these are what takes time.
"""

from __future__ import annotations

import copy
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
from workerproc.batch import Lane
from workerproc.native import JobModel, Native
from workerproc.transcript import Segment

Step = Callable[[], None]

WINDOW_S = 30
MIN_SILENCE_MS = 500  # REM's
PROFILES = ("rem", "fast")


@dataclass(frozen=True)
class Options:
    """What decides the text, beside model, threads and interpreter. The defaults are profile `rem`."""

    beam_size: int = 5
    language: Optional[str] = None  # None: detected
    vad_filter: bool = True
    min_silence_duration_ms: int = MIN_SILENCE_MS
    condition_on_previous_text: bool = True

    @property
    def is_alone(self) -> bool:
        """True where a window needs the text before it: prompts differ in length, so no call is shared."""
        return self.condition_on_previous_text


def options_of(profile: str, beam_size: int, language: Optional[str]) -> Options:
    """Give a profile's options: `rem` is REM's own, `fast` the same without conditioning on earlier text."""
    return Options(beam_size, language, condition_on_previous_text=profile != "fast")


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
        self.native = Native(model.model)
        self._model: Any = model
        self._step = step
        # One call takes prompts with this token, or prompts without it.
        self._no_timestamps = model.hf_tokenizer.token_to_id("<|notimestamps|>")
        _watch_voice_detection(step)

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

    def transcribe(self, samples: Samples, options: Options, lane: Lane) -> Run:
        """Begin a recording; the work is done while the segments are taken, in calls through `lane`."""
        model = copy.copy(self._model)
        model.model = JobModel(
            self._model.model, lane, self._step, self._no_timestamps, is_alone=options.is_alone
        )
        segments, info = model.transcribe(
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


class _WatchedSession:
    """Stands before the voice detector's session and counts its runs."""

    def __init__(self, session: Any, step: Step) -> None:
        self._session = session
        self._step = step

    def run(self, *args: Any, **kwargs: Any) -> Any:
        result = self._session.run(*args, **kwargs)
        self._step()
        return result


def _watch_voice_detection(step: Step) -> None:
    """Count each stretch (some five minutes) that voice detection goes through."""
    detector = faster_whisper.vad.get_vad_model()
    session = detector.session
    detector.session = _WatchedSession(getattr(session, "_session", session), step)


def _ours(error: Exception, where: str) -> Exception:
    """Turn what loading or warming up raised into the error that says who can cure it."""
    text = f"{where}: {errors.sentence(error)}"
    if isinstance(error, errors.JobStopped):
        return error
    if errors.classify(error) is Failure.SICK_DEVICE:
        return errors.DeviceBroken(text)
    return errors.ModelBroken(text)
