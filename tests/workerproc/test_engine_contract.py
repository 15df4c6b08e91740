"""What every engine must keep of its port, with real weights: those of tiny.en, in each engine's own file.

Engines that are not installed are skipped, with the package that is missing.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Callable, Optional

import numpy as np
import pytest

from bench import scoring
from supervisor.contract.engine import engines
from supervisor.contract.job_options import Options, of_profile
from tests.workerproc import model_files, recordings
from tests.workerproc.lanes import in_a_lane
from workerproc.checkpoints import split_points
from workerproc.checkpoints.checkpoint import ResumePoint
from workerproc.checkpoints.split_points import Stretch
from workerproc.checkpoints.vad_cache import VadCache
from workerproc.engine.batch import Lane
from workerproc.engine.loading import load
from workerproc.engine.port import Engine, Prepared
from workerproc.transcripts.transcript import Segment

pytestmark = pytest.mark.slow

# One temperature: above 0, faster-whisper draws words at random.
SURE = dataclasses.replace(of_profile("fast"), temperature=(0.0,), beam_size=1, window="full")
REM = dataclasses.replace(of_profile("rem"), language="en")
_HUMAN_CLIPS = 3


@pytest.fixture(scope="module", params=engines.NAMES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    path = model_files.model_file(request.param, tmp_path_factory.mktemp("model"))
    loaded = load.importing(request.param)(path, "cpu", "int8", 1, lambda: None)
    loaded.warm_up()
    return loaded


@dataclass
class Heard:
    """All that came out of a run."""

    segments: list[Segment] = field(default_factory=list)
    marks: list[tuple[ResumePoint, int]] = field(default_factory=list)  # and segments so far
    prepared: Optional[Prepared] = None

    @property
    def text(self) -> str:
        return " ".join(one.text.strip() for one in self.segments)


def heard(
    engine: Engine,
    pcm: Any,
    options: Options = SURE,
    mark: Optional[ResumePoint] = None,
    stop_at: Optional[int] = None,
    part_of: Callable[[Prepared], Optional[list[Stretch]]] = lambda prepared: prepared.stretches,
    known: Optional[VadCache] = None,
) -> Heard:
    """Run an engine as a worker does; `stop_at`: raise at the begin of this window."""
    found = Heard()

    def at_mark(mark: ResumePoint) -> None:
        found.marks.append((mark, len(found.segments)))
        if len(found.marks) - 1 == stop_at:
            raise InterruptedError

    def work(lane: Lane) -> None:
        with recordings.pcm_file(pcm) as pcm_file:
            if known is not None:
                found.prepared = engine.prepare_with(pcm_file, options, known)
            else:
                found.prepared = engine.prepare(pcm_file, options, lane)
            part = part_of(found.prepared)
            for segment in engine.run(found.prepared, part, lane, mark, at_mark).segments:
                found.segments.append(segment)

    with contextlib.suppress(InterruptedError):
        in_a_lane(engine.native, work)
    return found


@pytest.fixture(scope="module")
def speech() -> Any:
    """Some more than one window of speech."""
    joined = np.concatenate([recordings.samples_of(clip.path) for clip in recordings.samples()])
    return joined[: 45 * recordings.RATE_HZ]


@pytest.fixture(scope="module")
def whole(engine: Engine, speech: Any) -> Heard:
    return heard(engine, speech)


def test_text_is_what_was_said(engine: Engine, request: pytest.FixtureRequest) -> None:
    clips = [*recordings.human_clips()[:_HUMAN_CLIPS], *recordings.samples()[:1]]
    said = [scoring.words(clip.reference) for clip in clips]

    name = request.node.callspec.params["engine"]
    rem = dataclasses.replace(REM, beam_size=1) if engines.ENGINES[name].no_beams else REM

    texts = [heard(engine, recordings.samples_of(clip.path), rem).text for clip in clips]

    wrong = scoring.total([scoring.errors(*pair) for pair in zip(said, map(scoring.words, texts))])
    assert wrong.rate <= 0.1, texts


def test_run_goes_on_from_any_resume_point_with_the_same_text(
    engine: Engine, speech: Any, whole: Heard
) -> None:
    assert len(whole.marks) > 1, "the recording has several windows"
    mark, count = whole.marks[1]
    assert mark.segments == count > 0

    rest = heard(engine, speech, mark=mark)

    assert [*whole.segments[:count], *rest.segments] == whole.segments
    assert rest.marks[0][0] == mark


def test_error_at_a_resume_point_ends_the_run_there(engine: Engine, speech: Any, whole: Heard) -> None:
    found = heard(engine, speech, stop_at=1)

    assert found.segments == whole.segments[: whole.marks[1][1]]


def test_segments_are_numbered_in_order_and_lie_in_the_recording(whole: Heard, speech: Any) -> None:
    assert [one.id for one in whole.segments] == list(range(1, len(whole.segments) + 1))
    times = [time_s for one in whole.segments for time_s in (one.start_s, one.end_s)]
    assert times == sorted(times)
    assert 0.0 <= times[0] <= times[-1] <= len(speech) / recordings.RATE_HZ


def test_silence_has_no_text(engine: Engine) -> None:
    found = heard(engine, recordings.silence(3.0))

    assert (found.segments, found.prepared and found.prepared.language) == ([], "en")


def test_times_count_the_silence_that_was_left_out(engine: Engine) -> None:
    clip = recordings.samples_of(recordings.samples()[0].path)
    pause = np.zeros(20 * recordings.RATE_HZ, dtype=clip.dtype)
    clip_s = len(clip) / recordings.RATE_HZ

    found = heard(engine, np.concatenate([clip, pause, clip]))

    late = [one for one in found.segments if one.end_s > clip_s + 1.0]
    assert late, found.segments
    assert late[-1].end_s > clip_s + 20.0
    assert not [one for one in found.segments if clip_s + 1.0 < one.start_s < clip_s + 19.0]


def test_part_has_the_text_of_its_speech_alone(engine: Engine, speech: Any, whole: Heard) -> None:
    """Parts are what several slots transcribe side by side, each like a recording of its own."""

    def second_half(prepared: Prepared) -> list[Stretch]:
        assert prepared.stretches
        parts = split_points.parts_at(prepared.stretches, [20 * recordings.RATE_HZ])
        assert parts is not None
        return parts[1]

    found = heard(engine, speech, part_of=second_half)

    assert found.segments
    assert found.segments[0].id == 1
    assert found.segments[0].start_s >= 19.5


def test_voice_detection_of_another_worker_gives_the_same_text(
    engine: Engine, speech: Any, whole: Heard
) -> None:
    done = whole.prepared
    assert done is not None
    assert done.stretches is not None
    known = VadCache(done.stretches, done.pauses, done.language, done.floor, done.warnings)

    assert heard(engine, speech, known=known).segments == whole.segments


def test_option_that_the_model_lacks_is_named(engine: Engine) -> None:
    assert engine.unfit(SURE) is None
    for option, value in (("language", "de"), ("task", "translate")):
        reason = engine.unfit(dataclasses.replace(SURE, **{option: value}))
        assert reason is not None
        assert reason.startswith(f"{option}: the model supports English only")


def test_identity_names_the_engine_with_its_version(engine: Engine, request: pytest.FixtureRequest) -> None:
    identity = engine.identity()

    assert all(isinstance(value, str) and value for value in identity.values())
    name = request.node.callspec.params["engine"]
    distribution = engines.ENGINES[name].distribution
    assert identity[distribution] == metadata.version(distribution)
