"""Base of engines that get the samples of one window and return its segments.

Voice detection is that of faster-whisper; windows of speech without silence are packed at pauses
(`packing.py`). Each window is one call through the job's lane, alone. A resume point is the first frame of a
window and the tokens of the text before it, so checkpoints, parts and drains work as with faster-whisper.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Callable, Optional

import numpy as np

from supervisor.contract.engine import engines
from supervisor.contract.job_options import Options
from workerproc.audio.pcm_file import RATE_HZ, PcmFile, Samples
from workerproc.checkpoints.checkpoint import ResumePoint
from workerproc.checkpoints.split_points import Stretch
from workerproc.checkpoints.vad_cache import VadCache
from workerproc.engine import detection
from workerproc.engine.batch import Lane
from workerproc.engine.others import packing
from workerproc.engine.port import Prepared, Run
from workerproc.engine.vad import STRETCH_S, Speech
from workerproc.process import errors
from workerproc.transcripts.transcript import Segment, Word

WINDOW_S = 30
_RULES = "1"  # changes with everything here that can change a text: part of a checkpoint's identity
_LIBRARIES = ("faster-whisper", "onnxruntime", "av")  # of voice detection and decoding


@dataclass(frozen=True)
class WindowRequest:
    """What an engine gets for one window."""

    samples: Samples  # float32, 16 kHz, at most `WINDOW_S`
    options: Options
    language: str
    tokens: tuple[int, ...] = ()  # of the text before; in a first window of none
    is_first: bool = True  # of the recording or part


@dataclass(frozen=True)
class WindowText:
    """What an engine heard in one window. Times are seconds from the window's begin."""

    segments: Sequence[Segment]
    tokens: tuple[int, ...] = ()  # of the text that the next window is conditioned on


class WindowedEngine(abc.ABC):
    """A loaded model that hears one window at a time; see `port.Engine`, which it follows."""

    name: str  # in `engines.ENGINES`
    libraries: tuple[str, ...]  # distributions whose versions determine the text
    compute_type: str

    def __init__(self, step: Callable[[], None]) -> None:
        """`step` is called after each call; an exception from it ends the job."""
        self._step = step

    @abc.abstractmethod
    def hear(self, request: WindowRequest) -> WindowText:
        """Transcribe a window. In the main thread."""

    @abc.abstractmethod
    def language_of(self, samples: Samples) -> str:
        """Detect the language of a window. In the main thread."""

    @property
    @abc.abstractmethod
    def languages(self) -> Sequence[str]:
        """The languages that the model knows."""

    # --- the port

    @property
    def native(self) -> WindowedEngine:
        return self

    def make(self, kind: str, requests: Sequence[Any]) -> list[Any]:
        """Make the calls of a group one by one."""
        call: Callable[[Any], Any] = self.hear if kind == "window" else self.language_of
        return [call(request) for request in requests]

    def warm_up(self) -> None:
        try:
            detection.try_out(np.zeros(RATE_HZ, dtype=np.float32))
            options = Options(temperature=(0.0,), beam_size=1, condition_on_previous_text=False)
            self.hear(WindowRequest(np.zeros(RATE_HZ, dtype=np.float32), options, self.languages[0]))
        except Exception as error:
            raise errors.at_start(error, "the first window could not be computed") from error

    def identity(self) -> Mapping[str, str]:
        named = {name: metadata.version(name) for name in (*self.libraries, *_LIBRARIES)}
        return {"windows": _RULES, **named}

    def fit_languages(self, options: Options) -> Sequence[str]:
        return ()

    def warnings(self, options: Options) -> Iterable[str]:
        return ()

    @property
    def tokens_in(self) -> None:
        return None

    def unfit(self, options: Options) -> Optional[str]:
        for name, why in engines.lacking(self.name, options):
            return f"{name}: {why}"
        if options.language is not None and options.language not in self.languages:
            only = "supports English only" if self.languages == ("en",) else "does not know it"
            return f"language: the model {only}, not {options.language}"
        if options.task == "translate" and self.languages == ("en",):
            return "task: the model supports English only and can't translate"
        return None

    def prepare(
        self,
        pcm_file: PcmFile,
        options: Options,
        lane: Lane,
        language: Optional[str] = None,
        reach: Optional[Callable[[float], None]] = None,
    ) -> Prepared:
        passed_s = 0.0

        def advance() -> None:
            nonlocal passed_s
            passed_s = min(passed_s + STRETCH_S, pcm_file.length_s)
            reach(passed_s) if reach is not None else self._step()

        stretches, pauses, warnings = detection.detected(pcm_file, options, advance)
        if language is None:
            language = options.language or self._language(pcm_file, stretches or [], pauses, lane)
        return Prepared(pcm_file, options, stretches, pauses, language, warnings)

    def prepare_with(self, pcm_file: PcmFile, options: Options, known: VadCache) -> Prepared:
        return Prepared(pcm_file, options, known.stretches, known.pauses, known.language, known.warnings)

    def run(
        self,
        prepared: Prepared,
        part: Optional[list[Stretch]],
        lane: Lane,
        mark: Optional[ResumePoint] = None,
        at_mark: Callable[[ResumePoint], None] = lambda mark: None,
    ) -> Run:
        stretches = (prepared.stretches if part is None else part) or []
        mark = dataclasses.replace(mark or ResumePoint(), language=prepared.language)
        run = Run(prepared.language, iter(()), mark, mark.segments)
        run.segments = self._segments(run, prepared, stretches, lane, at_mark)
        return run

    # --- windows

    def _segments(
        self,
        run: Run,
        prepared: Prepared,
        stretches: Sequence[Stretch],
        lane: Lane,
        at_mark: Callable[[ResumePoint], None],
    ) -> Iterator[Segment]:
        speech, tokens = Speech(prepared.pcm_file, stretches), run.mark.tokens
        for begin, end in packing.windows(stretches, prepared.pauses, WINDOW_S * RATE_HZ):
            frame = begin // packing.FRAME
            if frame < run.mark.seek:
                continue
            run.mark = dataclasses.replace(run.mark, seek=frame, tokens=tokens, segments=run.given)
            at_mark(run.mark)
            samples, is_first = speech.read(begin, end), not begin
            heard = self._heard(
                lane, WindowRequest(samples, prepared.options, prepared.language, tokens, is_first)
            )
            run.windows["full"] += 1
            tokens = heard.tokens
            for segment in heard.segments:
                run.given += 1
                yield _placed(segment, run.given, begin, end, speech)
        run.mark = dataclasses.replace(run.mark, seek=len(speech) // packing.FRAME, segments=run.given)

    def _heard(self, lane: Lane, request: WindowRequest) -> WindowText:
        heard: WindowText = lane.call("window", None, request)
        self._step()
        return heard

    def _language(
        self, pcm_file: PcmFile, stretches: Sequence[Stretch], pauses: Sequence[Stretch], lane: Lane
    ) -> str:
        if len(self.languages) == 1 or not stretches:
            return self.languages[0]
        begin, end = packing.windows(stretches, pauses, WINDOW_S * RATE_HZ)[0]
        language = str(lane.call("detect_language", None, Speech(pcm_file, stretches).read(begin, end)))
        self._step()
        return language


def _placed(segment: Segment, number: int, begin: int, end: int, speech: Speech) -> Segment:
    """Move a segment from its window to its place in the recording."""

    def at_s(time_s: float, is_end: bool) -> float:
        sample = min(max(begin + round(time_s * RATE_HZ), begin), end)
        return round(speech.origin(sample, is_end) / RATE_HZ, 3)

    words = tuple(
        Word(at_s(word.start_s, False), at_s(word.end_s, True), word.text, word.probability)
        for word in segment.words
    )
    start_s, end_s = at_s(segment.start_s, False), at_s(segment.end_s, True)
    return dataclasses.replace(segment, id=number, start_s=start_s, end_s=max(start_s, end_s), words=words)
