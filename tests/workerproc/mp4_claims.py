"""MP4 files of a few kilobytes whose tables count as many samples as a test wants."""

from __future__ import annotations

import struct
import zlib

_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_AAC = "03190001000411401500000000000000000000000005021408060102"  # its decoder's settings, 16 kHz


def box(name: bytes, *inside: bytes) -> bytes:
    data = b"".join(inside)
    return struct.pack(">I4s", 8 + len(data), name) + data


def full(name: bytes, *numbers: int, flags: int = 0, then: bytes = b"") -> bytes:
    return box(name, struct.pack(f">{1 + len(numbers)}I", flags, *numbers), then)


def entry(codec: bytes) -> bytes:
    settings = full(b"esds", then=bytes.fromhex(_AAC)) if codec == b"mp4a" else b""
    return box(codec, bytes(6), b"\0\1", bytes(8), struct.pack(">HHHHI", 1, 16, 0, 0, 16_000 << 16), settings)


def track(number: int, count: int, codec: bytes = b"mp4a", a_chunk: int = 0, chunks: int = 1) -> bytes:
    """Give a track of so many samples; without compression (`sowt`) one tick long each."""
    ticks, size_bytes = (1, 2) if codec == b"sowt" else (1_024, 1)
    tables = box(
        b"stbl",
        full(b"stsd", 1, then=entry(codec)),
        full(b"stts", 1, count, ticks),
        full(b"stsc", 1, 1, a_chunk or count, 1),
        full(b"stsz", size_bytes, count),
        full(b"stco", chunks, then=struct.pack(">I", 48) * chunks),
    )
    where = box(b"dinf", full(b"dref", 1, then=full(b"url ", flags=1)))
    ends = min(count * ticks, 0xFFFF_FFFF)
    media = box(
        b"mdia",
        full(b"mdhd", 0, 0, 16_000, ends, 0x55C4_0000),
        full(b"hdlr", 0, then=b"soun" + bytes(13)),
        box(b"minf", full(b"smhd", 0), where, tables),
    )
    return box(
        b"trak", full(b"tkhd", 0, 0, number, 0, ends, flags=7, then=bytes(16) + _MATRIX + bytes(8)), media
    )


def header(*tracks: bytes) -> bytes:
    return box(
        b"moov",
        full(b"mvhd", 0, 0, 16_000, 0, 0x10000, 0x1000000, then=bytes(8) + _MATRIX + bytes(28)),
        *tracks,
    )


def packed_header(plain: bytes, padding_bytes: int = 0) -> bytes:
    """Compress a header as QuickTime did; zeros behind it take almost nothing."""
    packed = zlib.compress(plain + bytes(padding_bytes), 9)
    size = struct.pack(">I", len(plain) + padding_bytes)
    return box(b"moov", box(b"cmov", box(b"dcom", b"zlib"), box(b"cmvd", size, packed)))


def fragment(count: int) -> bytes:
    inside = box(b"traf", full(b"tfhd", 1, flags=0x20000), full(b"tfdt", 0), full(b"trun", count))
    return box(b"moof", full(b"mfhd", 1), inside)


def fragmented(count: int) -> bytes:
    return header(track(1, 0), box(b"mvex", full(b"trex", 1, 1, 1_024, 1, 0))) + fragment(count)


def mp4(tables: bytes, media_bytes: int = 5_000) -> bytes:
    kind = box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomiso2")
    return kind + box(b"mdat", bytes(media_bytes)) + tables
