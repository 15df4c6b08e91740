"""What headers say is held against the file: nothing is left out, nothing else is taken for samples."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Optional

import av
import numpy as np
import pytest

from tests.workerproc.containers import FRAGMENTED, Kind, Track, write
from tests.workerproc.recordings import RATE_HZ, noise, wav_header
from tests.workerproc.test_audio_times import decoded
from workerproc.process.errors import AudioRejected

ID3 = b"ID3\x03\0\0\0\0\x08\0" + b"TIT2\0\0\0\x06\0\0\0title" + b"\0" * 1_008  # a tag of 1,024 bytes


def whole(path: Path, kind: Kind) -> bytearray:
    return bytearray(write(path, kind).read_bytes())


@pytest.mark.parametrize(
    "kind",
    [
        Kind("wav", "adpcm_ms", 16_000),
        Kind("wav", "adpcm_ima_wav", 16_000),
        Kind("au", "pcm_s16be", 16_000),
        Kind("caf", "pcm_s16le", 16_000),
        Kind("w64", "pcm_s16le", 16_000),
        Kind("matroska", "pcm_s16le", 16_000),
    ],
    ids=str,
)
def test_file_that_ends_before_its_header_says_is_called_cut_and_the_whole_file_is_not(
    tmp_path: Path, kind: Kind
) -> None:
    data = whole(tmp_path / "whole", kind)
    (tmp_path / "cut").write_bytes(data[: len(data) * 9 // 10])

    _, of_whole = decoded(tmp_path / "whole")
    _, of_cut = decoded(tmp_path / "cut")

    assert of_whole.warnings == ()
    assert "was cut" in " ".join(of_cut.warnings)


@pytest.mark.parametrize("codec", ["adpcm_ms", "adpcm_ima_wav"])
def test_compressed_wav_is_read_beyond_the_end_that_its_header_announces(tmp_path: Path, codec: str) -> None:
    data = whole(tmp_path / "whole", Kind("wav", codec, 16_000))
    at = data.find(b"data") + 4
    struct.pack_into("<I", data, at, struct.unpack_from("<I", data, at)[0] // 3)
    (tmp_path / "short").write_bytes(data)

    _, of_whole = decoded(tmp_path / "whole")
    _, of_short = decoded(tmp_path / "short")

    assert of_short.audio_s == pytest.approx(of_whole.audio_s, abs=0.1)
    assert "all of it was transcribed" in " ".join(of_short.warnings)


def test_wav_with_several_chunks_of_data_is_transcribed_from_the_first_to_the_last(tmp_path: Path) -> None:
    """FFmpeg begins with the last of them, and would leave the rest out in silence."""
    pcm = noise(6.0).tobytes()
    first, second = pcm[: 4 * RATE_HZ * 2], pcm[4 * RATE_HZ * 2 :]
    further = b"LIST" + struct.pack("<I", 4) + b"INFO" + b"data" + struct.pack("<I", len(second))
    (tmp_path / "audio").write_bytes(wav_header(len(first)) + first + further + second)

    samples, sound = decoded(tmp_path / "audio")

    assert sound.audio_s == pytest.approx(6.0, abs=0.1)
    assert np.array_equal(samples[: 4 * RATE_HZ], np.frombuffer(first, np.int16) / np.float32(32_768))
    assert "announces 4.0 s" in " ".join(sound.warnings)


def test_header_behind_a_large_chunk_is_read_too(tmp_path: Path) -> None:
    pcm = noise(6.0).tobytes()
    header = wav_header(RATE_HZ * 2)
    junk = b"JUNK" + struct.pack("<I", 200_000) + bytes(200_000)
    (tmp_path / "audio").write_bytes(header[:12] + junk + header[12:] + pcm)

    _, sound = decoded(tmp_path / "audio")

    assert sound.audio_s == 6.0
    assert "announces 1.0 s" in " ".join(sound.warnings)


@pytest.mark.skipif(
    int(av.__version__.split(".")[0]) < 18,
    reason="FFmpeg before PyAV 18 refuses a last packet (64 ms) that half a sample ends; a warning says so",
)
@pytest.mark.parametrize("is_padded", [True, False], ids=["padded", "not padded"])
def test_chunk_behind_an_odd_number_of_bytes_is_not_taken_for_samples(
    tmp_path: Path, is_padded: bool
) -> None:
    pcm = noise(3.0).tobytes()[:-1]
    chunk = b"LIST" + struct.pack("<I", 100_000) + b"INFO" + b"x" * 99_996
    (tmp_path / "audio").write_bytes(wav_header(len(pcm)) + pcm + b"\0" * is_padded + chunk)

    _, sound = decoded(tmp_path / "audio")

    assert sound.audio_s == pytest.approx(3.0, abs=0.001)
    assert sound.warnings == ()


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    "kind",
    [
        Kind("wav", "pcm_s16le", 16_000),
        Kind("aiff", "pcm_s16be", 16_000),
        Kind("flac", "flac", 16_000),
        Kind("caf", "pcm_s16le", 16_000),
        Kind("mp4", "aac", 16_000),
        Kind("matroska", "pcm_s16le", 16_000),
    ],
    ids=str,
)
def test_id3_tag_before_a_file_changes_nothing(tmp_path: Path, kind: Kind, count: int) -> None:
    data = whole(tmp_path / "whole", kind)
    (tmp_path / "tagged").write_bytes(ID3 * count + data)

    plain, _ = decoded(tmp_path / "whole")
    tagged, sound = decoded(tmp_path / "tagged")

    assert np.array_equal(tagged, plain)
    assert sound.warnings == ()


def test_id3_tag_hides_no_samples_behind_the_end_that_a_header_announces(tmp_path: Path) -> None:
    (tmp_path / "audio").write_bytes(ID3 + wav_header(RATE_HZ * 2) + noise(6.0).tobytes())

    _, sound = decoded(tmp_path / "audio")

    assert sound.audio_s == 6.0
    assert "announces 1.0 s" in " ".join(sound.warnings)


def test_sound_that_ends_before_another_track_is_not_called_cut(tmp_path: Path) -> None:
    """The length of a WebM file is that of its longest track."""
    tracks = [Track(seconds=3.0), Track(seconds=9.0)]
    path = write(tmp_path / "audio", Kind("webm", "libopus", 48_000), tracks)

    _, sound = decoded(path)

    assert not [warning for warning in sound.warnings if "cut" in warning]


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}], ids=["index last", "index first"])
def test_second_mp4_behind_the_first_is_told_and_the_first_alone_has_no_warning(
    tmp_path: Path, options: dict[str, str]
) -> None:
    """FFmpeg reads one index and ends where that ends: files that were joined byte by byte lost the rest."""
    data = whole(tmp_path / "one", Kind("mp4", "aac", 44_100, options))
    (tmp_path / "two").write_bytes(data * 2)

    _, of_one = decoded(tmp_path / "one")
    _, of_two = decoded(tmp_path / "two")

    assert of_one.warnings == ()
    assert f"holds {len(data)} bytes behind" in " ".join(of_two.warnings)


def test_fragmented_mp4_files_in_a_row_are_read_or_it_is_told(tmp_path: Path) -> None:
    data = whole(tmp_path / "one", Kind("mp4", "aac", 44_100, FRAGMENTED))
    (tmp_path / "two").write_bytes(data * 2)

    _, of_one = decoded(tmp_path / "one")
    _, of_two = decoded(tmp_path / "two")

    assert of_one.warnings == ()
    is_told = "bytes behind" in " ".join(of_two.warnings)
    assert is_told != (of_two.audio_s > 1.5 * of_one.audio_s)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_mp3_files_in_a_row_with_a_tag_between_are_heard_without_a_word(tmp_path: Path, rate_hz: int) -> None:
    """The tag was called a damaged packet, and FFmpeg's estimate from size and bit rate a length."""
    first = whole(tmp_path / "first", Kind("mp3", "libmp3lame", 44_100))
    second = whole(tmp_path / "second", Kind("mp3", "libmp3lame", rate_hz))
    picture = b"ID3\x04\0\0\0\x0c\0\0" + b"APIC" + bytes(12 * 128 * 128 - 4)
    (tmp_path / "audio").write_bytes(first + picture + second)

    _, sound = decoded(tmp_path / "audio")

    assert sound.audio_s == pytest.approx(12.0, abs=0.2)
    assert sound.warnings == ()


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 32_000, 44_100])
def test_mp3_that_ends_before_its_count_of_frames_is_called_cut(tmp_path: Path, rate_hz: int) -> None:
    data = whole(tmp_path / "whole", Kind("mp3", "libmp3lame", rate_hz))
    (tmp_path / "cut").write_bytes(data[: len(data) * 2 // 3])

    _, of_whole = decoded(tmp_path / "whole")
    _, of_cut = decoded(tmp_path / "cut")

    assert of_whole.warnings == ()
    assert "announces 6." in " ".join(of_cut.warnings)


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_length_that_sox_writes_into_a_pipe_is_none_in_aiff_either(tmp_path: Path, bits: int) -> None:
    """11 s were said to be cut from 66,584.6 s: SoX writes 0x7F000000 bytes before it knows the size."""
    codec = "pcm_s8" if bits == 8 else f"pcm_s{bits}be"
    data = whole(tmp_path / "whole", Kind("aiff", codec, 16_000))
    count = 0x7F00_0000 // (bits // 8)
    struct.pack_into(">I", data, data.find(b"COMM") + 10, count)
    struct.pack_into(">I", data, data.find(b"SSND") + 4, count * (bits // 8) + 8)
    (tmp_path / "audio").write_bytes(data)

    _, sound = decoded(tmp_path / "audio")

    assert (sound.audio_s, sound.warnings) == (6.0, ())


def test_chunk_behind_the_samples_of_a_big_endian_wav_is_not_read(tmp_path: Path) -> None:
    """Its size was read from the wrong end: 40,000 bytes of a remark were taken for samples."""
    fmt = struct.pack(">HHIIHH", 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    samples = noise(3.0).astype(">i2").tobytes()
    chunks = ((b"fmt ", fmt), (b"data", samples), (b"LIST", bytes(range(250)) * 160))
    body = b"WAVE" + b"".join(struct.pack(">4sI", name, len(data)) + data for name, data in chunks)
    (tmp_path / "audio").write_bytes(struct.pack(">4sI", b"RIFX", len(body)) + body)

    _, sound = decoded(tmp_path / "audio")

    assert (sound.audio_s, sound.warnings) == (3.0, ())


@pytest.mark.parametrize(
    ("tag", "bits", "form"), [(1, 16, ">i2"), (1, 24, ">i4"), (1, 32, ">i4"), (3, 32, ">f4"), (3, 64, ">f8")]
)
def test_samples_of_a_big_endian_wav_are_read_from_their_right_end(
    tmp_path: Path, tag: int, bits: int, form: str
) -> None:
    """FFmpeg takes them for little-endian ones: speech became noise, and its transcript empty."""
    heard = noise(3.0)
    scale = 1 / 32_768 if tag == 3 else 2 ** (8 * np.dtype(form).itemsize - 16)
    samples = (heard.astype(np.float64) * scale).astype(form).tobytes()
    if bits == 24:
        samples = b"".join(samples[at : at + 3] for at in range(0, len(samples), 4))
    stereo = b"".join(samples[at : at + bits // 8] * 2 for at in range(0, len(samples), bits // 8))
    fmt = struct.pack(">HHIIHH", tag, 2, RATE_HZ, RATE_HZ * bits // 4, bits // 4, bits)
    chunks = ((b"fmt ", fmt), (b"data", stereo))
    body = b"WAVE" + b"".join(struct.pack(">4sI", name, len(data)) + data for name, data in chunks)
    (tmp_path / "audio").write_bytes(ID3 + struct.pack(">4sI", b"RIFX", len(body)) + body)

    found, sound = decoded(tmp_path / "audio")

    assert np.abs(found - heard / np.float32(32_768)).max() < 2 / 32_768
    assert sound.warnings == ()


UNKNOWN = 0xFFFF_FFFF


@pytest.mark.parametrize("before", [b"", ID3], ids=["plain", "tagged"])
@pytest.mark.parametrize(
    ("form", "count", "ssnd"),
    [
        (0, 0, 0),
        (0, 0, 8),
        (0, UNKNOWN, UNKNOWN),
        (UNKNOWN, UNKNOWN, UNKNOWN),
        (None, None, 0),
        (0, None, None),
    ],
)
def test_aiff_whose_sizes_nobody_came_back_to_write_is_read_whole(
    tmp_path: Path, form: Optional[int], count: Optional[int], ssnd: Optional[int], before: bytes
) -> None:
    """FFmpeg refuses such a file, though the same in a WAV is read."""
    data = whole(tmp_path / "whole", Kind("aiff", "pcm_s16be", 16_000))
    places = (4, data.find(b"COMM") + 10, data.find(b"SSND") + 4)
    for place, size in zip(places, (form, count, ssnd)):
        if size is not None:
            struct.pack_into(">I", data, place, size)
    (tmp_path / "open").write_bytes(before + data)

    plain, _ = decoded(tmp_path / "whole")
    found, sound = decoded(tmp_path / "open")

    assert np.array_equal(found, plain)
    assert sound.warnings == ()


def test_chunk_behind_an_aiff_without_samples_is_not_taken_for_samples(tmp_path: Path) -> None:
    data = whole(tmp_path / "whole", Kind("aiff", "pcm_s16be", 16_000))
    at = data.find(b"SSND")
    remark = b"ANNO" + struct.pack(">I", 40_000) + b"remark !" * 5_000
    (tmp_path / "empty").write_bytes(data[:at] + b"SSND" + struct.pack(">III", 8, 0, 0) + remark)

    with pytest.raises(AudioRejected, match="length of zero"):
        decoded(tmp_path / "empty")


@pytest.mark.parametrize("size", [0, UNKNOWN])
def test_au_whose_size_is_not_stated_is_read_whole(tmp_path: Path, size: int) -> None:
    data = whole(tmp_path / "whole", Kind("au", "pcm_s16be", 16_000))
    struct.pack_into(">I", data, 8, size)
    (tmp_path / "open").write_bytes(data)

    plain, _ = decoded(tmp_path / "whole")
    found, sound = decoded(tmp_path / "open")

    assert np.array_equal(found, plain)
    assert sound.warnings == ()
