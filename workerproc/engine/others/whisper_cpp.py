"""Runs whisper.cpp; the only file that imports its bindings (pywhispercpp).

The names are those of whisper.h. What the bindings don't report is read from whisper.cpp's log while a model
is loaded: for a file that is no model they return a context like any other, which crashes when it is used.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Callable

import _pywhispercpp as native
import numpy as np

from workerproc.audio.pcm_file import RATE_HZ, Samples
from workerproc.engine.others.windowed import WindowedEngine, WindowRequest, WindowText
from workerproc.process import errors
from workerproc.transcripts.transcript import Segment

_ERROR = 4  # GGML_LOG_LEVEL_ERROR
_TICKS_A_SECOND = 100  # of a segment's times
_SHORTEST = RATE_HZ // 5  # samples; whisper.cpp skips what is shorter than 0.1 s
# Vocabulary of the English-only models, and what multilingual ones have beside their languages.
# Source: whisper.cpp 1.8, src/whisper.cpp, `is_multilingual` and `num_languages`.
_ENGLISH_TOKENS, _OTHER_TOKENS = 51_864, 51_766


class WhisperCpp(WindowedEngine):
    """A ggml file of whisper.cpp, on the CPU."""

    name = "whisper.cpp"
    libraries = ("pywhispercpp",)
    compute_type = "ggml"  # as the file has it

    def __init__(
        self, model_path: str, device: str, compute_type: str, threads: int, step: Callable[[], None]
    ) -> None:
        """Load a file. `device` and `compute_type` are not used. Raises as `port.Engine` says."""
        super().__init__(step)
        self._threads = threads
        try:
            self._context = _loaded(model_path)
        except Exception as error:
            raise errors.at_start(error, model_path) from error

    @property
    def languages(self) -> Sequence[str]:
        tokens = native.whisper_n_vocab(self._context)
        if tokens <= _ENGLISH_TOKENS:
            return ("en",)
        return tuple(native.whisper_lang_str(n) for n in range(tokens - _OTHER_TOKENS))

    def language_of(self, samples: Samples) -> str:
        parameters = _parameters(self._threads)
        parameters.detect_language = True  # and end there
        self._compute(parameters, samples)
        return str(native.whisper_lang_str(native.whisper_full_lang_id(self._context)))

    def hear(self, request: WindowRequest) -> WindowText:
        self._compute(self._parameters_of(request), request.samples)
        segments = [one for one in self._found_segments() if one.text.strip()]
        if not request.options.condition_on_previous_text:
            return WindowText(segments)
        most = native.whisper_n_text_ctx(self._context) // 2 - 1
        return WindowText(segments, (*request.tokens, *self._text_tokens())[-most:])

    def _compute(self, parameters: Any, samples: Samples) -> None:
        samples = np.pad(samples, (0, max(0, _SHORTEST - len(samples))))
        failure = native.whisper_full(self._context, parameters, samples, len(samples))
        if failure:
            raise RuntimeError(f"whisper.cpp could not compute a window: {failure}")

    def _parameters_of(self, request: WindowRequest) -> Any:
        options, ladder = request.options, request.options.temperature
        found = _parameters(self._threads)
        found.language = request.language
        found.translate = options.task == "translate"
        found.temperature = ladder[0]
        found.temperature_inc = ladder[1] - ladder[0] if len(ladder) > 1 else 0.0
        if request.is_first and options.initial_prompt:
            found.initial_prompt = options.initial_prompt.strip()
        elif request.tokens:
            found.set_prompt_tokens(list(request.tokens))
        return found

    def _found_segments(self) -> Iterator[Segment]:
        for n in range(native.whisper_full_n_segments(self._context)):
            text = native.whisper_full_get_segment_text(self._context, n).decode("utf-8", "replace")
            begin = native.whisper_full_get_segment_t0(self._context, n)
            end = native.whisper_full_get_segment_t1(self._context, n)
            yield Segment(
                0,  # numbered by the caller
                begin / _TICKS_A_SECOND,
                end / _TICKS_A_SECOND,
                text,
                avg_logprob=self._log_probability(n),
                compression_ratio=len(text.encode()) / max(1, len(zlib.compress(text.encode()))),
            )

    def _log_probability(self, segment: int) -> float:
        found = [
            native.whisper_full_get_token_p(self._context, segment, n)
            for n in range(native.whisper_full_n_tokens(self._context, segment))
        ]
        return sum(math.log(max(one, 1e-10)) for one in found) / len(found) if found else 0.0

    def _text_tokens(self) -> Iterator[int]:
        end_of_text = native.whisper_token_eot(self._context)
        for segment in range(native.whisper_full_n_segments(self._context)):
            for n in range(native.whisper_full_n_tokens(self._context, segment)):
                token = native.whisper_full_get_token_id(self._context, segment, n)
                if token < end_of_text:
                    yield token


def _loaded(model_path: str) -> Any:
    if not Path(model_path).is_file():
        raise FileNotFoundError(f"there is no file {model_path}")
    wrong: list[str] = []

    def note(level: int, text: str) -> None:
        if level == _ERROR:
            wrong.append(text.strip())

    parameters = native.whisper_context_default_params()
    parameters.use_gpu = False
    native.whisper_log_set(note)
    try:
        context = native.whisper_init_from_file_with_params(model_path, parameters)
    finally:
        native.whisper_log_set(None)  # a callback must not outlive the interpreter
    if wrong:
        raise RuntimeError("; ".join(wrong))
    return context


def _parameters(threads: int) -> Any:
    # Beams are drawn with one random number generator for all calls, which the bindings can't seed.
    found = native.whisper_full_default_params(native.whisper_sampling_strategy.WHISPER_SAMPLING_GREEDY)
    found.n_threads = threads
    found.print_progress = found.print_timestamps = False
    found.no_context = True  # the text before a window is given, not remembered
    return found
