"""Voice detection, and the recording without its silence, both in bounded memory.

The model is Silero VAD as bundled with faster-whisper. It processes half a minute at a time and carries its
state over, which gives bit-identical probabilities.
"""

from __future__ import annotations

import bisect
import types
from collections.abc import Mapping, Sequence
from typing import Any, Callable

import numpy as np
import numpy.typing as npt

from workerproc.audio.pcm_file import RATE_HZ, PcmFile, Samples

WINDOW = 512  # samples per probability
_CONTEXT = 64  # samples before a window that the model sees too
_STATE = (1, 1, 128)
_STRETCH = 1_000  # windows
STRETCH_S = _STRETCH * WINDOW / RATE_HZ


def voice_probabilities(session: Any, pcm_file: PcmFile, step: Callable[[], None]) -> npt.NDArray[np.float32]:
    """Return the speech probability of each window of 512 samples, shape (windows, 1).

    `session` is the model's ONNX session; `step` is called after each stretch.
    """
    # faster-whisper always pads, even by a whole window, and clears the last context.
    windows = len(pcm_file) // WINDOW + 1
    hidden = cell = np.zeros(_STATE, dtype=np.float32)
    before = np.zeros(_CONTEXT, dtype=np.float32)
    found = []
    for first in range(0, windows, _STRETCH):
        count = min(_STRETCH, windows - first)
        padded = np.zeros(count * WINDOW, dtype=np.float32)
        samples = pcm_file.read(first * WINDOW, (first + count) * WINDOW)
        padded[: len(samples)] = samples
        rows = padded.reshape(count, WINDOW)
        if first + count == windows:
            rows[-1, -_CONTEXT:] = 0
        context = np.vstack([before[None], rows[:-1, -_CONTEXT:]])
        before = rows[-1, -_CONTEXT:].copy()
        output, hidden, cell = session.run(
            None, {"input": np.concatenate([context, rows], axis=1), "h": hidden, "c": cell}
        )
        found.append(output)
        step()
    return np.concatenate(found, axis=0)


class Speech:
    """The speech in a PCM file, concatenated without the silence in between."""

    def __init__(self, pcm_file: PcmFile, stretches: Sequence[Mapping[str, int]]) -> None:
        """`stretches` have `start` and `end` in samples of the PCM file, in order."""
        self._pcm_file = pcm_file
        self._starts = [stretch["start"] for stretch in stretches]
        self._ends_here = np.cumsum([stretch["end"] - stretch["start"] for stretch in stretches]).tolist()

    def __len__(self) -> int:
        """Return the number of samples of speech."""
        return self._ends_here[-1] if self._ends_here else 0

    def origin(self, sample: int, is_end: bool) -> int:
        """Return where a sample of the speech is in the PCM file.

        `is_end`: the sample ends something, so between two stretches it belongs to the first of them.
        """
        side = bisect.bisect_left if is_end else bisect.bisect_right
        n = min(side(self._ends_here, sample), len(self._starts) - 1)
        return sample + self._starts[n] - (self._ends_here[n - 1] if n else 0)

    def read(self, start: int, end: int) -> Samples:
        """Return samples `start` to `end` (exclusive) of the speech."""
        pieces = [np.zeros(0, dtype=np.float32)]
        at, end = start, min(end, len(self))
        while at < end:
            n = bisect.bisect_right(self._ends_here, at)
            began_here = self._ends_here[n - 1] if n else 0
            until = min(end, self._ends_here[n])
            offset = self._starts[n] - began_here
            pieces.append(self._pcm_file.read(at + offset, until + offset))
            at = until
        return np.concatenate(pieces)


class Known:
    """Replaces the samples in `get_speech_timestamps`: has their length and known probabilities."""

    def __init__(self, length: int, probabilities: Any) -> None:
        self.shape = (length,)
        self.probabilities = probabilities

    def __len__(self) -> int:
        return self.shape[0]

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self  # in place of the padded array


def with_detector(function: Any) -> Callable[..., Any]:
    """Return faster-whisper's function with a detector that returns the probabilities of `Known`."""
    names = {**function.__globals__, "get_vad_model": lambda: lambda known: known.probabilities}
    return types.FunctionType(function.__code__, names, function.__name__, function.__defaults__)
