"""Channels that would cancel each other out in a mix to mono: there one of them speaks alone.

Some recorders write the second channel with its sign turned (a balanced line on two inputs, a plug wired the
wrong way). Their mean is silence, and so would be the transcript. All else is left as it is, to the bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame

if TYPE_CHECKING:
    from typing_extensions import TypeAlias

Channels: TypeAlias = npt.NDArray[Any]  # (channels, samples) of whatever a codec decodes to

_BLOCK_S = 1.0
# Power of the mix to that of the loudest channel. Two channels that have nothing in common mix to a half, one
# beside a silent one to a quarter; what is equal but for its sign and a tenth, to 1/400.
_CANCELLED_RATIO = 0.1
_AUDIBLE_POWER = (60.0 / 32_768.0) ** 2
_LOUDER_RATIO = 2.0  # the first channel is taken unless another is so much louder


def without_cancelling(frame: AudioFrame) -> tuple[AudioFrame, float]:
    """Give the frame with one channel in the place of all where they cancel; and for how many seconds."""
    count = frame.layout.nb_channels
    if count < 2:
        return frame, 0.0
    whole = frame.to_ndarray()
    channels = whole if frame.format.is_planar else whole.reshape(-1, count).T
    cancelled = _cancelled(channels, frame.sample_rate)
    if not cancelled:
        return frame, 0.0
    for start, end, channel in cancelled:
        channels[:, start:end] = channels[channel, start:end].copy()
    mended = AudioFrame.from_ndarray(whole, format=frame.format.name, layout=frame.layout.name)
    mended.sample_rate = frame.sample_rate
    return mended, sum(end - start for start, end, _ in cancelled) / frame.sample_rate


def _cancelled(channels: Channels, rate_hz: int) -> list[tuple[int, int, int]]:
    """Find stretches of samples whose mix is silence, and the channel to take there."""
    size = max(1, int(_BLOCK_S * rate_hz))
    found = []
    for start in range(0, channels.shape[1], size):
        block = _as_floats(channels[:, start : start + size])
        powers = np.mean(np.square(block), axis=1)
        loudest = int(np.argmax(powers))
        mixed = float(np.mean(np.square(np.mean(block, axis=0))))
        if powers[loudest] > _AUDIBLE_POWER and mixed < _CANCELLED_RATIO * powers[loudest]:
            channel = loudest if powers[loudest] > _LOUDER_RATIO * powers[0] else 0
            found.append((start, start + block.shape[1], channel))
    return found


def _as_floats(block: Channels) -> npt.NDArray[np.float32]:
    """Give samples as -1 to 1, whatever they are stored as."""
    floats = block.astype(np.float32)
    if block.dtype == np.uint8:
        return (floats - 128.0) / 128.0
    if block.dtype.kind == "i":
        return floats / np.float32(2.0 ** (8 * block.dtype.itemsize - 1))
    return floats
