"""Runs faster-whisper; only this file and `detection.py` import it.

A `Recogniser` is a loaded model on one device. Its text equals that of `WhisperModel.transcribe` with the
same options, threads and interpreter. The steps of that function (voice detection, features, language,
windows, timestamps) run separately here, each with faster-whisper's code, on one object per job; the objects
share the model. Samples and features are read in pieces (`pcm_file.py`, `features.py`), native calls are
batched with those of other jobs (`native.py`), and a transcription can be resumed at any window
(`ResumePoint`). `step` is called after everything that takes time.
"""

from __future__ import annotations

import collections
import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any, Callable, NamedTuple, Optional

import ctranslate2
import faster_whisper
import faster_whisper.tokenizer
import faster_whisper.transcribe
import numpy as np

from supervisor.contract.job_options import Options
from workerproc.audio.pcm_file import RATE_HZ, PcmFile
from workerproc.checkpoints.checkpoint import ResumePoint
from workerproc.checkpoints.split_points import Stretch
from workerproc.checkpoints.vad_cache import VadCache
from workerproc.engine import detection
from workerproc.engine.batch import Lane
from workerproc.engine.port import Prepared, Run
from workerproc.engine.vad import STRETCH_S, Speech
from workerproc.engine.whisper import fit_encoding, fit_windows, native, prompts
from workerproc.engine.whisper.features import BLOCK_S, LogMel
from workerproc.engine.whisper.fit_encoding import Fit, FitEncoding
from workerproc.engine.whisper.native import JobModel, Native
from workerproc.engine.whisper.run import converted
from workerproc.engine.whisper.window_marks import Marking, Windows
from workerproc.process import errors

Step = Callable[[], None]

LIBRARIES = ("faster-whisper", "ctranslate2", "onnxruntime", "av")
WINDOW_S = 30
# faster-whisper's defaults, for options that are not set here.
_DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(faster_whisper.WhisperModel.transcribe).parameters.items()
}
_FIELDS = [field.name for field in dataclasses.fields(faster_whisper.transcribe.TranscriptionOptions)]


class _Own(NamedTuple):
    """What is kept of a recording between `prepare` and `run`."""

    features: LogMel
    encoded: Any = None  # encoder output of a first window that is fit, if the language was detected from it


class Recogniser:
    """A loaded model."""

    def __init__(self, model_path: str, device: str, compute_type: str, threads: int, step: Step) -> None:
        """Load a model folder. Raises `ModelBroken`, `DeviceBroken`, `MemoryLacking`. No network access."""
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
            raise errors.at_start(error, f"{model_path} on {device} as {compute_type}") from error
        self.compute_type = str(model.model.compute_type)
        self.native = Native(model.model)
        self._model: Any = model
        self._step = step
        # Prompts with this token are not batched with prompts without it.
        self._no_timestamps = model.hf_tokenizer.token_to_id("<|notimestamps|>")
        self._step_s = fit_windows.CPU_STEP_S if device == "cpu" else fit_windows.GPU_STEP_S
        self._fit: Optional[Fit] = None

    def warm_up(self) -> None:
        """Transcribe one window, since some libraries fail only when they compute.

        Its encoder output is kept: fit windows are completed with it. Raises as `__init__` does.
        """
        encoded: list[Any] = []

        def encode(features: Any) -> Any:
            storage = faster_whisper.transcribe.get_ctranslate2_storage(features[None])
            encoded.append(self._model.model.encode(storage, to_cpu=True))
            return encoded[0]

        model = faster_whisper.WhisperModel.__new__(faster_whisper.WhisperModel)
        model.__dict__.update(self._model.__dict__, encode=encode)
        speech = fit_encoding.speech()
        try:
            detection.try_out(speech[:RATE_HZ])
            segments, _ = model.transcribe(speech, language="en", temperature=0.0)
            for _ in segments:
                pass
        except Exception as error:
            raise errors.at_start(error, "the first window could not be computed") from error
        if "bfloat16" not in self.compute_type:  # which NumPy does not have
            self._fit = Fit(np.asarray(encoded[0]), self._step_s)

    def fit_languages(self, options: Options) -> Sequence[str]:
        """Return the languages whose windows are fit with these options; `*`: all."""
        # Sampled words do not show their doubt, and a sound without speech may pass for speech.
        if self._fit is None or options.temperature[0] > 0 or not options.vad_filter:
            return ()
        return fit_windows.languages(options.window, self._fit.width, self._model.model.is_multilingual)

    def prompts(self, options: Options) -> prompts.Prompts:
        """Count the tokens of the job's prompt texts."""

        def tokens_in(text: str) -> int:
            return len(self._model.hf_tokenizer.encode(text, add_special_tokens=False).ids)

        return prompts.measured(options, tokens_in, self._model.max_length)

    def warnings(self, options: Options) -> Iterator[str]:
        """Yield a warning for each prompt text that is not fully used."""
        return self.prompts(options).warnings()

    @property
    def tokens_in(self) -> Callable[[Sequence[Any]], int]:
        """Counts the tokens in the answers of a generate call."""
        return native.tokens_in

    def identity(self) -> dict[str, str]:
        """Return the versions of the libraries, and of the fit windows' rules, that determine the text."""
        named = {name: metadata.version(name) for name in LIBRARIES}
        return {**named, "fit_windows": fit_windows.RULES}

    def unfit(self, options: Options) -> Optional[str]:
        """Name the option that this model does not support, and why; None where it supports all."""
        model = self._model
        if not model.model.is_multilingual:
            if options.language not in (None, "en"):
                return f"language: the model supports English only, not {options.language}"
            if options.task == "translate":
                return "task: the model supports English only and can't translate"
        elif options.language and model.hf_tokenizer.token_to_id(f"<|{options.language}|>") is None:
            return f"language: {options.language} is not known to the model"
        return self.prompts(options).problem()

    def transcribe(
        self,
        pcm_file: PcmFile,
        options: Options,
        lane: Lane,
        mark: Optional[ResumePoint] = None,
        at_mark: Callable[[ResumePoint], None] = lambda mark: None,
    ) -> Run:
        """Start or resume a recording: `prepare` and `run` in one call."""
        prepared = self.prepare(pcm_file, options, lane, mark.language if mark else None)
        return self.run(prepared, prepared.stretches, lane, mark, at_mark)

    def prepare(
        self,
        pcm_file: PcmFile,
        options: Options,
        lane: Lane,
        language: Optional[str] = None,
        reach: Optional[Callable[[float], None]] = None,
    ) -> Prepared:
        """Detect speech, find the features' maximum and, unless given, detect the language.

        Reads the PCM file twice. `reach`, if given, is called instead of `step` with the seconds done; each
        pass counts half.
        """
        passed_s = 0.0

        def advance(by_s: float) -> None:
            nonlocal passed_s
            passed_s = min(passed_s + by_s / 2, pcm_file.length_s)
            reach(passed_s) if reach is not None else self._step()

        stretches, pauses, warnings = detection.detected(pcm_file, options, lambda: advance(STRETCH_S))
        waveform = pcm_file if stretches is None else Speech(pcm_file, stretches)
        features = LogMel(self._model.feature_extractor, waveform, lambda: advance(BLOCK_S))
        encoded = None
        if language is None:
            language, encoded = self._language(
                self._job_model(lane, options, ResumePoint()), features, options
            )
        own = _Own(features, encoded)
        return Prepared(pcm_file, options, stretches, pauses, language, warnings, features.floor, own)

    def prepare_with(self, pcm_file: PcmFile, options: Options, known: VadCache) -> Prepared:
        """Do the same as `prepare`, with the cached voice detection of another worker."""
        waveform = Speech(pcm_file, known.stretches)
        features = LogMel(self._model.feature_extractor, waveform, self._step, known.floor)
        found = (known.stretches, known.pauses, known.language, known.warnings, known.floor)
        return Prepared(pcm_file, options, *found, _Own(features))

    def run(
        self,
        prepared: Prepared,
        part: Optional[list[Stretch]],
        lane: Lane,
        mark: Optional[ResumePoint] = None,
        at_mark: Callable[[ResumePoint], None] = lambda mark: None,
    ) -> Run:
        """Start or resume the windows of a recording (`part`: all its stretches of speech) or of a part.

        The work is done while the segments are iterated. `at_mark` is called before each window with its
        resume point; an exception that it raises ends the run. Raises `AudioRejected` for an option that
        this model does not support.
        """
        options, own = prepared.options, prepared.own
        features = own.features
        if part is not None and part is not prepared.stretches:
            speech = Speech(prepared.pcm_file, part)
            features = LogMel(self._model.feature_extractor, speech, self._step, features.floor)
        mark = dataclasses.replace(mark or ResumePoint(), language=prepared.language)
        model = self._job_model(lane, options, mark)
        model.history_most = self.prompts(options).history
        ends: Sequence[int] = ()
        if fit_windows.is_fit(prepared.language, self.fit_languages(options)):
            ends = fit_windows.ends(part or (), prepared.pauses)
            model.fit = self._fit
            model.known = own.encoded if features is own.features else None
        tokenizer = self._tokenizer(options.task, prepared.language)
        windows = Windows(features, model)
        segments = model.generate_segments(
            windows, tokenizer, _transcription_options(options, tokenizer, mark, ends), False
        )
        if part:
            segments = faster_whisper.transcribe.restore_speech_timestamps(segments, part, RATE_HZ)
        run = Run(prepared.language, iter(()), mark, mark.segments, windows=model.windows)

        def note() -> None:
            # All segments so far belong to earlier windows.
            run.mark = dataclasses.replace(model.mark, segments=run.given)
            run.sparse_s = model.sparse_s
            at_mark(run.mark)

        model.at_mark = note
        run.segments = converted(run, segments, model)
        return run

    def _job_model(self, lane: Lane, options: Options, mark: ResumePoint) -> _Marking:
        model = JobModel(
            self._model.model,
            lane,
            self._step,
            self._no_timestamps,
            is_alone=options.is_alone,
            is_on_host=not options.is_alone or bool(self.fit_languages(options)),
        )
        return _Marking.of(self._model, model, mark)

    def _language(self, model: _Marking, features: LogMel, options: Options) -> tuple[str, Any]:
        """Return the language, and the encoder output of the first window if that is fit and was enough."""
        if not self._model.model.is_multilingual:
            return "en", None
        if options.language is not None:
            return options.language, None
        most = model.feature_extractor.nb_max_frames
        audio_frames = min(features.shape[1] - 1, most)  # as `generate_segments` reads the first window
        frames = fit_windows.frames(audio_frames, self._step_s) if self.fit_languages(options) else None
        if frames is not None:
            short = model.encode_short(features[:, :audio_frames], frames)
            token, probability = model.model.detect_language(ctranslate2.StorageView.from_array(short))[0][0]
            if probability >= fit_windows.MIN_LANGUAGE_PROBABILITY:
                return token[2:-2], short  # <|en|>
        language, _, _ = model.detect_language(features=features[:, :most])
        return str(language), None

    def _tokenizer(self, task: str, language: str) -> Any:
        multilingual = self._model.model.is_multilingual
        try:
            return faster_whisper.tokenizer.Tokenizer(
                self._model.hf_tokenizer, multilingual, task=task, language=language
            )
        except ValueError as error:
            raise errors.AudioRejected(
                f"options.language: {language[:20]!r} is not known to the model"
            ) from error


class _Marking(Marking, FitEncoding, faster_whisper.WhisperModel):  # type: ignore[misc]  # faster_whisper is untyped
    """One job's view of the model, which keeps the resume point of the current window."""

    @classmethod
    def of(cls, model: Any, native: JobModel, mark: ResumePoint) -> _Marking:
        marking = cls.__new__(cls)
        marking.__dict__.update(model.__dict__)
        marking.model = native
        marking.windows = collections.Counter()
        marking.mark, marking.seek, marking.last_speech_s = mark, mark.seek, mark.last_speech_s
        return marking

    def add_word_timestamps(self, segments: Any, *rest: Any, last_speech_timestamp: float) -> Any:
        result = super().add_word_timestamps(
            segments, *rest, last_speech_timestamp=max(last_speech_timestamp, self.last_speech_s)
        )
        end_s = faster_whisper.transcribe.get_end(segments[0])
        self.last_speech_s = self.last_speech_s if end_s is None else end_s
        return result


def _transcription_options(options: Options, tokenizer: Any, mark: ResumePoint, ends: Sequence[int]) -> Any:
    """Build faster-whisper's options as `WhisperModel.transcribe` would, from a resume point.

    `ends`: frames at which a window ends.
    """
    begins = [mark.seek, *(frame for frame in ends for _ in range(2) if frame > mark.seek)]
    named = {
        "beam_size": options.beam_size,
        "temperatures": list(options.temperature),
        "condition_on_previous_text": options.condition_on_previous_text,
        "word_timestamps": options.word_timestamps,
        "hotwords": options.hotwords or None,
        "initial_prompt": options.initial_prompt or None,
        "suppress_tokens": faster_whisper.transcribe.get_suppressed_tokens(
            tokenizer, list(_DEFAULTS["suppress_tokens"])
        ),
        "clip_timestamps": [frame / fit_windows.FRAMES_A_SECOND for frame in begins],
    }
    if mark.seek:
        named["initial_prompt"] = list(mark.tokens) or None
    return faster_whisper.transcribe.TranscriptionOptions(
        **{name: named[name] if name in named else _DEFAULTS[name] for name in _FIELDS}
    )
