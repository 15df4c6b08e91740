"""What a file claims takes no memory: small files with large claims, decoded by a process of their own."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.workerproc import mp4_claims, recordings
from tests.workerproc.process import REPOSITORY
from tests.workerproc.recordings import tone, wav_header

MOST_BYTES = 300 * 1024**2  # the libraries alone take half of it
DECODES = """
import json, sys
from pathlib import Path
from workerproc.audio import decode
from workerproc.audio.pcm_file import PcmFile

told = ""
with PcmFile(Path(sys.argv[1]).parent) as tape:
    try:
        told = str(decode.decode(Path(sys.argv[1]), tape, 43_200.0, lambda done_s, audio_s: None).audio_s)
    except decode.AudioRejected as error:
        told = str(error)
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(json.dumps({"told": told, "peak_bytes": int(peak[0].split()[1]) * 1024}))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads its memory from /proc"),
]


def decoded(path: Path) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", DECODES, str(path)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts["told"], facts["peak_bytes"]


@pytest.mark.parametrize("rate_hz", [1, 100, 3_999])
def test_rate_at_which_no_speech_can_be_heard_is_refused(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "audio"
    path.write_bytes(wav_header(4_000_000, rate_hz=rate_hz) + b"\1\2" * 2_000_000)

    told, peak_bytes = decoded(path)

    assert told == f"the sampling rate is {rate_hz} Hz: speech needs at least 4000 Hz"
    assert peak_bytes < MOST_BYTES


def test_lowest_rate_is_resampled_in_bounded_pieces(tmp_path: Path) -> None:
    path = tmp_path / "audio"
    path.write_bytes(wav_header(40_000_000, rate_hz=4_000) + b"\1\2" * 20_000_000)

    told, peak_bytes = decoded(path)

    assert told == "5000.0"
    assert peak_bytes < MOST_BYTES


def test_cover_picture_is_not_decoded(tmp_path: Path) -> None:
    """A megabyte of PNG with 16,000 times 16,000 dots took a gigabyte, when FFmpeg looked what it was."""
    mp3 = recordings.encoded(tmp_path / "plain", "libmp3lame", "mp3", tone(5.0)).read_bytes()
    path = tmp_path / "audio"
    path.write_bytes(id3_with_picture(png_of(16_000)) + mp3)

    told, peak_bytes = decoded(path)

    assert float(told) == pytest.approx(5.0, abs=0.1)
    assert peak_bytes < MOST_BYTES


@pytest.mark.parametrize(
    "tables",
    [
        mp4_claims.header(mp4_claims.track(1, 50_000_000)),
        mp4_claims.header(*(mp4_claims.track(1 + number, 7_000_000) for number in range(8))),
        mp4_claims.header(mp4_claims.track(1, 1_000_000_000, b"sowt", a_chunk=100_000_000, chunks=300)),
        mp4_claims.fragmented(60_000_000),
        mp4_claims.packed_header(mp4_claims.header(mp4_claims.track(1, 5)), padding_bytes=500_000_000),
    ],
    ids=["one track", "eight tracks", "chunks", "a fragment", "packed"],
)
def test_index_that_would_take_gigabytes_is_not_made(tmp_path: Path, tables: bytes) -> None:
    """FFmpeg made an entry for each sample that 5 kB of MP4 counted: 1.8 GB before the first was read."""
    path = tmp_path / "audio"
    path.write_bytes(mp4_claims.mp4(tables))

    told, peak_bytes = decoded(path)

    assert told == "this MP4 file counts more than 10000000 samples: it is damaged, or no recording"
    assert peak_bytes < MOST_BYTES


def test_hours_of_samples_without_compression_are_read_from_mp4(tmp_path: Path) -> None:
    path = tmp_path / "audio"
    path.write_bytes(
        mp4_claims.mp4(mp4_claims.header(mp4_claims.track(1, 600_000_000, b"sowt")), media_bytes=160_000)
    )

    told, peak_bytes = decoded(path)

    assert float(told) == pytest.approx(5.0, abs=0.1)
    assert peak_bytes < MOST_BYTES


def png_of(size: int) -> bytes:
    """Draw a transparent square: one bit in ten thousand once it is packed."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + size * 4)) for _ in range(size)) + packer.flush()

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def id3_with_picture(picture: bytes) -> bytes:
    body = b"\0image/png\0\3\0" + picture
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + size + frame
