"""Samples, voice and features read in pieces equal those of the whole recording, to the bit.

Features of more than five minutes as far as the machine's BLAS lets them: most kernels give a column of a
product the same bits whatever stands beside it, some do not (OpenBLAS's for Haswell).
"""

from __future__ import annotations

from functools import cache

import faster_whisper.vad
import numpy as np
import numpy.typing as npt
import pytest
from faster_whisper.feature_extractor import FeatureExtractor

from tests.workerproc import recordings
from tests.workerproc.recordings import RATE_HZ, Pcm, noise, tone
from workerproc.audio.pcm_file import Samples
from workerproc.engine.vad import Speech, voice_probabilities
from workerproc.engine.whisper import features
from workerproc.engine.whisper.features import LogMel

Features = npt.NDArray[np.float32]

# Around the edges of frames, of mirrored ends, of blocks.
LENGTHS = (1, 39, 159, 160, 200, 240, 241, 400, 512, 5_120, 31 * RATE_HZ, 200 * RATE_HZ + 77)
LONG_SAMPLES = 320 * RATE_HZ + 77


LAST_BITS = 2.5e-7  # two units in the last place of values around 1


def nothing() -> None:
    pass


@cache
def products_depend_on_width(bands: int) -> bool:
    """Ask this machine's BLAS whether a column of a product changes with the columns beside it."""
    filters = FeatureExtractor(feature_size=bands).mel_filters
    columns = np.random.default_rng(7).random((filters.shape[1], 20_001), dtype=np.float32)
    in_blocks = [filters @ columns[:, at : at + 3_072] for at in range(0, columns.shape[1], 3_072)]
    return not np.array_equal(np.concatenate(in_blocks, axis=1), filters @ columns)


def assert_same_features(ours: Features, theirs: Features) -> None:
    assert ours.shape == theirs.shape
    if products_depend_on_width(len(theirs)):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=LAST_BITS)
    else:
        assert np.array_equal(ours, theirs)


def floats(pcm: Pcm) -> Samples:
    whole: Samples = pcm.astype(np.float32) / 32_768.0
    return whole


def sound_of(length: int) -> Pcm:
    return (noise(1.0 + length / RATE_HZ)[:length] // 4) + tone(1.0 + length / RATE_HZ)[:length] // 2


def test_features_of_a_long_recording_are_computed_in_blocks_and_equal_all_the_same() -> None:
    extractor, pcm = FeatureExtractor(), sound_of(LONG_SAMPLES)

    with recordings.pcm_file(pcm) as pcm_file:
        ours = LogMel(extractor, pcm_file, nothing)
        theirs = extractor(floats(pcm))
        frames = theirs.shape[1]

        assert frames > features.WHOLE_MOST
        assert_same_features(ours[:, 0:frames], theirs)
        assert_same_features(ours[:, 7 : 7 + 3_000], theirs[:, 7 : 7 + 3_000])  # computed anew


@pytest.mark.parametrize("length", LENGTHS)
def test_features_equal_those_of_the_whole_recording(length: int) -> None:
    extractor, pcm = FeatureExtractor(), sound_of(length)

    with recordings.pcm_file(pcm) as pcm_file:
        ours = LogMel(extractor, pcm_file, nothing)
        theirs = extractor(floats(pcm))
        frames = theirs.shape[1]
        third = frames // 3

        assert ours.shape == theirs.shape
        assert np.array_equal(ours[:, 0:frames], theirs)
        assert np.array_equal(ours[:, third : third + 3_000], theirs[:, third : third + 3_000])
        assert ours[:, 0:1].dtype == theirs.dtype


def test_features_of_a_recording_without_speech_are_those_of_nothing() -> None:
    extractor = FeatureExtractor()

    with recordings.pcm_file(noise(1.0)) as pcm_file:
        ours = LogMel(extractor, Speech(pcm_file, []), nothing)

    theirs = extractor(np.zeros(0, dtype=np.float32))
    assert np.array_equal(ours[:, 0 : theirs.shape[1]], theirs)


def test_features_of_large_models_have_128_bands() -> None:
    extractor, pcm = FeatureExtractor(feature_size=128), sound_of(40 * RATE_HZ)

    with recordings.pcm_file(pcm) as pcm_file:
        ours = LogMel(extractor, pcm_file, nothing)

        assert ours.shape[0] == 128
        assert np.array_equal(ours[:, 0 : ours.shape[1]], extractor(floats(pcm)))


@pytest.mark.parametrize("length", [1, 511, 512, 513, 40 * RATE_HZ])
def test_voice_is_found_as_in_the_whole_recording(length: int) -> None:
    detector = faster_whisper.vad.get_vad_model()
    pcm = np.concatenate([recordings.samples_of(clip.path) for clip in recordings.samples()])[:length]

    with recordings.pcm_file(pcm) as pcm_file:
        ours = voice_probabilities(detector.session, pcm_file, nothing)

    padded = np.pad(floats(pcm), (0, 512 - length % 512))
    assert np.array_equal(ours, detector(padded))


def test_stretches_are_read_as_if_they_were_one_recording() -> None:
    pcm = noise(2.0)
    stretches = [{"start": at, "end": at + 700} for at in range(100, 30_000, 1_100)]
    joined = floats(np.concatenate([pcm[one["start"] : one["end"]] for one in stretches]))

    with recordings.pcm_file(pcm) as pcm_file:
        speech = Speech(pcm_file, stretches)

        assert len(speech) == len(joined)
        assert np.array_equal(speech.read(0, len(speech)), joined)
        assert np.array_equal(speech.read(555, 9_999), joined[555:9_999])
        assert np.array_equal(speech.read(700, 1_400), joined[700:1_400])
        assert np.array_equal(speech.read(len(joined) - 3, len(joined) + 100), joined[-3:])


def test_tape_gives_what_was_written_and_leaves_no_file(tmp_path: object) -> None:
    from pathlib import Path

    from workerproc.audio.pcm_file import PcmFile

    folder, pcm = Path(str(tmp_path)), noise(1.0)
    with PcmFile(folder) as pcm_file:
        pcm_file.append(pcm[:100])
        pcm_file.append(pcm[100:])

        assert list(folder.iterdir()) == []
        assert (len(pcm_file), pcm_file.length_s) == (len(pcm), 1.0)
        assert np.array_equal(pcm_file.read(50, 150), floats(pcm[50:150]))
        assert len(pcm_file.read(len(pcm) - 5, len(pcm) + 5)) == 5
        assert len(pcm_file.read(len(pcm) + 5, len(pcm) + 9)) == 0
