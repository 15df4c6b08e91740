"""Reads from file headers where the samples begin and end. PURE.

FFmpeg reads uncompressed audio up to the end of the file, whatever the header says: a recording that was
truncated in transit decodes without an error, and samples after the announced end are silently left out.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Callable, Optional

Read = Callable[[int, int], bytes]  # (offset, count) -> bytes; fewer at the end of the file

# Recorders that write to a pipe do not know the size, and write a number near 2 or 4 GiB.
UNKNOWN_FROM_BYTES = 0x7EFF_0000  # SoX: 0x7F000000 in AIFF
TAIL_BYTES = 1_048_576  # searched for samples after the announced end
_UNKNOWN_64_BIT = 1 << 62
_MOST_32_BIT = 0x7FFF_FFFF
_RIFF = (b"RIFF", b"RF64", b"BW64", b"RIFX")
_FILE_NAMES = frozenset({*_RIFF, b"FORM", b"caff", b"riff"})
_PCM_TAGS = frozenset({1, 3, 6, 7})  # integers, floats, A-law, mu-law: a fixed number of bytes per sample
_ADPCM_TAGS = frozenset({2, 0x11})  # in blocks; the header gives the samples of a block
_EXTENSIBLE = 0xFFFE
_CHUNKS_MOST = 1_000
_MP3_COUNT = re.compile(rb"Xing|Info|VBRI")
_MP3_COUNT_AT = (36, 21, 13)  # offset in the frame, by version and channels
_MORE_THAN_HEADER_S = 0.5  # after the data that a WAV announces; less is padding


@dataclass(frozen=True)
class WavData:
    """Offset and size of a WAV file's samples, by its header, and its byte rate."""

    begins_at_bytes: int
    size_bytes: Optional[int]  # None: unknown when the header was written
    bytes_per_s: int
    is_exact: bool = True  # False: compressed, so that `bytes_per_s` is approximate

    @property
    def announced_s(self) -> Optional[float]:
        """The length that the header announces; None where it announces none."""
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
    """Compute the byte rate from rate, channels and bits: recorders often write a wrong byte rate."""
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
    """Return how many seconds of samples follow the data that a WAV header announces; 0: none.

    Other chunks and padding may follow the data; some recorders write a second data chunk.
    """
    if data.size_bytes is None:
        return 0.0
    order = ">" if read(0, 4) == b"RIFX" else "<"
    at = end_at = data.begins_at_bytes + data.size_bytes
    for _ in range(_CHUNKS_MOST):
        # Chunks are padded to an even size, but not by every writer.
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
    """Say whether these four bytes are a chunk name, and not the beginning of an appended file."""
    return all(32 <= sign < 127 for sign in name) and name not in _FILE_NAMES


def announced_end_bytes(read: Read, file_bytes: int) -> Optional[int]:
    """Return the least size of a complete file, by its header; None where the header does not give it."""
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
    """Return the length of an MP3 by the frame count in its first frame; None where there is no count.

    FFmpeg uses the count only where it matches the file's size. Otherwise, as with an appended file, it
    estimates the length from the bit rate.
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
    """Read samples per frame and sampling rate from a frame header; None where it is no frame header."""
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:
        return None
    version, rate = frame[1] >> 3 & 3, frame[2] >> 2 & 3
    if version == 1 or rate == 3:
        return None
    divisor = {3: 1, 2: 2, 0: 4}[version]
    return 1_152 if version == 3 else 576, (44_100, 48_000, 32_000)[rate] // divisor


def second_file_bytes(read: Read, file_bytes: int) -> int:
    """Count the bytes of MP4 files that were appended to the first, which players ignore; 0: none."""
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
    """Find a chunk: its offset and size. `is_whole`: sizes include the chunk's header."""
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
    """Read offset and size of the Matroska segment; None where the size is unknown."""
    at = head.find(b"\x18\x53\x80\x67") + 4
    if at < 4 or at + 8 > len(head) or not head[at]:
        return None
    count = 9 - head[at].bit_length()  # length of the size field
    size = int.from_bytes(head[at : at + count], "big") & ((1 << 7 * count) - 1)
    is_unknown = size == (1 << 7 * count) - 1
    return None if is_unknown else (at + count, size)
