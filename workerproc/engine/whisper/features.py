"""Log-mel features as faster-whisper computes them, in bounded memory.

faster-whisper computes them for the whole recording at once (3 GB per hour), because every value is clamped
to the recording's maximum minus 8. Here only recordings of up to five minutes are computed at once. For
longer ones a first pass over blocks finds the maximum, and a second one computes the requested frames.

The values are bit-identical where BLAS computes a column of a matrix product independently of its neighbours.
Most kernels do; with OpenBLAS's kernels for Haswell and Zen the last bit may differ in long recordings.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Callable, Optional, Protocol

import numpy as np
import numpy.typing as npt

from workerproc.audio.pcm_file import Samples

if TYPE_CHECKING:
    from typing_extensions import TypeAlias

Features: TypeAlias = npt.NDArray[np.float32]

# A multiple of every BLAS kernel width: a column must not depend on where its block ends.
_BLOCK = 3_072  # frames
BLOCK_S = _BLOCK / 100
_KEPT_BLOCKS = 6  # 3 minutes, 6 MB with 80 bands
WHOLE_MOST = 10 * _BLOCK  # frames; 10 MB with 80 bands, 25 MB during the computation
_TAIL = 160  # samples of silence that faster-whisper appends


class Waveform(Protocol):
    """Samples that can be read in pieces."""

    def __len__(self) -> int: ...

    def read(self, start: int, end: int) -> Samples:
        """Return samples `start` to `end` (exclusive)."""


class LogMel:
    """Features of shape (bands, frames), sliced like the array that `generate_segments` expects."""

    def __init__(
        self, extractor: Any, waveform: Waveform, step: Callable[[], None], floor: Optional[float] = None
    ) -> None:
        """Find the maximum of all frames. `floor`: for a part, that of the whole recording.

        `step` is called for each block of `BLOCK_S`.
        """
        self._extractor = extractor
        self._waveform = waveform
        self._length = len(waveform) + _TAIL
        self._edge = extractor.n_fft // 2
        self._hop = extractor.hop_length
        self._window = np.hanning(extractor.n_fft + 1)[:-1].astype(np.float32)
        frames = self._length // self._hop
        self.shape = (len(extractor.mel_filters), frames)
        self._blocks: OrderedDict[int, Features] = OrderedDict()
        self._whole = self._computed_whole(frames, step) if frames <= WHOLE_MOST else None
        self.floor = self._found_floor(step) if floor is None else floor  # the lowest value, before scaling

    def __getitem__(self, key: tuple[Any, slice]) -> Features:
        """Return the frames of a slice, all bands."""
        start, stop, _ = key[1].indices(self.shape[1])
        log_mel = self._between(start, stop) if self._whole is None else self._whole[:, start:stop]
        clamped: Features = (np.maximum(log_mel, self.floor) + 4.0) / 4.0
        return clamped

    def _computed_whole(self, frames: int, step: Callable[[], None]) -> Features:
        """Compute all features before clamping, with a single matrix product as in faster-whisper."""
        magnitudes = []
        for first in range(0, frames, _BLOCK):
            magnitudes.append(self._magnitudes(first, min(first + _BLOCK, frames)))
            step()
        return self._log_mel(np.concatenate(magnitudes, axis=1))

    def _found_floor(self, step: Callable[[], None]) -> float:
        if self._whole is not None:
            return float(self._whole.max() - 8.0)
        floor = -math.inf
        for first in range(0, self.shape[1], _BLOCK):
            floor = max(floor, float(self._block(first).max() - 8.0))
            step()
        return floor

    def _between(self, start: int, stop: int) -> Features:
        pieces = [
            self._block(first)[:, max(0, start - first) : stop - first]
            for first in range(start - start % _BLOCK, stop, _BLOCK)
        ]
        return np.concatenate(pieces, axis=1)

    def _block(self, first: int) -> Features:
        """Return a block's features before clamping, cached if recently used."""
        known = self._blocks.get(first)
        if known is None:
            magnitudes = self._magnitudes(first, min(first + _BLOCK, self.shape[1]))
            known = self._blocks[first] = self._log_mel(magnitudes)
            if len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(first)
        return known

    def _magnitudes(self, first: int, end: int) -> Features:
        """Compute frames as `FeatureExtractor.__call__` does, up to the mel filters."""
        extractor = self._extractor
        samples = self._samples(first * self._hop - self._edge, (end - 1) * self._hop + self._edge)
        spectrum = extractor.stft(
            samples, extractor.n_fft, self._hop, window=self._window, center=False, return_complex=True
        ).astype("complex64")
        magnitudes: Features = np.abs(spectrum) ** 2
        return magnitudes

    def _log_mel(self, magnitudes: Features) -> Features:
        """Apply mel filters and `log10`."""
        mel = self._extractor.mel_filters @ magnitudes
        log_mel: Features = np.log10(np.clip(mel, a_min=1e-10, a_max=None))
        return log_mel

    def _samples(self, start: int, end: int) -> Samples:
        """Return samples of the waveform with its tail, padded at both ends as numpy's `reflect` does."""
        if self._length <= 2 * self._edge:
            whole = np.pad(self._plain(0, self._length), self._edge, mode="reflect")
            return whole[start + self._edge : end + self._edge]
        pieces = [self._plain(max(0, start), min(end, self._length))]
        if start < 0:
            pieces.insert(0, self._plain(1, 1 - start)[::-1])
        if end > self._length:
            pieces.append(self._plain(2 * self._length - 1 - end, self._length - 1)[::-1])
        return np.concatenate(pieces)

    def _plain(self, start: int, end: int) -> Samples:
        samples = self._waveform.read(start, end)
        return np.pad(samples, (0, end - start - len(samples)))
