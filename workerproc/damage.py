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
# Recorders that write to a pipe put a number near 2 or 4 GiB here, before they know the size.
UNKNOWN_FROM_BYTES = 0x7FF0_0000
_UNKNOWN_64_BIT = 1 << 62
_RIFF = (b"RIFF", b"RF64", b"BW64")
_FILE_NAMES = frozenset({*_RIFF, b"FORM", b"caff", b"riff"})
_PCM_TAGS = frozenset({1, 3, 6, 7})  # whole numbers, floats, A-law, mu-law: each sample has its bytes
_EXTENSIBLE = 0xFFFE
_MORE_THAN_HEADER_S = 0.5  # behind the data that a WAV announces; less is padding
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
    filled_s: float = 0.0  # gaps between packets, kept as silence


def warnings(decoded: Decoded) -> Iterator[str]:
    """Give a sentence for each kind of damage."""
    if decoded.bad_packets:
        times = "silence is in their place" if decoded.filled_s else "times after a gap are too early"
        count = f"{decoded.bad_packets} of {decoded.packets} packets of audio"
        yield f"{count} are damaged and were left out; {times}"
    if decoded.broke_off:
        yield f"the file can't be read beyond {decoded.decoded_s:.1f} s"
    if decoded.announced_s is None:
        return
    # Where samples are counted there are no pauses: what silence was put in for is lost.
    found_s = decoded.decoded_s - (decoded.filled_s if decoded.is_exact else 0.0)
    missing_s = decoded.announced_s - found_s
    lossy_s = max(_TOLERANCE_S, _TOLERANCE_RATIO * decoded.announced_s)
    if missing_s > (_EXACT_TOLERANCE_S if decoded.is_exact else lossy_s):
        yield (
            f"the file holds {found_s:.1f} s of audio but announces {decoded.announced_s:.1f} s: "
            "it was cut or damaged"
        )


@dataclass(frozen=True)
class WavData:
    """Where a WAV file's samples begin, how many bytes its header gives them, and how many play a second."""

    begins_at_bytes: int
    size_bytes: Optional[int]  # None: written before anybody knew
    bytes_per_s: int

    @property
    def end_at_bytes(self) -> Optional[int]:
        """Where the next chunk would begin: chunks are padded to whole pairs of bytes."""
        return (
            None if self.size_bytes is None else self.begins_at_bytes + self.size_bytes + self.size_bytes % 2
        )


def wav_data(head: bytes, file_bytes: int) -> Optional[WavData]:
    """Read the header of an uncompressed WAV file from its first bytes; None for anything else."""
    if len(head) < 12 or head[:4] not in _RIFF or head[8:12] != b"WAVE":
        return None
    bytes_per_s, long_size = 0, None
    at = 12
    while at + 8 <= len(head):
        name, size_bytes = struct.unpack_from("<4sI", head, at)
        if name == b"ds64" and at + 24 <= len(head):
            (long_size,) = struct.unpack_from("<Q", head, at + 16)
        elif name == b"fmt " and at + 24 <= len(head):
            bytes_per_s = _pcm_bytes_per_s(head[at + 8 : at + 8 + size_bytes])
        elif name == b"data":
            size = size_bytes if long_size is None else long_size
            is_known = 0 < size < _UNKNOWN_64_BIT and not (size >= UNKNOWN_FROM_BYTES and size > file_bytes)
            return WavData(at + 8, size if is_known else None, bytes_per_s) if bytes_per_s else None
        at += 8 + size_bytes + size_bytes % 2
    return None


def _pcm_bytes_per_s(fmt: bytes) -> int:
    """Reckon bytes a second from rate, channels and bits: recorders get the header's own figure wrong."""
    tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", fmt)
    if tag == _EXTENSIBLE and len(fmt) >= 26:
        (tag,) = struct.unpack_from("<H", fmt, 24)
    return int(rate_hz * channels * ((bits + 7) // 8)) if tag in _PCM_TAGS else 0


def wav_announced_s(head: bytes, file_bytes: int) -> Optional[float]:
    """Say how long a WAV file means to be; None where it does not say."""
    found = wav_data(head, file_bytes)
    return None if found is None or found.size_bytes is None else found.size_bytes / found.bytes_per_s


def holds_more_s(data: WavData, file_bytes: int, behind: bytes) -> float:
    """Say how many seconds of samples lie behind the data that a WAV's header announces; 0: none.

    `behind`: the first bytes there. Other chunks may follow the data, and padding.
    """
    if data.end_at_bytes is None:
        return 0.0
    rest_bytes = file_bytes - data.end_at_bytes
    rest_s = rest_bytes / data.bytes_per_s
    return 0.0 if rest_s < _MORE_THAN_HEADER_S or not any(behind) or _is_chunk(behind, rest_bytes) else rest_s


def _is_chunk(behind: bytes, rest_bytes: int) -> bool:
    name, size_bytes = struct.unpack_from("<4sI", behind)
    return is_chunk_name(name) and size_bytes <= rest_bytes


def is_chunk_name(name: bytes) -> bool:
    """Say whether these four bytes name a chunk; a file that was put behind this one begins with others."""
    return all(32 <= sign < 127 for sign in name) and name not in _FILE_NAMES
