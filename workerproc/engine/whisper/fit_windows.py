"""Chooses where windows end, how much of each is encoded, and whether its text stands. PURE.

Whisper pads each window to 30 s, so a recording of 5 s costs as much as one of 30 s. CTranslate2's encoder
accepts shorter features. A fit window encodes the audio and `MARGIN_S` of padding; the rows of the remaining
padding come from an encoding that is computed once per model (`fit_encoding.py`), so the decoder sees 30 s.
A short context can make the decoder repeat itself or miss the end of the speech: a text that looks wrong is
discarded, and the window is computed again with all 30 s. bench/README.md has the measurements.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from workerproc.checkpoints.split_points import RATE_HZ, Stretch
from workerproc.engine.pauses import positions

RULES = "3"  # changes with everything in this file that can change a text: part of a checkpoint's identity

FRAMES_A_SECOND = 100
FULL_FRAMES = 3_000
MARGIN_S = 2.0  # up to 3 s decoders repeat themselves no more often than with 30 s; below 2 s they do
# Shapes of encode calls. A CPU encodes windows one by one, so each whole second may be a shape; a GPU batches
# windows of equal shape, so there are few.
CPU_STEP_S = 1.0
GPU_STEP_S = 5.0
# Nothing is gained by encoding almost all of a window.
MOST_S = 28.0
# Speech between two ends of windows, of which the longest pause is chosen: no word is cut, and no speech is
# encoded twice. faster-whisper cuts after 30 s, and encodes again what follows the last whole segment.
WINDOW_LEAST_S = 12.0
WINDOW_MOST_S = MOST_S - MARGIN_S
PAUSE_LEAST_S = 0.3  # shorter ones are within sentences

# A window of 30 s has 120 tokens, 170 of a fast speaker. One limit for all fit windows, so that they batch.
MAX_NEW_TOKENS = 224
_TOKENS_LEAST = 40
_TOKENS_A_SECOND = 12
MIN_LOG_PROBABILITY = -1.0  # as faster-whisper's log_prob_threshold
MAX_COMPRESSION_RATIO = 2.4  # as faster-whisper's compression_ratio_threshold
MAX_NO_SPEECH_PROBABILITY = 0.6  # as faster-whisper's no_speech_threshold
MAX_LATE_S = 1.0  # a timestamp this much after the end of the audio
# From this on, the language that is detected in a fit window is that of 30 s; below, 30 s are listened to.
MIN_LANGUAGE_PROBABILITY = 0.8

ALL = ("*",)  # every language
# Where word error rates of fit and full windows are equal within the interval (bench/accuracy.py): languages
# by the model's width and whether it is multilingual. tiny.en and base.
MEASURED: Mapping[tuple[int, bool], frozenset[str]] = {
    (384, False): frozenset({"en"}),
    (512, True): frozenset({"en"}),
}


@dataclass(frozen=True)
class Attempt:
    """The text of a fit window, as far as its plausibility depends on it."""

    audio_s: float  # in the window, without padding
    tokens: int
    log_probability: float  # mean of the tokens
    compression_ratio: float
    no_speech_probability: float
    last_timestamp_s: float  # in the window; 0 without timestamps


def languages(window: str, width: int, is_multilingual: bool) -> Sequence[str]:
    """Return the languages whose windows are fit by option `window`, sorted; `ALL`: every language.

    `width`: of the encoder's output, which identifies the size of a Whisper model.
    """
    if window == "auto":
        return sorted(MEASURED.get((width, is_multilingual), ()))
    return ALL if window == "fit" else ()


def is_fit(language: str, fit_languages: Sequence[str]) -> bool:
    """Say whether a recording in this language has fit windows."""
    return fit_languages == ALL or language in fit_languages


def ends(stretches: Sequence[Stretch], pauses: Sequence[Stretch]) -> list[int]:
    """Return the frames of speech at which windows end, except the last: each in the longest pause in reach.

    `pauses` are all silences of the recording, in order. Speech without pauses has no ends: there the decoder
    takes 30 s, and the next window begins after the last whole segment.
    """
    speech_s = sum(one["end"] - one["start"] for one in stretches) / RATE_HZ
    least = PAUSE_LEAST_S * RATE_HZ
    pauses_at = [(at / RATE_HZ, pause) for at, pause in positions(stretches, pauses) if pause >= least]
    positions_s = [position_s for position_s, _ in pauses_at]
    begin_s, found = 0.0, []
    while speech_s - begin_s > WINDOW_MOST_S:
        least_s = min(WINDOW_LEAST_S, speech_s - begin_s - WINDOW_MOST_S)
        after = bisect.bisect_right(positions_s, begin_s + WINDOW_MOST_S)
        first = bisect.bisect_right(positions_s, begin_s + least_s)
        if first == after:
            first = bisect.bisect_right(positions_s, begin_s)
        if first < after:
            begin_s, _ = max(pauses_at[first:after], key=lambda one: (one[1], one[0]))
        elif after < len(positions_s):
            begin_s = positions_s[after]
        else:
            break
        found.append(round(begin_s * FRAMES_A_SECOND))
    return found


def frames(audio_frames: int, step_s: float) -> Optional[int]:
    """Return how many frames of a window to encode; None for all."""
    wanted_s = audio_frames / FRAMES_A_SECOND + MARGIN_S
    stepped_s = math.ceil(wanted_s / step_s) * step_s
    return None if stepped_s > MOST_S else round(stepped_s * FRAMES_A_SECOND)


def redo_reason(attempt: Attempt) -> Optional[str]:
    """Return why a fit window must be computed again with all 30 s; None where its text stands."""
    tokens_most = min(MAX_NEW_TOKENS, _TOKENS_LEAST + _TOKENS_A_SECOND * attempt.audio_s)
    if attempt.tokens >= tokens_most:
        return "long"
    if attempt.compression_ratio > MAX_COMPRESSION_RATIO:
        return "repetitive"
    if attempt.log_probability < MIN_LOG_PROBABILITY:
        return "improbable"
    if attempt.no_speech_probability > MAX_NO_SPEECH_PROBABILITY:
        return "no_speech"
    if attempt.last_timestamp_s > attempt.audio_s + MAX_LATE_S:
        return "late"
    return None
