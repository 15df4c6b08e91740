"""What one job adds to faster-whisper's way through a recording: where it stands, window by window.

`Marking` stands before `faster_whisper.WhisperModel` in a class of `recogniser.py`, the only file that
imports that. faster-whisper calls each of these methods once a window.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Callable

from workerproc.checkpoints.checkpoint import ResumePoint
from workerproc.engine.features import LogMel
from workerproc.process.errors import JobPutDown

# Less than half of the slowest speech: a window with fewer tokens a second has lost text.
_SPARSE_TOKENS_A_SECOND = 1.2
_SPARSE_WINDOW_S = 10.0  # a shorter one may hold a single word
_FRAMES_A_SECOND = 100


class Marking:
    """Keeps the mark of the window that is being worked on."""

    mark: ResumePoint
    seek: int
    last_speech_s: float
    at_mark: Callable[[], None]
    history_most: int  # tokens of earlier text that a window may be prompted with
    window_s: float = 0.0  # of audio in the window
    sparse_s: float = 0.0  # of audio in windows that gave almost no text

    def encode(self, features: Any) -> Any:
        """As the base does. An order to put the job down waits for the window's mark, which comes next."""
        try:
            return super().encode(features)  # type: ignore[misc]
        except JobPutDown:
            return None

    def get_prompt(self, tokenizer: Any, previous_tokens: list[int], **rest: Any) -> Any:
        """Called when all that comes before the window is known; earlier text gives way to hotwords."""
        tokens = tuple(previous_tokens[-(self.max_length // 2 - 1) :])  # type: ignore[attr-defined]
        self.mark = dataclasses.replace(
            self.mark, seek=self.seek, tokens=tokens, last_speech_s=self.last_speech_s
        )
        self.at_mark()
        kept = previous_tokens[max(0, len(previous_tokens) - self.history_most) :]
        return super().get_prompt(tokenizer, kept, **rest)  # type: ignore[misc]

    def generate_with_fallback(self, *arguments: Any) -> Any:
        """As the base does; counts the seconds that gave almost no text."""
        result = super().generate_with_fallback(*arguments)  # type: ignore[misc]
        tokens = len(result[0].sequences_ids[0])
        if self.window_s >= _SPARSE_WINDOW_S and tokens < self.window_s * _SPARSE_TOKENS_A_SECOND:
            self.sparse_s += self.window_s
        return result


class Windows:
    """The features as `generate_segments` asks for them: a slice for each window."""

    def __init__(self, features: LogMel, model: Marking) -> None:
        self.shape = features.shape
        self._features = features
        self._model = model

    def __getitem__(self, key: tuple[Any, slice]) -> Any:
        window = key[1]
        self._model.seek = window.start
        self._model.window_s = (window.stop - window.start) / _FRAMES_A_SECOND
        return self._features[key]
