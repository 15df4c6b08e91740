"""Normalizes recordings that are far too quiet or far too loud for voice detection.

Voice detection misses speech whose peak is below about -45 dBFS. Some programs write integers as floats,
100 times full scale and more; clipped at full scale they are noise. All other recordings are left unchanged,
bit for bit.
"""

from __future__ import annotations

import math
from typing import Optional

import numpy as np
from av.audio.frame import AudioFrame

from workerproc.audio.downmix import as_floats, readable

_QUIET_BELOW = 0.01  # -40 dBFS: above it nothing is lost
# -72 dBFS. Anything quieter, such as converter noise, contains no intelligible speech.
_SILENT_BELOW = 8 / 32_768
_LOUD_ABOVE = 8.0  # lossy codecs reach twice full scale, mixes without a limiter a little more
_SCALED_TO = 0.5


def peak(frame: AudioFrame) -> float:
    """Return the peak of a frame; full scale is 1. 0 where it cannot be determined (NaN)."""
    try:
        samples = readable(frame).to_ndarray()
    except ValueError:  # PyAV does not support 64-bit samples
        return 0.0
    if not samples.size:
        return 0.0
    bounds = np.array([samples.min(), samples.max()])
    loudest = float(np.abs(as_floats(bounds)).max())
    return loudest if math.isfinite(loudest) else 0.0


def scale_for(loudest: float) -> Optional[float]:
    """Return the gain for a recording with this peak; None where it is left unchanged."""
    is_quiet = _SILENT_BELOW <= loudest < _QUIET_BELOW
    return _SCALED_TO / loudest if is_quiet or loudest > _LOUD_ABOVE else None


def scaled(frame: AudioFrame, scale: float) -> AudioFrame:
    """Multiply each sample of a frame."""
    frame = readable(frame)
    samples = np.nan_to_num(as_floats(frame.to_ndarray()) * np.float32(scale))
    made = AudioFrame.from_ndarray(
        np.ascontiguousarray(samples, np.float32),
        format="fltp" if frame.format.is_planar else "flt",
        layout=frame.layout.name,
    )
    made.sample_rate = frame.sample_rate
    return made


def warning(loudest: float, scale: float) -> str:
    """Return the warning for the transcript."""
    if scale > 1.0:
        level = f"the loudest sample is at {20 * math.log10(loudest):.0f} dB of full scale"
        return f"the recording is very quiet ({level}): it was amplified {scale:.0f} times"
    return f"the samples go up to {loudest:,.0f} times full scale: they were scaled down"
