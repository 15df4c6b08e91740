"""Files that went wrong once, where they are at hand: each has its right value."""

from __future__ import annotations

import numpy as np
import pytest

from tests.workerproc.process import REPOSITORY
from tests.workerproc.test_audio_times import decoded, loud_s
from workerproc.audio.decode import Sound
from workerproc.audio.pcm_file import Samples

CASES = REPOSITORY.parent / "shared" / "cases"  # not part of the project; CI may have it

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"no recorded cases here: {CASES} is absent")


def case(name: str) -> tuple[Samples, Sound]:
    return decoded(CASES / name, max_audio_s=43_200.0)


@pytest.mark.parametrize(
    ("name", "audio_s"),
    [
        ("15-min-silence-first-8k.aac", 877.2),
        ("silence-then-speech.aac", 23.0),
        ("wav-piped-7ffff000.wav", 11.0),
        ("paused-recorder.webm", 11.0),
        ("short-50ms.wav", 0.05),
        ("audio-5s-late.mp4", 16.0),
    ],
)
def test_healthy_recording_is_decoded_whole_without_a_word(name: str, audio_s: float) -> None:
    _, sound = case(name)

    assert sound.audio_s == pytest.approx(audio_s, abs=0.05)
    assert sound.warnings == ()


def test_sound_that_begins_late_begins_late() -> None:
    samples, _ = case("audio-5s-late.mp4")

    assert 4.9 < loud_s(samples)[0] < 6.0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("opposite-phase.wav", "cancel each other out"),
        ("silent-track-first.mkv", "2 audio tracks"),
        ("wav-datasize-3s.wav", "the file holds 11.0 s"),
    ],
)
def test_speech_that_was_lost_is_heard_and_it_is_told(name: str, words: str) -> None:
    samples, sound = case(name)

    assert sound.audio_s == pytest.approx(11.0, abs=0.05)
    assert np.sqrt(np.mean(samples**2)) > 0.1
    assert words in " ".join(sound.warnings)
