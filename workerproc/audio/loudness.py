"""Recordings whose samples are all far too small or far too large for what hears them.

Voice detection hardly hears speech whose loudest sample is at -45 dB of full scale, and leaves it out without
a word. Some programs write whole numbers as floats, a hundred times full scale and more: cut off there they
are noise. All else is left as it is, to the bit.
"""

from __future__ import annotations

import math
from typing import Optional

import numpy as np
from av.audio.frame import AudioFrame

from workerproc.audio.downmix import as_floats, readable

_QUIET_BELOW = 0.01  # -40 dB of full scale: down to there nothing is lost
# -72 dB. What is quieter, as the noise of a converter, has no speech that could be made out.
_SILENT_BELOW = 8 / 32_768
_LOUD_ABOVE = 8.0  # lossy codecs go up to twice full scale, mixes that nobody limited a little further
_SCALED_TO = 0.5


def peak(frame: AudioFrame) -> float:
    """Give the loudest sample of a frame; full scale is 1. 0: it can't be told (not a number)."""
    try:
        samples = readable(frame).to_ndarray()
    except ValueError:  # PyAV has no numbers of 64 bits
        return 0.0
    if not samples.size:
        return 0.0
    bounds = np.array([samples.min(), samples.max()])
    loudest = float(np.abs(as_floats(bounds)).max())
    return loudest if math.isfinite(loudest) else 0.0


def scale_for(loudest: float) -> Optional[float]:
    """Say by what a recording with this loudest sample is to be multiplied; None: it is left as it is."""
    is_quiet = _SILENT_BELOW <= loudest < _QUIET_BELOW
    return _SCALED_TO / loudest if is_quiet or loudest > _LOUD_ABOVE else None


def scaled(frame: AudioFrame, scale: float) -> AudioFrame:
    """Give the frame with each sample multiplied."""
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
    """Tell what was done."""
    if scale > 1.0:
        level = f"the loudest sample is at {20 * math.log10(loudest):.0f} dB of full scale"
        return f"the recording is very quiet ({level}): it was amplified {scale:.0f} times"
    return f"the samples go up to {loudest:,.0f} times full scale: they were scaled down"
