"""Log-mel features of a recording: the numbers that faster-whisper computes, without its memory.

faster-whisper computes them for the whole recording at once (3 GB an hour) because every value is
clamped to the recording's maximum less 8. Here only a recording of up to five minutes is computed whole.
Of a longer one a first pass, block by block, finds that maximum, and a second one computes what is asked for.

Both give the same bits where BLAS gives a column of a product the same bits whatever stands beside it. Most
kernels do; with OpenBLAS's for Haswell and Zen the last bit of a long recording's values may differ.
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

# A multiple of every width in which BLAS works: a column's sum must not depend on where a block ends.
_BLOCK = 3_072  # frames
BLOCK_S = _BLOCK / 100
_KEPT_BLOCKS = 6  # 3 minutes, 6 MB with 80 bands
WHOLE_MOST = 10 * _BLOCK  # frames; 10 MB with 80 bands, and 25 MB while they are computed
_TAIL = 160  # samples of silence that faster-whisper adds at the end


class Waveform(Protocol):
    """Samples that can be read in pieces."""

    def __len__(self) -> int: ...

    def read(self, start: int, end: int) -> Samples:
        """Give samples `start` to `end` (not included)."""


class LogMel:
    """What faster-whisper's `generate_segments` asks of an array of features, shape (bands, frames)."""

    def __init__(
        self, extractor: Any, waveform: Waveform, step: Callable[[], None], floor: Optional[float] = None
    ) -> None:
        """Find the maximum of all frames, unless `floor` is given by the recording that this is a part of.

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
        self.floor = (
            self._found_floor(step) if floor is None else floor
        )  # no value is lower, before it is scaled

    def __getitem__(self, key: tuple[Any, slice]) -> Features:
        """Give the frames of a slice, all bands."""
        start, stop, _ = key[1].indices(self.shape[1])
        log_mel = self._between(start, stop) if self._whole is None else self._whole[:, start:stop]
        clamped: Features = (np.maximum(log_mel, self.floor) + 4.0) / 4.0
        return clamped

    def _computed_whole(self, frames: int, step: Callable[[], None]) -> Features:
        """Compute all features before clamping, with one product as faster-whisper does."""
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
        """Give a block's features before clamping, from the few that are kept or anew."""
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
        """Give the rest of it: mel filters and `log10`."""
        mel = self._extractor.mel_filters @ magnitudes
        log_mel: Features = np.log10(np.clip(mel, a_min=1e-10, a_max=None))
        return log_mel

    def _samples(self, start: int, end: int) -> Samples:
        """Give samples of the waveform with its tail, mirrored at both ends as numpy's `reflect` does."""
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
