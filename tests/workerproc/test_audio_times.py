"""Times as a player shows them, in every container: gaps and late beginnings are kept, jitter is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.workerproc import recordings
from tests.workerproc.containers import STAMPED, UNSTAMPED, Kind, Track, write
from workerproc.audio import decode
from workerproc.audio.decode import Sound
from workerproc.audio.pcm_file import RATE_HZ, Samples
from workerproc.audio.timeline import GAP_MOST_S, Timeline

JITTER_S = 0.12  # what encoders put before and after
WITH_VIDEO = [kind for kind in STAMPED if kind.container not in ("ogg", "ipod")]
# Whose timeline has a zero of its own: sound that begins late begins late without a picture, too.
WITH_ZERO = [
    kind for kind in STAMPED if kind.container in ("ipod", "matroska") or str(kind) == "webm-libopus"
]


def decoded(path: Path, max_audio_s: float = 600.0) -> tuple[Samples, Sound]:
    with recordings.pcm_file() as pcm_file:
        sound = decode.decode(path, pcm_file, max_audio_s, lambda done_s, audio_s: None)
        return pcm_file.read(0, len(pcm_file)), sound


def loud_s(samples: Samples) -> tuple[float, float]:
    """Say from when to when there is sound."""
    loud = np.flatnonzero(np.abs(samples) > 0.05) / RATE_HZ
    return float(loud[0]), float(loud[-1])


@pytest.mark.parametrize("kind", [*STAMPED, *UNSTAMPED], ids=str)
def test_healthy_file_has_faster_whispers_samples_and_no_warning(tmp_path: Path, kind: Kind) -> None:
    from faster_whisper import decode_audio

    path = write(tmp_path / "audio", kind)

    samples, sound = decoded(path)

    assert np.array_equal(samples, decode_audio(str(path)))
    assert sound.warnings == ()
    assert sound.audio_s == pytest.approx(6.0, abs=JITTER_S)


@pytest.mark.parametrize("kind", STAMPED, ids=str)
def test_recorder_that_was_paused_leaves_silence_of_that_length_and_no_word_of_damage(
    tmp_path: Path, kind: Kind
) -> None:
    path = write(tmp_path / "audio", kind, [Track(gap_at_s=2.0, gap_s=5.0)])

    samples, sound = decoded(path)

    assert sound.audio_s == pytest.approx(11.0, abs=JITTER_S)
    assert sound.warnings == ()
    assert np.abs(samples[int(2.3 * RATE_HZ) : int(6.7 * RATE_HZ)]).max() < 0.01
    assert loud_s(samples)[1] == pytest.approx(11.0, abs=JITTER_S)


@pytest.mark.parametrize("kind", WITH_VIDEO, ids=str)
def test_sound_that_begins_after_the_picture_keeps_its_time(tmp_path: Path, kind: Kind) -> None:
    path = write(tmp_path / "audio", kind, [Track(late_s=5.0)], has_video=True)

    samples, sound = decoded(path)

    assert loud_s(samples)[0] == pytest.approx(5.0, abs=JITTER_S)
    assert sound.warnings == ()


@pytest.mark.parametrize("kind", WITH_ZERO, ids=str)
def test_sound_that_begins_late_in_a_file_without_a_picture_keeps_its_time(
    tmp_path: Path, kind: Kind
) -> None:
    path = write(tmp_path / "audio", kind, [Track(late_s=5.0)])

    samples, sound = decoded(path)

    assert loud_s(samples)[0] == pytest.approx(5.0, abs=JITTER_S)
    assert sound.warnings == ()


def test_piece_of_a_broadcast_begins_at_zero_whatever_its_clock_says(tmp_path: Path) -> None:
    path = write(tmp_path / "audio", Kind("mpegts", "aac", 48_000), [Track(late_s=900.0)])

    _, sound = decoded(path)

    assert sound.audio_s == pytest.approx(6.0, abs=JITTER_S)
    assert sound.warnings == ()


def test_stamp_that_jumps_by_ten_hours_fills_no_disk_and_is_told(tmp_path: Path) -> None:
    path = write(
        tmp_path / "audio", Kind("matroska", "pcm_s16le", 16_000), [Track(gap_at_s=2.0, gap_s=36_000.0)]
    )

    _, sound = decoded(path)

    assert sound.audio_s == pytest.approx(6.0, abs=JITTER_S)
    assert "time stamps jump by 36000 s" in " ".join(sound.warnings)


def test_silence_that_stamps_claim_counts_against_the_longest_recording(tmp_path: Path) -> None:
    path = write(
        tmp_path / "audio", Kind("matroska", "pcm_s16le", 16_000), [Track(gap_at_s=2.0, gap_s=900.0)]
    )

    with pytest.raises(decode.AudioRejected, match="max_audio_s = 600"):
        decoded(path, max_audio_s=600.0)


# --- the decision by itself


def played(stamps_s: list[float], length_s: float = 0.02) -> Timeline:
    """Follow frames of equal length."""
    timeline = Timeline(stamps_s[0])
    for stamp_s in stamps_s:
        timeline.silence_before(stamp_s)
        timeline.add(stamp_s, length_s)
    return timeline


def test_rounded_stamps_and_a_clock_that_runs_fast_put_no_silence_in() -> None:
    rounded = [round(n * 0.02322, 3) for n in range(5_000)]
    fast = [n * 0.02 * 1.002 for n in range(50_000)]  # two seconds ahead after 1,000

    assert played(rounded, 0.02322).length_s == pytest.approx(5_000 * 0.02322)
    assert played(fast).length_s == pytest.approx(1_000.0)


def test_many_lost_packets_add_up_to_their_time() -> None:
    stamps = [n * 0.06 for n in range(1_000) if n % 3]  # each third packet is missing

    assert played(stamps, 0.06).length_s == pytest.approx(60.0, abs=0.2)


def test_stamps_that_begin_anew_follow_what_is_there() -> None:
    stamps = [n * 0.02 for n in range(100)] * 3

    assert played(stamps).length_s == pytest.approx(6.0)


def test_frames_without_a_stamp_follow_the_one_before() -> None:
    timeline = Timeline(0.0)
    for stamp_s in (0.0, None, None, 0.06, None, 5.0):
        gap_s = timeline.silence_before(stamp_s)
        timeline.add(stamp_s, 0.02)

    assert gap_s == pytest.approx(4.9)
    assert timeline.length_s == pytest.approx(5.02)


def test_longest_gap_is_kept_and_a_longer_one_is_a_broken_stamp() -> None:
    kept, broken = played([0.0, GAP_MOST_S]), played([0.0, GAP_MOST_S + 1.0])

    assert kept.length_s == pytest.approx(GAP_MOST_S + 0.02)
    assert (broken.length_s, broken.jumps_s) == (pytest.approx(0.04), [pytest.approx(GAP_MOST_S + 0.98)])
