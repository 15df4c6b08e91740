"""How many entries FFmpeg's index would have is known before FFmpeg makes it."""

from __future__ import annotations

import struct

import pytest

from tests.workerproc.mp4_claims import (
    box,
    fragmented,
    header,
    mp4,
    packed_header,
    track,
)
from workerproc.audio.mp4_index import ENTRIES_MOST, index_entries

MILLION = 1_000_000


def entries(data: bytes) -> int:
    return index_entries(lambda at, count: data[at : at + count], len(data))


@pytest.mark.parametrize(
    "tables",
    [
        header(track(1, 20 * MILLION)),
        header(*(track(1 + number, 4 * MILLION) for number in range(5))),
        fragmented(20 * MILLION),
        packed_header(header(track(1, 20 * MILLION))),
        header(box(b"udta", track(1, 20 * MILLION))),
        header(track(1, 20 * MILLION).replace(b"soun", b"vide")),
    ],
    ids=["one track", "five tracks", "fragment", "packed", "in another box", "video"],
)
def test_every_sample_counts_wherever_its_table_stands(tables: bytes) -> None:
    assert entries(mp4(tables)) == 20 * MILLION


def test_samples_without_compression_count_in_groups_as_ffmpeg_takes_them() -> None:
    twelve_hours = 12 * 3_600 * 48_000

    assert entries(mp4(header(track(1, twelve_hours, b"sowt")))) == twelve_hours // 1_024
    assert entries(mp4(header(track(1, 3_000, b"sowt", a_chunk=1_025, chunks=3)))) == 6


def test_name_that_shares_bytes_with_the_size_before_it_hides_no_table() -> None:
    tables = header(track(1, 20 * MILLION).replace(struct.pack(">I", 20) + b"stsz", b"\0stt" + b"stsz"))

    assert entries(mp4(tables)) == 20 * MILLION


def test_table_over_the_edge_of_what_is_read_at_once_counts() -> None:
    begins = header(track(1, 20 * MILLION)).find(b"stsz")
    for shift in range(-24, 4):
        padding = box(b"free", bytes(1_048_576 - 8 - begins + shift))
        assert entries(mp4(header(padding, track(1, 20 * MILLION)))) == 20 * MILLION


@pytest.mark.parametrize("padding_bytes", [0, 100 * MILLION])
def test_compressed_header_is_unpacked_within_bounds_and_not_twice(padding_bytes: int) -> None:
    assert entries(mp4(packed_header(packed_header(header(track(1, 5))), padding_bytes))) > ENTRIES_MOST


def test_media_data_is_not_looked_into() -> None:
    table = b"stsz" + struct.pack(">III", 0, 1, 20 * MILLION)

    assert entries(box(b"mdat", table) + header(track(1, 7))) == 7


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 40,
        b"OggS" + bytes(60),
        b"RIFF\x24\0\0\0WAVE",
        b"\xff\xfb\x90\x64" * 20,
        b"\0\0\0\1mdat" * 9,
    ],
)
def test_file_of_another_kind_has_no_index(data: bytes) -> None:
    assert entries(data) == 0
