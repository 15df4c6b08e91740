"""Log-mel features of a long recording, computed window by window: the same numbers to the bit.

faster-whisper computes them for the whole recording at once (3 GB an hour) because every
value is clamped to the recording's maximum less 8. Here a first pass finds that maximum and a second
one computes what is asked for. A short recording's first pass is kept instead.
Where the BLAS at hand lets a column of a product depend on the width of the product, last bits differ.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Callable, Optional, Protocol

import numpy as np
import numpy.typing as npt

from workerproc.tape import Samples

# A multiple of every width in which BLAS works: a column's sum must not depend on where a block ends.
_BLOCK = 3_072  # frames
BLOCK_S = _BLOCK / 100
_KEPT_BLOCKS = 6  # 3 minutes, 6 MB with 80 bands
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
        self._blocks: OrderedDict[int, npt.NDArray[np.float32]] = OrderedDict()
        self.floor = -np.inf if floor is None else floor  # no value is lower, before it is scaled
        for first in range(0, frames if floor is None else 0, _BLOCK):
            self.floor = max(self.floor, self._block(first).max() - 8.0)
            step()

    def __getitem__(self, key: tuple[Any, slice]) -> npt.NDArray[np.float32]:
        """Give the frames of a slice, all bands."""
        start, stop, _ = key[1].indices(self.shape[1])
        pieces = [
            self._block(first)[:, max(0, start - first) : stop - first]
            for first in range(start - start % _BLOCK, stop, _BLOCK)
        ]
        log_mel = np.concatenate(pieces, axis=1)
        clamped: npt.NDArray[np.float32] = (np.maximum(log_mel, self.floor) + 4.0) / 4.0
        return clamped

    def _block(self, first: int) -> npt.NDArray[np.float32]:
        """Give a block's features before clamping, from the few that are kept or anew."""
        known = self._blocks.get(first)
        if known is None:
            known = self._blocks[first] = self._computed(first, min(first + _BLOCK, self.shape[1]))
            if len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(first)
        return known

    def _computed(self, first: int, end: int) -> npt.NDArray[np.float32]:
        """Compute frames as `FeatureExtractor.__call__` does, from `abs` to `log10`."""
        extractor = self._extractor
        samples = self._samples(first * self._hop - self._edge, (end - 1) * self._hop + self._edge)
        spectrum = extractor.stft(
            samples, extractor.n_fft, self._hop, window=self._window, center=False, return_complex=True
        ).astype("complex64")
        magnitudes = np.abs(spectrum) ** 2
        mel = extractor.mel_filters @ magnitudes
        log_mel: npt.NDArray[np.float32] = np.log10(np.clip(mel, a_min=1e-10, a_max=None))
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
