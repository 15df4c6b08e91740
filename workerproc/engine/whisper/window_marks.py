"""Records the resume point of each window while faster-whisper transcribes a recording.

`Marking` is a mixin for `faster_whisper.WhisperModel`; they are combined in `recogniser.py`, the only file
here that imports faster_whisper. It calls each of these methods once per window.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Callable

from workerproc.checkpoints.checkpoint import ResumePoint
from workerproc.engine.whisper.features import LogMel
from workerproc.process.errors import JobPutDown

# Less than half of the slowest speech: a window with fewer tokens per second has lost text.
_SPARSE_TOKENS_A_SECOND = 1.2
_SPARSE_WINDOW_S = 10.0  # a shorter window may contain a single word
_FRAMES_A_SECOND = 100


class Marking:
    """Keeps the resume point of the current window."""

    mark: ResumePoint
    seek: int
    last_speech_s: float
    at_mark: Callable[[], None]
    history_most: int  # tokens of previous text in the prompt
    audio_frames: int  # in the current window
    sparse_s: float = 0.0  # of audio in windows with almost no text

    def encode(self, features: Any) -> Any:
        """Call the base class. `JobPutDown` is deferred to `at_mark`, which is called next."""
        try:
            return super().encode(features)  # type: ignore[misc]
        except JobPutDown:
            return None

    def get_prompt(self, tokenizer: Any, previous_tokens: list[int], **rest: Any) -> Any:
        """Record the resume point; shorten previous text to make room for hotwords."""
        tokens = tuple(previous_tokens[-(self.max_length // 2 - 1) :])  # type: ignore[attr-defined]
        self.mark = dataclasses.replace(
            self.mark, seek=self.seek, tokens=tokens, last_speech_s=self.last_speech_s
        )
        self.at_mark()
        kept = previous_tokens[max(0, len(previous_tokens) - self.history_most) :]
        return super().get_prompt(tokenizer, kept, **rest)  # type: ignore[misc]

    def generate_with_fallback(self, *arguments: Any) -> Any:
        """Call the base class; count the seconds with almost no text."""
        result = super().generate_with_fallback(*arguments)  # type: ignore[misc]
        tokens = len(result[0].sequences_ids[0])
        window_s = self.audio_frames / _FRAMES_A_SECOND
        if window_s >= _SPARSE_WINDOW_S and tokens < window_s * _SPARSE_TOKENS_A_SECOND:
            self.sparse_s += window_s
        return result


class Windows:
    """Features as sliced by `generate_segments`, once per window, whose position is recorded."""

    def __init__(self, features: LogMel, model: Marking) -> None:
        self.shape = features.shape
        self._features = features
        self._model = model

    def __getitem__(self, key: tuple[Any, slice]) -> Any:
        window = key[1]
        self._model.seek = window.start
        self._model.audio_frames = window.stop - window.start
        return self._features[key]
