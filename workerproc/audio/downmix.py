"""Prepares channels for the downmix to mono where they would cancel each other out.

Some recorders invert the second channel (a balanced line on two inputs, a miswired plug). The mean of both
is silence, so a single channel is used instead. Channels in a layout that FFmpeg cannot mix are averaged.
All other audio is left unchanged, bit for bit.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Optional

import av.error
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

if TYPE_CHECKING:
    from typing_extensions import TypeAlias

Channels: TypeAlias = npt.NDArray[Any]  # shape (channels, samples), in the sample type of the codec

_BLOCK_S = 1.0
# Power of the mix relative to that of uncorrelated channels. One channel among silent ones gives 1, however
# many there are; two of opposite sign that differ by 10 % give 1/80.
_CANCELLED_RATIO = 0.25
_AUDIBLE_POWER = (60.0 / 32_768.0) ** 2
_PLANES_TOO_MANY = 8
_LOUDER_RATIO = 2.0  # the first channel is used unless another is louder by this factor


def without_cancelling(frame: AudioFrame) -> tuple[AudioFrame, float]:
    """Replace all channels by one where they cancel; return the frame and for how many seconds they do."""
    count = frame.layout.nb_channels
    if count < 2:
        return frame, 0.0
    frame = readable(frame)
    whole = frame.to_ndarray()
    channels = whole if frame.format.is_planar else whole.reshape(-1, count).T
    weights = _weights(frame.layout.name, count)
    if weights is None:
        return _averaged(frame, channels), 0.0
    cancelled = _cancelled(channels, weights, frame.sample_rate)
    if not cancelled:
        return frame, 0.0
    for start, end, channel in cancelled:
        channels[:, start:end] = channels[channel, start:end].copy()
    packed = np.ascontiguousarray(channels.T).reshape(1, -1)
    mended = AudioFrame.from_ndarray(packed, format=frame.format.packed.name, layout=frame.layout.name)
    mended.sample_rate = frame.sample_rate
    return mended, sum(end - start for start, end, _ in cancelled) / frame.sample_rate


def _averaged(frame: AudioFrame, channels: Channels) -> AudioFrame:
    """Mix the audible channels to their mean, or use the loudest where they cancel each other out."""
    floats = as_floats(channels)
    powers = np.mean(np.square(floats), axis=1)
    audible = powers > _AUDIBLE_POWER
    mixed = floats[audible].mean(axis=0) if audible.any() else floats.mean(axis=0)
    if (
        float(np.mean(np.square(mixed)))
        < _CANCELLED_RATIO * float(powers[audible].sum()) / max(1, audible.sum()) ** 2
    ):
        mixed = floats[int(np.argmax(powers))]
    mono = AudioFrame.from_ndarray(np.ascontiguousarray(mixed, np.float32)[None], format="flt", layout="mono")
    mono.sample_rate = frame.sample_rate
    return mono


def readable(frame: AudioFrame) -> AudioFrame:
    """Convert to packed samples where needed: PyAV crashes on a frame of eight planes or more."""
    if not frame.format.is_planar or frame.layout.nb_channels < _PLANES_TOO_MANY:
        return frame
    packer = AudioResampler(frame.format.packed.name, frame.layout.name, frame.sample_rate)
    (packed,) = packer.resample(frame)
    return packed


def _cancelled(
    channels: Channels, weights: npt.NDArray[np.float32], rate_hz: int
) -> list[tuple[int, int, int]]:
    """Find ranges of samples whose mix is silence, and the channel to use there."""
    size = max(1, int(_BLOCK_S * rate_hz))
    found = []
    for start in range(0, channels.shape[1], size):
        block = as_floats(channels[:, start : start + size])
        powers = np.mean(np.square(block), axis=1)
        loudest = int(np.argmax(powers))
        if powers[loudest] > _AUDIBLE_POWER and _is_lost(block, powers, weights):
            channel = loudest if powers[loudest] > _LOUDER_RATIO * powers[0] else 0
            found.append((start, start + block.shape[1], channel))
    return found


def _is_lost(
    block: npt.NDArray[np.float32], powers: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]
) -> bool:
    """Say whether the mix of these channels is silence: they cancel, or no audible one is mixed in."""
    is_mixed = weights != 0
    if not is_mixed.any() or float(powers[is_mixed].max()) <= _AUDIBLE_POWER:
        return True
    mixed = float(np.mean(np.square(weights @ block)))
    return mixed < _CANCELLED_RATIO * float(np.square(weights) @ powers)


@functools.lru_cache(maxsize=32)
def _weights(layout: str, count: int) -> Optional[npt.NDArray[np.float32]]:
    """Return the weight of each channel in FFmpeg's downmix; that of the LFE channel, for example, is 0.

    None where FFmpeg does not know the layout, as with most microphone arrays.
    """
    eye = np.eye(count, dtype=np.float32).reshape(1, -1)
    impulses = AudioFrame.from_ndarray(eye, format="flt", layout=layout)
    impulses.sample_rate = 16_000
    mixer = AudioResampler(format="fltp", layout="mono", rate=16_000)
    try:
        mixed = (*mixer.resample(impulses), *mixer.resample(None))
    except (av.error.FFmpegError, ValueError):
        return None
    pieces = [piece.to_ndarray()[0] for piece in mixed]
    weights: npt.NDArray[np.float32] = np.concatenate(pieces)
    return weights


def as_floats(block: Channels) -> npt.NDArray[np.float32]:
    """Convert samples of any type to floats from -1 to 1."""
    floats = block.astype(np.float32)
    if block.dtype == np.uint8:
        return (floats - 128.0) / 128.0
    if block.dtype.kind == "i":
        return floats / np.float32(2.0 ** (8 * block.dtype.itemsize - 1))
    return floats
