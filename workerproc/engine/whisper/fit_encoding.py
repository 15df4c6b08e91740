"""Encodes fit windows (`fit_windows.py`) while faster-whisper transcribes a recording.

`FitEncoding` is a mixin for `faster_whisper.WhisperModel`, like `window_marks.Marking`. faster-whisper calls
its methods once per window, in the order in which they are defined here.
"""

from __future__ import annotations

import dataclasses
import wave
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import ctranslate2
import numpy as np
import numpy.typing as npt

import supervisor
from workerproc.audio.pcm_file import RATE_HZ, Samples
from workerproc.engine.whisper import fit_windows

_SPEECH_S = 2


@dataclass(frozen=True)
class Fit:
    """What the fit windows of a model need.

    `padding`: encoder output of a window that holds `speech` and padding, shape (1, 1500, width). Its last
    rows complete the output of a fit window. Padding after no speech at all makes decoders repeat themselves.
    """

    padding: npt.NDArray[Any]
    step_s: float  # between sizes of windows

    @property
    def width(self) -> int:
        """The width of the encoder's output."""
        return int(self.padding.shape[-1])

    def completed(self, short: npt.NDArray[Any]) -> Any:
        """Complete the encoder output of a fit window to that of 30 s."""
        rows = np.concatenate([short, self.padding[:, short.shape[1] :]], axis=1)
        return ctranslate2.StorageView.from_array(rows)


def speech() -> Samples:
    """Return the beginning of a recording that comes with the product: 2 s, 16 kHz, mono."""
    path = Path(supervisor.__file__).parent / "samples" / "harbour.wav"
    with wave.open(str(path), "rb") as file:
        samples = np.frombuffer(file.readframes(_SPEECH_S * RATE_HZ), dtype="<i2")
    return samples.astype(np.float32) / 32_768


class FitEncoding:
    """Encodes the part of a window that holds audio; all 30 s if the resulting text looks wrong.

    `windows` counts them: `full` and `fit`, and `redone_REASON` for those that were computed twice.
    """

    fit: Optional[Fit] = None  # None: all windows are full
    known: Optional[npt.NDArray[Any]] = None  # encoder output of the first window, from language detection
    seek: int = 0  # of the current window
    audio_frames: int = 0  # in the current window, without padding
    windows: Counter[str]
    _full: Any = None  # features of the current window, if it is fit
    _encoded: Any = None

    def encode(self, features: Any) -> Any:
        """Encode the window, or the part of it that holds audio."""
        frames = fit_windows.frames(self.audio_frames, self.fit.step_s) if self.fit is not None else None
        if self.fit is None or frames is None:
            self._full = None
            self._encoded = super().encode(features)  # type: ignore[misc]
            return self._encoded
        self._full = features
        short = self.known if not self.seek else None
        if short is None:
            short = self.encode_short(features, frames)
        self._encoded = self.fit.completed(short)
        return self._encoded

    def encode_short(self, features: Any, frames: int) -> npt.NDArray[Any]:
        """Encode the first `frames` of features, which are padded if there are fewer."""
        short = features[:, :frames]
        padded = np.pad(short, ((0, 0), (0, frames - short.shape[1])))
        return np.asarray(super().encode(padded))  # type: ignore[misc]

    def generate_with_fallback(self, encoded: Any, prompt: list[int], tokenizer: Any, options: Any) -> Any:
        """Call the base class; if the text of a fit window looks wrong, encode all 30 s and call it again."""
        if self._full is None:
            self.windows["full"] += 1
            return super().generate_with_fallback(encoded, prompt, tokenizer, options)  # type: ignore[misc]
        room = self.max_length - len(prompt)  # type: ignore[attr-defined]
        once = dataclasses.replace(
            options,
            temperatures=options.temperatures[:1],
            max_new_tokens=min(fit_windows.MAX_NEW_TOKENS, room),
        )
        found = super().generate_with_fallback(encoded, prompt, tokenizer, once)  # type: ignore[misc]
        reason = fit_windows.redo_reason(self._attempt(found, tokenizer))
        if reason is None:
            self.windows["fit"] += 1
            return found
        self.windows[f"redone_{reason}"] += 1
        features, self._full = self._full, None
        self._encoded = super().encode(features)  # type: ignore[misc]
        return super().generate_with_fallback(self._encoded, prompt, tokenizer, options)  # type: ignore[misc]

    def _attempt(self, found: Any, tokenizer: Any) -> fit_windows.Attempt:
        result, log_probability, _, compression_ratio = found
        tokens = result.sequences_ids[0]
        stamps = [token - tokenizer.timestamp_begin for token in tokens if token >= tokenizer.timestamp_begin]
        return fit_windows.Attempt(
            audio_s=self.audio_frames / fit_windows.FRAMES_A_SECOND,
            tokens=len(tokens),
            log_probability=log_probability,
            compression_ratio=compression_ratio,
            no_speech_probability=result.no_speech_prob,
            last_timestamp_s=max(stamps, default=0) * self.time_precision,  # type: ignore[attr-defined]
        )

    def _split_segments_by_timestamps(self, **named: Any) -> Any:
        """Call the base class; no segment of a fit window ends after its audio."""
        segments, *rest = super()._split_segments_by_timestamps(**named)  # type: ignore[misc]
        if self._full is not None:
            end_s = named["time_offset"] + named["segment_duration"]
            for segment in segments:
                segment["start"] = min(segment["start"], end_s)
                segment["end"] = min(segment["end"], end_s)
        return (segments, *rest)

    def add_word_timestamps(
        self, segments: Any, tokenizer: Any, encoded: Any, *rest: Any, **named: Any
    ) -> Any:
        """Call the base class with the encoder output that gave the text."""
        return super().add_word_timestamps(segments, tokenizer, self._encoded, *rest, **named)  # type: ignore[misc]
