"""The PCM file: a recording's decoded samples on disk, written sequentially and read in pieces.

Twelve hours at 16 kHz take 1.4 GB; only the current piece is in memory. The file has no name: the kernel
removes it when its last descriptor is closed, however the process ends.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from typing_extensions import TypeAlias

Samples: TypeAlias = npt.NDArray[np.float32]
Pcm: TypeAlias = npt.NDArray[np.int16]

RATE_HZ = 16_000
_SAMPLE_BYTES = 2


class PcmFile:
    """16 kHz mono, 16 bits per sample. Not thread-safe; closed at the end of its `with` statement."""

    def __init__(self, folder: Path) -> None:
        """Create an empty file on the disk of `folder`. Raises OSError."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by `__exit__`
        self._samples = 0
        self.peak = 0  # largest absolute sample so far; full scale is 32,768

    def __enter__(self) -> PcmFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._samples

    @property
    def length_s(self) -> float:
        """Length in seconds."""
        return self._samples / RATE_HZ

    def append(self, pcm: Pcm) -> None:
        """Append samples. Raises OSError where the disk is full."""
        self._file.write(np.ascontiguousarray(pcm).data)
        self._samples += pcm.size
        if pcm.size:
            self.peak = max(self.peak, int(pcm.max()), -int(pcm.min()))

    def append_silence(self, seconds: float) -> None:
        """Append silence. Most file systems store it as a hole, which takes no space."""
        self._samples += round(seconds * RATE_HZ)
        self._file.seek(self._samples * _SAMPLE_BYTES)
        self._file.truncate()

    def clear(self) -> None:
        """Remove all samples."""
        self._samples = self.peak = 0
        self._file.seek(0)
        self._file.truncate()

    def read(self, start: int, end: int) -> Samples:
        """Return samples `start` to `end` (exclusive) as floats from -1.0 to 1.0; fewer at the end."""
        count = max(0, min(end, self._samples) - start)
        self._file.flush()
        data = os.pread(self._file.fileno(), count * _SAMPLE_BYTES, start * _SAMPLE_BYTES)
        samples: Samples = np.frombuffer(data, dtype=np.int16).astype(np.float32) / 32768.0
        return samples
