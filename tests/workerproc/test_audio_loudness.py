"""Speech that is far too quiet to be heard, or far too loud to be told from noise, is heard as usual."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.workerproc.corpus import wav_of
from tests.workerproc.recordings import RATE_HZ, noise, tone, wav
from tests.workerproc.test_audio_times import decoded


def level_db(pcm: Any, level: float) -> Any:
    return pcm * 10.0 ** (level / 20.0) * 32_768.0 / np.abs(pcm).max()


@pytest.mark.parametrize("level", [-41.0, -50.0, -60.0])
def test_quiet_recording_is_amplified_and_it_is_told(tmp_path: Path, level: float) -> None:
    """At -50 dB of full scale half a sentence was left out as silence, without a word."""
    quiet = level_db(noise(3.0), level).astype(np.int16)

    samples, sound = decoded(wav(tmp_path / "audio", quiet))

    assert np.abs(samples).max() == pytest.approx(0.5, rel=0.01)
    assert np.allclose(samples / np.abs(samples).max(), quiet / np.abs(quiet).max(), atol=0.01)
    assert "very quiet" in " ".join(sound.warnings)


def test_quiet_channels_that_cancel_each_other_are_heard_too(tmp_path: Path) -> None:
    left = level_db(noise(3.0), -50.0).astype(np.int16)

    path = wav(tmp_path / "audio", np.stack([left, -left], axis=1).reshape(-1), channels=2)
    samples, _ = decoded(path)

    assert np.abs(samples).max() == pytest.approx(0.5, rel=0.01)


def test_samples_below_those_of_sixteen_bits_keep_their_shape(tmp_path: Path) -> None:
    quiet = level_db(tone(2.0), -70.0) / 32_768.0
    path = tmp_path / "audio"
    path.write_bytes(wav_of(3, 32, quiet.astype("<f4").tobytes()))

    samples, _ = decoded(path)

    assert np.allclose(samples / np.abs(samples).max(), quiet / np.abs(quiet).max(), atol=0.001)


@pytest.mark.parametrize("level", [-39.0, -20.0, 0.0])
def test_usual_level_stays_faster_whispers_samples(tmp_path: Path, level: float) -> None:
    from faster_whisper import decode_audio

    path = wav(tmp_path / "audio", np.clip(level_db(noise(3.0), level), -32_768, 32_767))

    samples, sound = decoded(path)

    assert np.array_equal(samples, decode_audio(str(path)))
    assert sound.warnings == ()


def test_noise_of_a_converter_is_silence(tmp_path: Path) -> None:
    dither = np.random.default_rng(4).integers(-2, 3, RATE_HZ * 2)

    samples, sound = decoded(wav(tmp_path / "audio", dither))

    assert np.abs(samples).max() < 1e-4
    assert sound.warnings == ()


def test_whole_numbers_written_as_floats_are_no_noise_and_it_is_told(tmp_path: Path) -> None:
    """Python programs write them so by a slip; cut off at full scale half the words were others."""
    loud = tone(2.0)
    path = tmp_path / "audio"
    path.write_bytes(wav_of(3, 32, loud.astype("<f4").tobytes()))

    samples, sound = decoded(path)

    assert np.allclose(samples / np.abs(samples).max(), loud / np.abs(loud).max(), atol=0.001)
    assert "times full scale: they were scaled down" in " ".join(sound.warnings)


def test_mix_that_goes_a_little_over_full_scale_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "audio"
    path.write_bytes(wav_of(3, 32, (tone(2.0) / 9_000.0 * 3.0).astype("<f4").tobytes()))

    assert decoded(path)[1].warnings == ()
