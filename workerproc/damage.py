"""What is wrong with a recording that could still be decoded, in words for the transcript. PURE.

FFmpeg sizes a WAV by its file, not by its header: a recording that was cut in transit
decodes without a complaint. So the header is read here as well.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

HEAD_BYTES = 65_536
# Recorders that stream write these before they know the size.
_UNKNOWN_SIZES = frozenset({0, 0xFFFFFFFF, 0x7FFFFFFF})
# Lossy codecs pad, and some lengths are FFmpeg's estimate from the bit rate: less is nothing to tell.
_TOLERANCE_S = 1.0
_TOLERANCE_RATIO = 0.02
_EXACT_TOLERANCE_S = 0.02  # for what is counted in samples; resampling rounds


@dataclass(frozen=True)
class Decoded:
    """What decoding one file came to."""

    decoded_s: float
    announced_s: Optional[float]  # by container or header; None: neither says
    packets: int
    bad_packets: int
    broke_off: bool = False  # the rest of the file could not be read at all
    is_exact: bool = False  # announced in samples (WAV, FLAC): a lost frame shows


def warnings(decoded: Decoded) -> Iterator[str]:
    """Give a sentence for each kind of damage."""
    if decoded.bad_packets:
        yield (
            f"{decoded.bad_packets} of {decoded.packets} packets of audio are damaged and were left out; "
            "times after a gap are too early"
        )
    if decoded.broke_off:
        yield f"the file can't be read beyond {decoded.decoded_s:.1f} s"
    if decoded.announced_s is None:
        return
    missing_s = decoded.announced_s - decoded.decoded_s
    lossy_s = max(_TOLERANCE_S, _TOLERANCE_RATIO * decoded.announced_s)
    if missing_s > (_EXACT_TOLERANCE_S if decoded.is_exact else lossy_s):
        yield (
            f"the file holds {decoded.decoded_s:.1f} s of audio but announces {decoded.announced_s:.1f} s: "
            "it was cut or damaged"
        )


def wav_announced_s(head: bytes) -> Optional[float]:
    """Read from a WAV file's first bytes how long it means to be; None where it does not say."""
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    bytes_per_s = 0
    at = 12
    while at + 8 <= len(head):
        name, size_bytes = struct.unpack_from("<4sI", head, at)
        if name == b"fmt " and at + 20 <= len(head):
            (bytes_per_s,) = struct.unpack_from("<I", head, at + 16)
        if name == b"data":
            known = bytes_per_s > 0 and size_bytes not in _UNKNOWN_SIZES
            return size_bytes / bytes_per_s if known else None
        at += 8 + size_bytes + size_bytes % 2
    return None
