"""No speech is lost in silence: cancelling channels, tracks that are not the first, headers that lie."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.workerproc import recordings
from tests.workerproc.containers import Kind, Track, write
from tests.workerproc.recordings import (
    RATE_HZ,
    noise,
    silence,
    tone,
    wav,
    wav_header,
)
from tests.workerproc.test_audio_times import decoded
from workerproc.audio import decode
from workerproc.audio.downmix import without_cancelling

PCM = Kind("matroska", "pcm_s16le", 16_000)


def stereo(left: Any, right: Any) -> Any:
    return np.stack([left, right], axis=1).reshape(-1)


def test_channels_that_cancel_each_other_are_heard_one_by_one_and_it_is_told(tmp_path: Path) -> None:
    left = noise(12.0)

    samples, sound = decoded(wav(tmp_path / "audio", stereo(left, -left), channels=2))

    assert np.sqrt(np.mean(samples**2)) == pytest.approx(np.sqrt(np.mean((left / 32_768.0) ** 2)), rel=0.01)
    assert "channels cancel each other out for 12 s" in " ".join(sound.warnings)


@pytest.mark.parametrize("right", [0.9, 0.7], ids=["by a tenth", "by a third"])
def test_channels_that_cancel_almost_are_mended_too(tmp_path: Path, right: float) -> None:
    left = noise(3.0)

    samples, _ = decoded(wav(tmp_path / "audio", stereo(left, (-right * left).astype(np.int16)), channels=2))

    assert np.sqrt(np.mean(samples**2)) > 0.5 * np.sqrt(np.mean((left / 32_768.0) ** 2))


def test_only_the_stretch_that_cancels_is_changed(tmp_path: Path) -> None:
    left = noise(20.0)
    right = left.copy()
    right[5 * RATE_HZ : 9 * RATE_HZ] *= -1

    samples, sound = decoded(wav(tmp_path / "audio", stereo(left, right), channels=2))

    assert np.allclose(samples, left / 32_768.0, atol=2e-4)
    assert "for 4 s" in " ".join(sound.warnings)


@pytest.mark.parametrize("count", [9, 12, 32, 64])
@pytest.mark.parametrize("speaks", ["all", "one", "opposite"])
def test_channels_that_ffmpeg_can_not_mix_are_heard(tmp_path: Path, count: int, speaks: str) -> None:
    """Microphone arrays write channels without saying where they are; FFmpeg then refuses to mix them."""
    pcm = noise(3.0)
    channels = np.zeros((len(pcm), count), np.int16)
    channels[:, -1 if speaks == "one" else slice(None)] = pcm if speaks == "one" else pcm[:, None]
    channels[:, 1 if speaks == "opposite" else count :: 2] *= -1

    samples, sound = decoded(wav(tmp_path / "audio", channels.reshape(-1), channels=count))

    assert sound.audio_s == 3.0
    assert np.sqrt(np.mean(samples**2)) > 0.5 * np.sqrt(np.mean((pcm / 32_768.0) ** 2))


@pytest.mark.parametrize(
    "right", [silence(3.0), tone(3.0), noise(3.0)[::-1].copy(), noise(3.0)],
    ids=["one side silent", "two sources", "unlike", "alike"],
)  # fmt: skip
def test_stereo_that_does_not_cancel_stays_faster_whispers_mix(tmp_path: Path, right: Any) -> None:
    from faster_whisper import decode_audio

    path = wav(tmp_path / "audio", stereo(noise(3.0), right), channels=2)

    samples, sound = decoded(path)

    assert np.array_equal(samples, decode_audio(str(path)))
    assert sound.warnings == ()


@pytest.mark.parametrize("live", [0, 2, 5], ids=["front", "centre", "back"])
def test_one_live_channel_of_six_stays_faster_whispers_mix(tmp_path: Path, live: int) -> None:
    """The mean of six channels of which one speaks has 1/36 of its power: that is no cancelling."""
    from faster_whisper import decode_audio

    path = wav(tmp_path / "audio", six_channels({live: noise(3.0)}), channels=6)

    samples, sound = decoded(path)

    assert np.array_equal(samples, decode_audio(str(path)))
    assert sound.warnings == ()


@pytest.mark.parametrize(
    "speech", [{3: noise(3.0)}, {0: noise(3.0), 1: -noise(3.0)}], ids=["deep notes", "opposite"]
)
def test_speech_that_a_mix_of_six_channels_loses_is_heard(tmp_path: Path, speech: dict[int, Any]) -> None:
    samples, sound = decoded(wav(tmp_path / "audio", six_channels(speech), channels=6))

    assert np.sqrt(np.mean(samples**2)) > 0.05
    assert "one channel alone" in " ".join(sound.warnings)


@pytest.mark.skipif(
    av.library_versions["libavutil"][0] < 60,
    reason="FFmpeg 7 gives sixteen channels other places: there these don't cancel each other out",
)
def test_opposite_channels_among_sixteen_are_heard(tmp_path: Path) -> None:
    channels = np.stack([noise(3.0), -noise(3.0)] * 8, axis=1).reshape(-1)

    samples, sound = decoded(wav(tmp_path / "audio", channels, channels=16))

    assert np.sqrt(np.mean(samples**2)) > 0.05
    assert "one channel alone" in " ".join(sound.warnings)


def test_opposite_channels_are_mended_where_each_of_eight_has_a_plane_of_its_own() -> None:
    """PyAV reads past the end of such a frame: AAC or Vorbis of eight channels killed the worker."""
    pair = [noise(3.0), -noise(3.0), *[silence(3.0)] * 6]
    packed = av.AudioFrame.from_ndarray(np.stack(pair, axis=1).reshape(1, -1), format="s16", layout="7.1")
    packed.sample_rate = RATE_HZ
    (planar,) = av.AudioResampler(format="fltp", layout="7.1", rate=RATE_HZ).resample(packed)

    mended, cancelled_s = without_cancelling(planar)

    assert cancelled_s == pytest.approx(3.0, abs=0.01)
    assert mended.samples == planar.samples


def six_channels(live: dict[int, Any]) -> Any:
    return np.stack([live.get(number, silence(3.0)) for number in range(6)], axis=1).reshape(-1)


def test_default_track_is_taken_though_it_is_not_the_first(tmp_path: Path) -> None:
    tracks = [Track(seconds=4.0, is_silent=True, is_default=False), Track(seconds=6.0)]

    samples, sound = decoded(write(tmp_path / "audio", PCM, tracks))

    assert sound.audio_s == pytest.approx(6.0, abs=0.1)
    assert np.abs(samples).max() > 0.1
    assert "2 audio tracks" in " ".join(sound.warnings)


def test_track_that_speaks_is_taken_where_the_chosen_one_is_silent(tmp_path: Path) -> None:
    tracks = [Track(is_silent=True), Track(is_silent=True), Track(seconds=4.0, is_default=False)]

    samples, sound = decoded(write(tmp_path / "audio", PCM, tracks))

    assert np.abs(samples).max() > 0.1
    assert sound.audio_s == pytest.approx(4.0, abs=0.1)
    assert "first 2 audio tracks of 3 are silent" in " ".join(sound.warnings)


def test_silence_on_all_tracks_is_a_recording_without_speech(tmp_path: Path) -> None:
    samples, sound = decoded(write(tmp_path / "audio", PCM, [Track(is_silent=True)] * 2))

    assert sound.audio_s == pytest.approx(6.0, abs=0.1)
    assert not samples.any()


def test_all_samples_are_read_where_the_header_of_a_wav_announces_fewer(tmp_path: Path) -> None:
    """A recorder that dies writes the header of its last save, and samples go on behind it."""
    path = tmp_path / "audio"
    path.write_bytes(wav_header(3 * 32_000) + noise(11.0).tobytes())

    samples, sound = decoded(path)

    assert np.array_equal(samples, noise(11.0) / np.float32(32_768.0))
    assert "announces 3.0 s of audio, the file holds 11.0 s" in " ".join(sound.warnings)


def test_two_wav_files_in_one_are_both_heard(tmp_path: Path) -> None:
    path = tmp_path / "audio"
    path.write_bytes((wav_header(3 * 32_000) + noise(3.0).tobytes()) * 2)

    _, sound = decoded(path)

    assert sound.audio_s == pytest.approx(6.0, abs=0.01)
    assert "announces 3.0 s of audio, the file holds 6.0 s" in " ".join(sound.warnings)


@pytest.mark.parametrize(
    "kind", [Kind("caf", "pcm_s16le", 16_000), Kind("aiff", "pcm_s16be", 16_000)], ids=str
)
def test_what_lies_behind_the_announced_samples_is_told(tmp_path: Path, kind: Kind) -> None:
    path = tmp_path / "audio"
    path.write_bytes(write(tmp_path / "whole", kind).read_bytes() + noise(4.0).tobytes())

    _, sound = decoded(path)

    assert "bytes behind the 6.0 s of audio" in " ".join(sound.warnings)


def test_rf64_written_into_a_pipe_is_heard(tmp_path: Path) -> None:
    """FFmpeg leaves the sizes of RF64 at 0 where it can't go back, and reads that as no audio at all."""
    data = bytearray(
        write(tmp_path / "whole", Kind("wav", "pcm_s16le", 16_000, {"rf64": "always"})).read_bytes()
    )
    at = data.find(b"ds64") + 8
    data[at : at + 28] = bytes(28)
    path = tmp_path / "audio"
    path.write_bytes(data)

    _, sound = decoded(path)

    assert (sound.audio_s, sound.warnings) == (6.0, ())


@pytest.mark.parametrize("size", [64_024, 1 << 62])
def test_size_that_leads_nowhere_costs_no_samples_before_it(tmp_path: Path, size: int) -> None:
    """FFmpeg sought what the disk has no number for; the error was taken for one of the worker's."""
    data = bytearray(write(tmp_path / "whole", Kind("w64", "pcm_s16le", 16_000)).read_bytes())
    at = data.find(b"data\xf3\xac") + 16
    data[at : at + 8] = struct.pack("<Q", size)
    path = tmp_path / "audio"
    path.write_bytes(data)

    _, sound = decoded(path)

    assert sound.audio_s > 1.9


@pytest.mark.parametrize(
    "behind",
    [
        b"LIST" + struct.pack("<I", 40_000) + bytes(range(250)) * 160,
        b"id3 " + struct.pack("<I", 60_000) + bytes(60_000),
        bytes(100_000),
        b"TAG" + bytes(125),
    ],
    ids=["LIST", "id3", "padding", "ID3v1"],
)
def test_what_is_no_audio_behind_the_samples_of_a_wav_is_not_read(tmp_path: Path, behind: bytes) -> None:
    from faster_whisper import decode_audio

    path = tmp_path / "audio"
    path.write_bytes(wav_header(3 * 32_000) + noise(3.0).tobytes() + behind)

    samples, sound = decoded(path)

    assert np.array_equal(samples, decode_audio(str(path)))
    assert (sound.audio_s, sound.warnings) == (3.0, ())


# --- lengths that nobody knew when they were written


@pytest.mark.parametrize(
    "size",
    [
        0,
        0x7FFF_F000,
        0x7FFF_FFDB,
        0x7FFF_FFFF,
        0x8000_0000,
        0x8000_0024,
        0xFFFF_F000,
        0xFFFF_FFDB,
        0xFFFF_FFFF,
    ],
    ids=hex,
)
def test_size_that_a_recorder_writes_into_a_pipe_is_no_length(tmp_path: Path, size: int) -> None:
    path = tmp_path / "audio"
    path.write_bytes(wav_header(size) + noise(2.0).tobytes())

    samples, sound = decoded(path, max_audio_s=60.0)

    assert np.array_equal(samples, noise(2.0) / np.float32(32_768.0))
    assert sound.warnings == ()


@pytest.mark.parametrize("bytes_per_s", [0, 1, 8_000, 4_000_000_000])
def test_wrong_byte_rate_in_a_wav_header_changes_nothing(tmp_path: Path, bytes_per_s: int) -> None:
    header = bytearray(wav_header(2 * 32_000))
    header[28:32] = struct.pack("<I", bytes_per_s)
    path = tmp_path / "audio"
    path.write_bytes(bytes(header) + noise(2.0).tobytes())

    _, sound = decoded(path, max_audio_s=60.0)

    assert (sound.audio_s, sound.warnings) == (2.0, ())


@pytest.mark.parametrize(
    "kind", [Kind("adts", "aac", 16_000), Kind("mp3", "libmp3lame", 16_000, {"write_xing": "0"})]
)
def test_estimate_from_the_bit_rate_neither_refuses_nor_warns(tmp_path: Path, kind: Kind) -> None:
    """Ten minutes of AAC with silence in front were "46447 s long"."""
    path = tmp_path / "audio"
    quiet = write(tmp_path / "quiet", kind, [Track(seconds=40.0, is_silent=True)]).read_bytes()
    path.write_bytes(quiet + write(tmp_path / "loud", kind, [Track(seconds=4.0)]).read_bytes())
    told: list[float] = []

    with recordings.pcm_file() as pcm_file:
        sound = decode.decode(path, pcm_file, 60.0, lambda done_s, audio_s: told.append(audio_s))

    assert sound.audio_s == pytest.approx(44.0, abs=0.5)
    assert "announces" not in " ".join(sound.warnings)
    assert set(told) == {0.0}  # unknown, which neither progress nor a budget is built on
