"""Where a file's samples begin and end by its own header. PURE.

FFmpeg sizes what is not compressed by the file, not by its header: a recording that was cut in transit
decodes without a complaint, and what a recorder wrote behind the announced end is left out in silence.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Callable, Optional

Read = Callable[[int, int], bytes]  # at which byte, how many: fewer at the end of the file

# Recorders that write to a pipe put a number near 2 or 4 GiB here, before they know the size.
UNKNOWN_FROM_BYTES = 0x7EFF_0000  # SoX: 0x7F000000 in AIFF
TAIL_BYTES = 1_048_576  # looked through for samples behind an announced end
_UNKNOWN_64_BIT = 1 << 62
_MOST_32_BIT = 0x7FFF_FFFF
_RIFF = (b"RIFF", b"RF64", b"BW64", b"RIFX")
_FILE_NAMES = frozenset({*_RIFF, b"FORM", b"caff", b"riff"})
_PCM_TAGS = frozenset({1, 3, 6, 7})  # whole numbers, floats, A-law, mu-law: each sample has its bytes
_ADPCM_TAGS = frozenset({2, 0x11})  # in blocks, whose samples the header counts
_EXTENSIBLE = 0xFFFE
_CHUNKS_MOST = 1_000
_MP3_COUNT = re.compile(rb"Xing|Info|VBRI")
_MP3_COUNT_AT = (36, 21, 13)  # bytes behind a frame's beginning, by version and channels
_MORE_THAN_HEADER_S = 0.5  # behind the data that a WAV announces; less is padding


@dataclass(frozen=True)
class WavData:
    """Where a WAV file's samples begin, how many bytes its header gives them, and how many play a second."""

    begins_at_bytes: int
    size_bytes: Optional[int]  # None: written before anybody knew
    bytes_per_s: int
    is_exact: bool = True  # each sample has its bytes; what is compressed has about so many a second

    @property
    def announced_s(self) -> Optional[float]:
        """How long the file means to be; None where it does not say."""
        return None if self.size_bytes is None else self.size_bytes / self.bytes_per_s


def wav_data(read: Read, file_bytes: int) -> Optional[WavData]:
    """Read the header of a WAV file; None for anything else."""
    head = read(0, 12)
    if len(head) < 12 or head[:4] not in _RIFF or head[8:12] != b"WAVE":
        return None
    order = ">" if head[:4] == b"RIFX" else "<"
    rate, long_size = (0, False), None
    at = 12
    for _ in range(_CHUNKS_MOST):
        chunk = read(at, 8)
        if len(chunk) < 8:
            return None
        name, size_bytes = struct.unpack(f"{order}4sI", chunk)
        if name == b"ds64":
            (long_size,) = struct.unpack("<Q", read(at + 16, 8).ljust(8, b"\0"))
        elif name == b"fmt ":
            rate = _bytes_per_s(read(at + 8, min(size_bytes, 64)), order)
        elif name == b"data":
            size = size_bytes if long_size is None else long_size
            is_known = 0 < size < _UNKNOWN_64_BIT and not (size >= UNKNOWN_FROM_BYTES and size > file_bytes)
            return WavData(at + 8, size if is_known else None, *rate) if rate[0] else None
        at += 8 + size_bytes + size_bytes % 2
    return None


def _bytes_per_s(fmt: bytes, order: str) -> tuple[int, bool]:
    """Reckon bytes a second from rate, channels and bits: recorders get the header's own figure wrong."""
    if len(fmt) < 16:
        return 0, False
    tag, channels, rate_hz, own_bytes_per_s, block_bytes, bits = struct.unpack_from(f"{order}HHIIHH", fmt)
    if tag == _EXTENSIBLE and len(fmt) >= 26:
        (tag,) = struct.unpack_from(f"{order}H", fmt, 24)
    if tag in _PCM_TAGS:
        return int(rate_hz * channels * ((bits + 7) // 8)), True
    if tag in _ADPCM_TAGS and len(fmt) >= 20:
        (block_samples,) = struct.unpack_from(f"{order}H", fmt, 18)
        return int(rate_hz * block_bytes // max(1, block_samples)), False
    return int(own_bytes_per_s), False


def wav_holds_more_s(data: WavData, read: Read, file_bytes: int) -> float:
    """Say how many seconds of samples lie behind the data that a WAV's header announces; 0: none.

    Other chunks may follow the data, and padding; and a recorder that begins a further chunk of data.
    """
    if data.size_bytes is None:
        return 0.0
    order = ">" if read(0, 4) == b"RIFX" else "<"
    at = end_at = data.begins_at_bytes + data.size_bytes
    for _ in range(_CHUNKS_MOST):
        # Chunks are padded to whole pairs of bytes, but not by every writer.
        starts = (at + at % 2, at)
        at = next((start for start in starts if _is_chunk(read(start, 8), file_bytes - start, order)), at)
        behind = read(at, 8)
        if not _is_chunk(behind, file_bytes - at, order) or behind[:4] == b"data":
            break
        at += 8 + struct.unpack(f"{order}4sI", behind)[1]
    rest_s = (file_bytes - at) / data.bytes_per_s
    if rest_s < _MORE_THAN_HEADER_S or not any(read(at, TAIL_BYTES)):
        return 0.0
    return (file_bytes - end_at) / data.bytes_per_s


def _is_chunk(head: bytes, rest_bytes: int, order: str) -> bool:
    if len(head) < 8:
        return False
    name, size_bytes = struct.unpack(f"{order}4sI", head)
    return is_chunk_name(name) and size_bytes <= rest_bytes


def is_chunk_name(name: bytes) -> bool:
    """Say whether these four bytes name a chunk; a file that was put behind this one begins with others."""
    return all(32 <= sign < 127 for sign in name) and name not in _FILE_NAMES


def announced_end_bytes(read: Read, file_bytes: int) -> Optional[int]:
    """Say where the file must end at the earliest by its own header; None where it does not say."""
    head = read(0, 64)
    span: Optional[tuple[int, int]] = None
    if head[:4] == b".snd" and len(head) >= 12:
        begins, size = struct.unpack_from(">II", head, 4)
        span = (begins, size)
    elif head[:4] == b"riff":
        span = _found(read, 40, ("<16sQ", b"data"), header_bytes=24, is_whole=True, align=8)
    elif head[:4] == b"caff":
        span = _found(read, 8, (">4sQ", b"data"), header_bytes=12)
    elif head[:4] == b"\x1a\x45\xdf\xa3":
        span = _segment(head)
    elif head[:4] in _RIFF:
        data = wav_data(read, file_bytes)
        span = (data.begins_at_bytes, data.size_bytes or 0) if data is not None else None
    if span is None or not 0 < span[1] < _UNKNOWN_64_BIT:
        return None
    if span[1] >= UNKNOWN_FROM_BYTES and span[1] > file_bytes and head[:4] != b"\x1a\x45\xdf\xa3":
        return None
    return sum(span)


def placeholders_filled(read: Read, file_bytes: int) -> tuple[tuple[int, bytes], ...]:
    """Give what stands in an AIFF or AU header for a size that nobody knew yet: where, and what it is.

    FFmpeg refuses such a file, or finds no samples in it, where it reads on in a WAV.
    """
    head = read(0, 24)
    if head[:4] == b".snd" and len(head) == 24:
        (size,) = struct.unpack_from(">I", head, 8)
        return () if size else ((8, b"\xff\xff\xff\xff"),)
    if head[:4] != b"FORM" or head[8:12] not in (b"AIFF", b"AIFC"):
        return ()
    filled = []
    if _is_placeholder(head[4:8], file_bytes, least=4):
        filled.append((4, struct.pack(">I", min(file_bytes - 8, _MOST_32_BIT))))
    at = 12
    for _ in range(_CHUNKS_MOST):
        chunk = read(at, 14)
        if len(chunk) < 14:
            break
        name, size = struct.unpack_from(">4sI", chunk)
        if name == b"COMM" and chunk[10] & 0x80:  # more samples than FFmpeg counts; 0: it counts them itself
            filled.append((at + 10, bytes(4)))
        if name == b"SSND":
            # Eight bytes of it are its own: with no more it holds nothing, if another chunk follows at once.
            follows = _is_chunk(read(at + 8 + size, 8), file_bytes - at, ">")
            if _is_placeholder(chunk[4:8], file_bytes, least=8) and not follows:
                filled.append((at + 4, struct.pack(">I", min(file_bytes - at - 8, _MOST_32_BIT))))
            break
        at += 8 + size + size % 2
    return tuple(filled)


def _is_placeholder(size: bytes, file_bytes: int, least: int) -> bool:
    size_bytes = int.from_bytes(size, "big")
    return size_bytes <= least or (size_bytes >= UNKNOWN_FROM_BYTES and size_bytes > file_bytes)


def mp3_announced_s(head: bytes) -> Optional[float]:
    """Say how long an MP3 is by the count of frames in its first one; None where there is no count.

    FFmpeg believes the count only where it fits the file's size. Else, as where another file was put behind
    this one, it takes the bit rate for a length.
    """
    name = _MP3_COUNT.search(head)
    if name is None:
        return None
    rate = next(filter(None, (_mp3_rate(head[name.start() - back :][:4]) for back in _MP3_COUNT_AT)), None)
    flags, count, vbri_count = struct.unpack_from(">4xIIxxI", head[name.start() :].ljust(18, b"\0"))
    if name[0] == b"VBRI":
        count = vbri_count
    elif not flags & 1:
        count = 0
    return count * rate[0] / rate[1] if rate is not None and count else None


def _mp3_rate(frame: bytes) -> Optional[tuple[int, int]]:
    """Read samples a frame and samples a second from a frame's header; None: it is none."""
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:
        return None
    version, rate = frame[1] >> 3 & 3, frame[2] >> 2 & 3
    if version == 1 or rate == 3:
        return None
    divisor = {3: 1, 2: 2, 0: 4}[version]
    return 1_152 if version == 3 else 576, (44_100, 48_000, 32_000)[rate] // divisor


def second_file_bytes(read: Read, file_bytes: int) -> int:
    """Count the bytes of MP4 files that were put behind the first: a player never comes to them; 0: none."""
    at, is_first = 0, True
    for _ in range(_CHUNKS_MOST):
        head = read(at, 16)
        if len(head) < 8:
            break
        size, name = struct.unpack_from(">I4s", head)
        if name == b"ftyp" and not is_first:
            return file_bytes - at
        if is_first and name != b"ftyp":
            break
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack_from(">Q", head, 8)
        if size < 8:
            break
        at, is_first = at + size, False
    return 0


def _found(
    read: Read, at: int, form: tuple[str, bytes], header_bytes: int, is_whole: bool = False, align: int = 1
) -> Optional[tuple[int, int]]:
    """Look for a chunk; `is_whole`: sizes count the chunk's own header too."""
    layout, wanted = form
    for _ in range(_CHUNKS_MOST):
        head = read(at, header_bytes)
        if len(head) < header_bytes:
            return None
        name, size = struct.unpack(layout, head)
        size -= header_bytes if is_whole else 0
        if name[:4] == wanted:
            return at + header_bytes, size
        if not 0 <= size < _UNKNOWN_64_BIT:
            return None
        at += header_bytes + size
        at += -at % align
    return None


def _segment(head: bytes) -> Optional[tuple[int, int]]:
    """Read the size of Matroska's one segment, where its writer came back to write it down."""
    at = head.find(b"\x18\x53\x80\x67") + 4
    if at < 4 or at + 8 > len(head) or not head[at]:
        return None
    count = 9 - head[at].bit_length()  # of the size's own bytes
    size = int.from_bytes(head[at : at + count], "big") & ((1 << 7 * count) - 1)
    is_unknown = size == (1 << 7 * count) - 1
    return None if is_unknown else (at + count, size)
