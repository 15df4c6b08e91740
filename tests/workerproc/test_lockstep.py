"""Text out of shared calls equals that of faster-whisper alone: the real model, batches of 1 to 8."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import ctranslate2
import numpy as np
import pytest
from faster_whisper import WhisperModel

from supervisor.contract.job_options import Options, of_profile
from tests.workerproc import recordings
from tests.workerproc.process import model_path
from workerproc.engine.batch import Batch
from workerproc.engine.whisper.recogniser import Recogniser
from workerproc.process.errors import JobStopped

CLIPS = [clip.path for clip in (*recordings.samples(), *recordings.human_clips())]
LONG_S = 30
PIECE_S = 9  # short ones beside long ones, and words cut in two
FAST = replace(of_profile("fast"), window="full")
WITHOUT_VAD = replace(FAST, vad_filter=False)

Text = list[tuple[int, float, float, str]]


@lru_cache(maxsize=1)
def sounds() -> list[Any]:
    """Clips as they are, but for the longest, and pieces of all."""
    whole = [recordings.samples_of(path) for path in CLIPS]
    step = PIECE_S * recordings.RATE_HZ
    pieces = [sound[at : at + step] for sound in whole for at in range(0, len(sound) - step, 4 * step)]
    return [*(sound for sound in whole if len(sound) < LONG_S * recordings.RATE_HZ), *pieces]


def alone(model: WhisperModel, sound: Any, options: Options) -> Text:
    """What a plain call with the same options gives."""
    segments, _ = model.transcribe(
        sound.astype(np.float32) / 32_768.0,
        language=options.language,
        beam_size=options.beam_size,
        vad_filter=options.vad_filter,
        vad_parameters={"min_silence_duration_ms": options.vad_parameters.min_silence_duration_ms},
        condition_on_previous_text=options.condition_on_previous_text,
    )
    return [(segment.id, segment.start, segment.end, segment.text) for segment in segments]


def together(recogniser: Recogniser, jobs: Sequence[tuple[Any, Options]], rows: int) -> list[Any]:
    """Transcribe all in lock-step; give each job's text, or the error that it met."""
    batch, results = Batch(recogniser.native, rows), [None] * len(jobs)
    numbers = iter(range(len(jobs)))

    def work() -> None:
        for n in numbers:
            sound, options = jobs[n]
            with batch.lane() as lane:
                results[n] = _text(recogniser, sound, options, lane)

    threads = [threading.Thread(target=work) for _ in range(rows)]

    def close() -> None:
        for thread in threads:
            thread.join()
        batch.close()

    for thread in (*threads, threading.Thread(target=close)):
        thread.start()
    batch.run()
    return results


def _text(recogniser: Recogniser, sound: Any, options: Options, lane: Any) -> Any:
    try:
        with recordings.pcm_file(sound) as pcm_file:
            run = recogniser.transcribe(pcm_file, options, lane)
            return [(segment.id, segment.start_s, segment.end_s, segment.text) for segment in run.segments]
    except Exception as error:
        return error


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_text_equals_a_plain_call_in_a_full_batch(direct: WhisperModel, recogniser: Recogniser) -> None:
    all_sounds = sounds()
    plain = [alone(direct, sound, FAST) for sound in all_sounds]

    assert together(recogniser, [(sound, FAST) for sound in all_sounds], rows=8) == plain
    assert any(plain)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_jobs_of_all_kinds_share_the_engine_and_none_changes_anothers_text(
    direct: WhisperModel, recogniser: Recogniser
) -> None:
    """With conditioning (alone), with other beams, with and without voice detection: all at once."""
    kinds = [
        of_profile("rem"),
        FAST,
        replace(FAST, beam_size=2, language="en"),
        WITHOUT_VAD,
    ]
    jobs = [(sound, kinds[n % len(kinds)]) for n, sound in enumerate(sounds()[: 2 * len(kinds)])]

    assert together(recogniser, jobs, rows=4) == [alone(direct, *job) for job in jobs]


@pytest.mark.slow
def test_senseless_option_fails_its_job_and_no_neighbours(
    direct: WhisperModel, recogniser: Recogniser
) -> None:
    good = FAST
    sound = sounds()[0]

    bad, *others = together(recogniser, [(sound, replace(FAST, beam_size=0)), *[(sound, good)] * 3], rows=4)

    assert isinstance(bad, (ValueError, RuntimeError))
    assert others == [alone(direct, sound, good)] * 3


@pytest.mark.slow
def test_job_that_is_stopped_leaves_its_neighbours_alone(direct: WhisperModel) -> None:
    stopped: set[int] = set()

    def step() -> None:
        if threading.get_ident() in stopped:
            raise JobStopped("a")

    recogniser = Recogniser(model_path(), "cpu", "int8", 1, step)
    options = FAST
    long, short = sounds()[1], sounds()[0]

    batch, results = Batch(recogniser.native, 2), {}

    def stop() -> None:
        with batch.lane() as lane:
            stopped.add(threading.get_ident())
            results["stopped"] = _text(recogniser, long, options, lane)

    def go_on() -> None:
        with batch.lane() as lane:
            results["other"] = _text(recogniser, short, options, lane)
        batch.close()

    threads = [threading.Thread(target=stop), threading.Thread(target=go_on)]
    for thread in threads:
        thread.start()
    batch.run()
    for thread in threads:
        thread.join()

    assert isinstance(results["stopped"], JobStopped)
    assert results["other"] == alone(direct, short, options)


# --- what we rely on in faster-whisper and CTranslate2


def test_faster_whisper_is_the_one_we_know() -> None:
    """A new version must be read before it is taken: each job runs its `transcribe` on a shallow copy."""
    names = list(inspect.signature(WhisperModel.transcribe).parameters)
    source = inspect.getsource(WhisperModel)

    assert {"language", "beam_size", "vad_filter", "vad_parameters", "condition_on_previous_text"} <= set(
        names
    )
    # Every native call goes through self.model, by a name that `native.py` knows.
    called = {name for name in dir(ctranslate2.models.Whisper) if f"self.model.{name}(" in source}
    assert called == {"encode", "generate", "detect_language", "align"}
    assert "self.model.encode(features, to_cpu=to_cpu)" in source
    assert source.count("self.model.generate(") == 2  # BatchedInferencePipeline's is elsewhere
    assert "[prompt]," in inspect.getsource(WhisperModel.generate_with_fallback)


def test_transcribing_changes_nothing_in_the_object_that_jobs_copy() -> None:
    """Were a method to assign to self, two jobs would meet there."""
    methods = (
        *("transcribe", "generate_segments", "generate_with_fallback", "get_prompt", "encode"),
        *("detect_language", "_split_segments_by_timestamps", "add_word_timestamps", "find_alignment"),
    )

    assigned = [
        line.strip()
        for name in methods
        for line in inspect.getsource(getattr(WhisperModel, name)).splitlines()
        if line.strip().startswith("self.") and " = " in line.split("(")[0]
    ]

    assert assigned == []


@pytest.mark.slow
def test_ctranslate2_still_refuses_what_we_keep_apart(direct: WhisperModel) -> None:
    """One call with prompts of unequal length fails whole: the reason for keys."""
    features = direct.feature_extractor(sounds()[0])[:, :3_000]
    window = np.pad(features, ((0, 0), (0, 3_000 - features.shape[1])))
    two = ctranslate2.StorageView.from_array(np.stack([window, window]))

    with pytest.raises((ValueError, RuntimeError)):
        direct.model.generate(two, [[50257], [50257, 50362]], beam_size=1)
