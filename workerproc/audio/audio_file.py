"""Inspects an audio file before FFmpeg opens it: header, announced length, ID3 tags in front of it."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from workerproc.audio import damage, headers, mp4_index
from workerproc.process.errors import AudioRejected

_ID3_TAGS_MOST = 8
# FFmpeg skips an ID3 tag before MP3 and AAC, but not before these formats.
_NO_ID3_BEFORE = (
    *(
        b"RIFF",
        b"RF64",
        b"BW64",
        b"RIFX",
        b"FORM",
        b"fLaC",
        b"OggS",
        b"caff",
        b"riff",
        b".snd",
        b"wvpk",
        b"#!AMR",
    ),
    *(b"\x1a\x45\xdf\xa3", b"\x0bw"),  # Matroska, AC-3
)


@dataclass(frozen=True)
class AudioFile:
    """An audio file's size, its first bytes (after an ID3 tag), and what its header announces."""

    path: Path
    size_bytes: int  # from `begins_at_bytes` on
    head: bytes
    begins_at_bytes: int = 0  # FFmpeg does not see what precedes it
    wav: Optional[headers.WavData] = None
    missed_s: float = 0.0  # of a WAV: samples behind the end that its header announces
    end_bytes: Optional[int] = None  # where it must end at the earliest, by its header
    filled: tuple[tuple[int, bytes], ...] = ()  # sizes that the header leaves open: where, and what to read
    second_bytes: int = 0  # of further files that were put behind it

    @property
    def announced_s(self) -> float:
        """The length that a WAV header announces; 0 where it announces none."""
        return (self.wav.announced_s or 0.0) if self.wav is not None else 0.0

    @property
    def is_endless(self) -> bool:
        """True for a WAV whose header does not give the size of its data."""
        return self.wav is not None and self.wav.size_bytes is None


class AudioReader(io.BufferedReader):
    """An open file from some byte on, in which every offset can be sought.

    Some bytes are read as others, for what a header leaves open (`AudioFile.filled`).
    """

    begins_at_bytes = 0
    filled: tuple[tuple[int, bytes], ...] = ()

    def read(self, size: Optional[int] = -1, /) -> bytes:
        """Read on."""
        begin = self.tell() if self.filled else 0
        data = super().read(size)
        for at, other in self.filled:
            if at + len(other) > begin and at < begin + len(data):
                changed = bytearray(data)
                for place, byte in enumerate(other, at - begin):
                    if 0 <= place < len(data):
                        changed[place] = byte
                data = bytes(changed)
        return data

    def seek(self, target: int, whence: int = 0, /) -> int:
        """Seek; an offset that the operating system rejects, from a damaged size, leads to the end."""
        try:
            at = super().seek(target + (0 if whence else self.begins_at_bytes), whence)
        except (OSError, OverflowError, ValueError):
            at = super().seek(0, os.SEEK_END)
        return at - self.begins_at_bytes

    def tell(self) -> int:
        """Return the position, counted from `begins_at_bytes`."""
        return super().tell() - self.begins_at_bytes


def look_at(path: Path) -> AudioFile:
    """Read the file's header. Raises `AudioRejected` where there is no file, or nothing to decode."""
    try:
        with path.open("rb") as opened:

            def read(at: int, count: int) -> bytes:
                opened.seek(begins_at_bytes + at)
                return opened.read(count)

            begins_at_bytes = 0
            if not read(0, 1):
                raise AudioRejected("the audio file is empty (0 bytes)")
            behind_tags_bytes = _behind_tags_bytes(read)
            head = read(behind_tags_bytes, damage.HEAD_BYTES)
            if head.startswith(_NO_ID3_BEFORE) or head[4:8] == b"ftyp":
                begins_at_bytes = behind_tags_bytes
            size_bytes = os.fstat(opened.fileno()).st_size - begins_at_bytes
            _check_index(read, size_bytes)
            wav = headers.wav_data(read, size_bytes)
            missed_s = 0.0 if wav is None else headers.wav_holds_more_s(wav, read, size_bytes)
            end_bytes = headers.announced_end_bytes(read, size_bytes)
            filled = headers.placeholders_filled(read, size_bytes)
            second_bytes = headers.second_file_bytes(read, size_bytes)
            return AudioFile(
                path, size_bytes, head, begins_at_bytes, wav, missed_s, end_bytes, filled, second_bytes
            )
    except FileNotFoundError:
        raise AudioRejected("there is no audio file: it was not fetched, or it was removed") from None
    except IsADirectoryError:
        raise AudioRejected("the audio is a folder, not a file") from None


def _check_index(read: headers.Read, size_bytes: int) -> None:
    """Reject a file whose index would take gigabytes of memory before the first sample is read."""
    most = mp4_index.ENTRIES_MOST
    if mp4_index.index_entries(read, size_bytes) > most:
        raise AudioRejected(f"this MP4 file counts more than {most} samples: it is damaged, or no recording")


def _behind_tags_bytes(read: headers.Read) -> int:
    """Return the offset at which the ID3 tags before the audio end."""
    at = 0
    for _ in range(_ID3_TAGS_MOST):
        tag = read(at, 10)
        if tag[:3] != b"ID3" or len(tag) < 10:
            break
        at += 10 + _of_seven_bits(tag[6:10]) + (10 if tag[5] & 0x10 else 0)  # the footer
    return at


def _of_seven_bits(data: bytes) -> int:
    """Read the size of an ID3 tag: seven bits in each byte."""
    size = 0
    for byte in data:
        size = size << 7 | byte & 0x7F
    return size
