"""How long an index FFmpeg would make of an MP4 file. PURE.

FFmpeg writes an entry of 24 bytes and more for each sample that the file's tables count, before it reads one
of them: a file of 5 kB that counted 50 million took 1.8 GB. The tables are looked for by their names in
whatever is not media data, so that no box around them hides one.
"""

from __future__ import annotations

import itertools
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from workerproc.audio.headers import Read

# 12 hours of AAC at 48 kHz and of video with 60 pictures a second are 4.6 million.
ENTRIES_MOST = 10_000_000
_IS_ENDLESS = ENTRIES_MOST + 1
_BOXES_MOST = 2_000_000  # twenty fragments a second, for 12 hours
_NAME = re.compile(rb"[a-z]{4}")  # of a box that FFmpeg may look into
_TABLE = re.compile(rb"(?=(trak|hdlr|stts|stsz|stz2|stsc|stco|co64|trun|cmvd))")  # two may share bytes
_PIECE_BYTES = 1_048_576
_FIELDS_BYTES = 16  # behind a name: as many as are read of any table but `stsc`
_RUNS_BYTES_MOST = 12 * 1_048_576
_HEADER_BYTES_MOST = 64 * 1_048_576  # of a compressed header, unpacked
_GROUPED = 1_024  # so many samples without compression have one entry


@dataclass
class _Track:
    """What the tables of one track say."""

    sample_count: int = 0
    chunk_count: int = 0
    kinds: set[bytes] = field(default_factory=set)
    times: set[tuple[int, int]] = field(
        default_factory=set
    )  # how many entries, and how long the first one is
    runs: bytes = b""

    def entries(self) -> int:
        """Count the entries of its index: samples of equal size and one tick each are taken in groups."""
        if self.kinds != {b"soun"} or self.times != {(1, 1)}:
            return self.sample_count
        runs = [(first, samples) for first, samples, _ in struct.iter_unpack(">3I", self.runs)]
        ends = [first for first, _ in runs[1:]] + [self.chunk_count + 1]
        return sum(max(0, end - first) * -(-samples // _GROUPED) for (first, samples), end in zip(runs, ends))


def index_entries(read: Read, file_bytes: int) -> int:
    """Count the entries that FFmpeg's index of an MP4 file would have; 0 for anything else."""
    at = entries = 0
    for _ in range(_BOXES_MOST):
        head = read(at, 16)
        if len(head) < 8:
            return entries
        size_bytes, name = struct.unpack_from(">I4s", head)
        if size_bytes == 1 and len(head) == 16:
            (size_bytes,) = struct.unpack_from(">Q", head, 8)
        end_at = min(at + size_bytes if size_bytes else file_bytes, file_bytes)
        if end_at < at + 8:
            return entries
        if name != b"mdat" and _NAME.fullmatch(name):
            entries += _entries_in(read, at, end_at)
        at = end_at
    return _IS_ENDLESS


def _entries_in(read: Read, at: int, end_at: int, is_unpacked: bool = False) -> int:
    """Count the entries by the tables between these bytes."""
    entries, track = 0, _Track()
    for name, name_at, fields in _tables(read, at, end_at):
        first, second, third, fourth = struct.unpack(">4I", fields.ljust(_FIELDS_BYTES, b"\0"))
        if name == b"trak":
            entries, track = entries + track.entries(), _Track()
        elif name == b"trun":
            entries += second
        elif name == b"hdlr":
            track.kinds.add(fields[8:12])
        elif name == b"stts":
            track.times.add((second, fourth))
        elif name == b"stsc":
            track.runs = read(name_at + 12, min(12 * second, _RUNS_BYTES_MOST))
            track.runs = track.runs[: len(track.runs) // 12 * 12]
        elif name == b"cmvd":
            packed = read(name_at + 8, min(end_at - name_at, _HEADER_BYTES_MOST))
            entries += _IS_ENDLESS if is_unpacked else _entries_packed(packed, first)
        elif name in (b"stsz", b"stz2"):
            track.sample_count += third
        else:
            track.chunk_count = max(track.chunk_count, second)
    return entries + track.entries()


def _entries_packed(packed: bytes, size_bytes: int) -> int:
    """Count the entries by a compressed header, as QuickTime wrote it."""
    if size_bytes > _HEADER_BYTES_MOST:
        return _IS_ENDLESS
    try:
        header = zlib.decompressobj().decompress(packed, max(1, size_bytes))
    except zlib.error:
        return 0  # nor can FFmpeg read it
    return _entries_in(lambda at, count: header[at : at + count], 0, len(header), is_unpacked=True)


def _tables(read: Read, at: int, end_at: int) -> Iterator[tuple[bytes, int, bytes]]:
    """Give the name of each table, at which byte it stands, and the bytes behind it."""
    overlap_bytes = 4 + _FIELDS_BYTES
    for piece_at in itertools.count(at, _PIECE_BYTES):
        if piece_at >= end_at:
            return
        piece = read(piece_at, min(_PIECE_BYTES + overlap_bytes, end_at - piece_at))
        for found in _TABLE.finditer(piece):
            if found.start() < _PIECE_BYTES:
                fields = piece[found.start() + 4 : found.start() + overlap_bytes]
                yield found.group(1), piece_at + found.start(), fields
