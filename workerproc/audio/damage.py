"""Warnings about damage in a recording that could still be decoded, for the transcript. PURE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

HEAD_BYTES = 65_536
# Lossy codecs pad, and some lengths are FFmpeg's estimate from the bit rate: smaller differences are ignored.
_TOLERANCE_S = 1.0
_TOLERANCE_RATIO = 0.02
_EXACT_TOLERANCE_S = 0.02  # for what is counted in samples; resampling rounds


@dataclass(frozen=True)
class Decoded:
    """Result of decoding one file."""

    decoded_s: float
    announced_s: Optional[float]  # by container or header; None where neither states it
    packets: int
    bad_packets: int
    broke_off: bool = False  # the rest of the file is unreadable
    is_exact: bool = False  # announced in samples (WAV, FLAC): a missing frame is noticed
    filled_s: float = 0.0  # gaps between packets, filled with silence
    jumped_s: float = 0.0  # timestamp jumps that were ignored
    missing_bytes: int = 0  # between the end of the file and the end that the header states


def warnings(decoded: Decoded) -> Iterator[str]:
    """Yield a sentence for each kind of damage."""
    if decoded.bad_packets:
        times = "silence is in their place" if decoded.filled_s else "times after a gap are too early"
        count = f"{decoded.bad_packets} of {decoded.packets} packets of audio"
        yield f"{count} are damaged and were left out; {times}"
    if decoded.broke_off:
        yield f"the file can't be read beyond {decoded.decoded_s:.1f} s"
    missing = _missing(decoded)
    if missing:
        yield missing


def _missing(decoded: Decoded) -> str:
    """Say how much audio is missing; empty where none is."""
    # Formats that count samples have no gaps: what was filled with silence is missing.
    found_s = decoded.decoded_s - (decoded.filled_s if decoded.is_exact else 0.0)
    missing_s = (decoded.announced_s or 0.0) - decoded.jumped_s - found_s
    lossy_s = max(_TOLERANCE_S, _TOLERANCE_RATIO * (decoded.announced_s or 0.0))
    if missing_s > (_EXACT_TOLERANCE_S if decoded.is_exact else lossy_s):
        return (
            f"the file holds {found_s:.1f} s of audio but announces {decoded.announced_s:.1f} s: "
            "it was cut or damaged"
        )
    if decoded.missing_bytes:
        return (
            f"the file ends {decoded.missing_bytes} bytes before the end that its header states: it was cut"
        )
    return ""
