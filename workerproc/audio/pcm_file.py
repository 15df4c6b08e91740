"""A recording's samples on the disk: written once from the front, read in pieces.

Twelve hours at 16 kHz are 1.4 GB; only the piece at hand is in memory. The file has no name: it
is gone with the last descriptor, whatever becomes of the process.
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
    """16 kHz mono, 16 bits a sample. Used by one thread; closed by whoever made it."""

    def __init__(self, folder: Path) -> None:
        """Make an empty tape on the disk of `folder`. Raises OSError."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by `__exit__`
        self._samples = 0
        self.peak = 0  # the loudest sample so far, of 32,768

    def __enter__(self) -> PcmFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        """Give the number of samples."""
        return self._samples

    @property
    def length_s(self) -> float:
        """How long it plays."""
        return self._samples / RATE_HZ

    def append(self, pcm: Pcm) -> None:
        """Write on. Raises OSError where the disk is full."""
        self._file.write(np.ascontiguousarray(pcm).data)
        self._samples += pcm.size
        if pcm.size:
            self.peak = max(self.peak, int(pcm.max()), -int(pcm.min()))

    def append_silence(self, seconds: float) -> None:
        """Write nothing for so long. It takes no room on most disks."""
        self._samples += round(seconds * RATE_HZ)
        self._file.seek(self._samples * _SAMPLE_BYTES)
        self._file.truncate()

    def clear(self) -> None:
        """Begin anew."""
        self._samples = self.peak = 0
        self._file.seek(0)
        self._file.truncate()

    def read(self, start: int, end: int) -> Samples:
        """Give samples `start` to `end` (not included, at most the last) as -1.0 to 1.0."""
        count = max(0, min(end, self._samples) - start)
        self._file.flush()
        data = os.pread(self._file.fileno(), count * _SAMPLE_BYTES, start * _SAMPLE_BYTES)
        samples: Samples = np.frombuffer(data, dtype=np.int16).astype(np.float32) / 32768.0
        return samples
