"""One job's way inside the worker: decode, transcribe, write.

Raises what stands in its way; the worker's outermost loop turns that into a message.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

from supervisor.contract import clock, job_options
from supervisor.contract.job_options import Options
from supervisor.contract.wire.messages import Help, Job, JobCard, Parts, Staged
from workerproc.audio import decode
from workerproc.audio.decode import Sound
from workerproc.audio.pcm_file import RATE_HZ, PcmFile
from workerproc.checkpoints import split_file, split_points, vad_cache
from workerproc.checkpoints.checkpoint import ResumePoint
from workerproc.checkpoints.checkpoint_files import Checkpoints
from workerproc.checkpoints.vad_cache import VadCache
from workerproc.engine.batch import Lane
from workerproc.engine.recogniser import Prepared
from workerproc.jobs.context import WorkerContext
from workerproc.jobs.split import Split
from workerproc.process.errors import AudioRejected, JobPutDown
from workerproc.transcripts import plausible, staging, transcript
from workerproc.transcripts.transcript import Recognised, Segment

Cut = Sequence[list[split_points.Stretch]]


def transcribe_job(job: Job, tools: WorkerContext) -> Staged:
    """Take one job from its audio to a staged transcript; give the message that says so.

    Begins where an earlier worker's checkpoint ends.
    """
    card, began_at_s = job.card, clock.now_s()
    wish = _options(card, tools)
    lost = [*tools.recogniser.prompts(wish).warnings(), *_drawn_words(wish)]
    checkpoints = Checkpoints(card, tools.settings, wish, tools.engine, tools.say)

    with tools.batch.lane() as lane, PcmFile(Path(card.folder)) as tape:
        sound = _decoded(card, tape, tools)
        decoded_at_s = clock.now_s()
        prepared = _prepared(tape, wish, lane, checkpoints, tools)
        lost += prepared.warnings
        cut = _cut(card, prepared, checkpoints)
        if len(cut) > 1:
            lane.leave()  # the parts have lanes of their own
            segments = _split(card, prepared, cut, checkpoints, tools, lane.age).finish(
                job.sharers, checkpoints, lambda left: tools.say(Parts(card.job_id, left, card.attempt))
            )
        else:
            segments = _listen(prepared, lane, checkpoints, tools, lost.append)
    if plausible.is_invented(segments, sound.audio_s):
        segments = []
        lost.append(f"{sound.audio_s:.2f} s are too short for the text that the model made of them: left out")
    segments = plausible.within(segments, sound.audio_s)
    heard = Recognised(
        prepared.language, sound.audio_s, segments, [at / RATE_HZ for at in split_points.begins(cut)]
    )
    timings = {"decode_s": decoded_at_s - began_at_s, "transcribe_s": clock.now_s() - decoded_at_s}
    warnings = (*sound.warnings, *lost)
    origin = _origin(card, tools, wish, warnings, timings, checkpoints.resumed_from_s)
    document = transcript.build(origin, heard)

    tools.board.reach("writing", sound.audio_s, sound.audio_s)
    took_s = clock.now_s() - began_at_s
    staging.stage(Path(card.folder), card.job_id, card.attempt, document, took_s)
    return Staged(card.job_id, sound.audio_s, took_s, card.attempt)


def help_with(wanted: Help, tools: WorkerContext) -> None:
    """Work on parts of a recording that another worker has, until none is to be had."""
    card = wanted.card
    wish = _options(card, tools)
    checkpoints = Checkpoints(card, tools.settings, wish, tools.engine, tools.say)
    with tools.batch.lane() as lane, PcmFile(Path(card.folder)) as tape:
        _decoded(card, tape, tools)
        prepared = _prepared(tape, wish, lane, checkpoints, tools)
        cut = _cut(card, prepared, checkpoints)
        if len(cut) > 1:
            lane.leave()
            tools.board.reach("transcribing", 0.0, tape.length_s)
            _split(card, prepared, cut, checkpoints, tools, lane.age).help(wanted.sharers)


def _decoded(card: JobCard, tape: PcmFile, tools: WorkerContext) -> Sound:
    return decode.decode(
        Path(card.folder) / "audio",
        tape,
        tools.settings.max_audio_s,
        lambda done_s, audio_s: tools.board.reach("decoding", done_s, audio_s),
    )


def _prepared(
    tape: PcmFile, wish: Options, lane: Lane, checkpoints: Checkpoints, tools: WorkerContext
) -> Prepared:
    known = vad_cache.read(checkpoints.folder, checkpoints.present_work) if wish.vad_filter else None
    if known is not None:
        return tools.recogniser.prepare_with(tape, wish, known)
    audio_s = tape.length_s
    tools.board.reach("listening", 0.0, audio_s)
    return tools.recogniser.prepare(
        tape, wish, lane, reach=lambda done_s: tools.board.reach("listening", done_s, audio_s)
    )


def _options(card: JobCard, tools: WorkerContext) -> Options:
    """Give the service's options with the job's own in their place."""
    try:
        wish = job_options.changed(tools.settings.options, card.options)
    except job_options.BadOption as error:
        raise AudioRejected(str(error)) from error
    wish = dataclasses.replace(wish, language=card.language or wish.language)
    unfit = tools.recogniser.unfit(wish)
    if unfit is not None:
        raise AudioRejected(f"options.{unfit}")
    return wish


def _cut(card: JobCard, prepared: Prepared, checkpoints: Checkpoints) -> Cut:
    """Cut a long recording, as it was cut before if it was; only where no window needs the text before it."""
    wish, stretches = prepared.options, prepared.stretches
    folder = Path(card.folder)
    if wish.split == "off" or wish.is_alone or not stretches:
        split_file.forget(folder)
        return []
    known = split_file.read(folder, checkpoints.present_work)
    cut = split_points.parts_at(stretches, known) if known is not None else None
    if cut is None:
        cut = split_points.parts(stretches, prepared.pauses)
        if len(cut) > 1:
            split_file.write(folder, checkpoints.present_work(), split_points.begins(cut))
        else:
            split_file.forget(folder)
    return cut


def _split(
    card: JobCard, prepared: Prepared, cut: Cut, checkpoints: Checkpoints, tools: WorkerContext, age: int
) -> Split:
    """Make others able to work on parts, and take up what is done of them."""
    if prepared.stretches and not (checkpoints.folder / vad_cache.FILE).exists():
        floor, warnings = prepared.features.floor, prepared.warnings
        told = VadCache(prepared.stretches, prepared.pauses, prepared.language, floor, warnings)
        vad_cache.write(checkpoints.folder, checkpoints.present_work(), told)
    work = split_file.of_parts(checkpoints.present_work(), split_points.begins(cut))
    split = Split(card, prepared, cut, work, tools, age)
    split.take_up(checkpoints)
    return split


def _listen(
    prepared: Prepared,
    lane: Lane,
    checkpoints: Checkpoints,
    tools: WorkerContext,
    warn: Callable[[str], None],
) -> list[Segment]:
    """Run the engine over the samples, from where an earlier worker stopped; here the job may be stopped."""
    found, board, audio_s = checkpoints.find(), tools.board, prepared.tape.length_s
    segments: list[Segment] = list(found.segments) if found is not None else []
    board.reach("transcribing", min(checkpoints.resumed_from_s, audio_s), audio_s)

    def at_mark(mark: ResumePoint) -> None:
        checkpoints.look(mark, segments)
        board.begin_window()

    mark = found.mark if found is not None else None
    run = tools.recogniser.run(prepared, prepared.stretches, lane, mark, at_mark)
    try:
        for segment in run.segments:
            segments.append(segment)
            board.reach("transcribing", min(segment.end_s, audio_s), audio_s)
    except JobPutDown:
        checkpoints.keep(run.mark, segments)
        raise
    for warning in _lost_text(prepared.options, run.sparse_s):
        warn(warning)
    return segments


def _drawn_words(wish: Options) -> Iterator[str]:
    first = wish.temperature[0]
    if first > 0:
        yield f"temperature: begins with {first:g}, so all words are drawn at random and some are lost"


def _lost_text(wish: Options, sparse_s: float) -> Iterator[str]:
    """Say where the texts before each window seem to have cost text of the recording itself."""
    named = [name for name in ("initial_prompt", "hotwords") if getattr(wish, name)]
    if named and sparse_s and wish.vad_filter:
        yield f"{sparse_s:.0f} s of speech gave almost no text: try without {' and '.join(named)}"


def _origin(
    card: JobCard,
    tools: WorkerContext,
    wish: Options,
    warnings: tuple[str, ...],
    timings: Mapping[str, float],
    resumed_from_s: float,
) -> transcript.Origin:
    return transcript.Origin(
        recording_id=card.recording_id,
        user_id=card.user_id,
        device_id=card.device_id,
        model=tools.settings.model,
        transcribed_at=clock.iso_utc(clock.wall_unix_s()),
        attempt=card.attempt,
        engine=tools.engine,
        options=_plain(wish, tools.settings.profile),
        warnings=warnings,
        resumed_from_s=resumed_from_s,
        timings=timings,
    )


def _plain(wish: Options, profile: str) -> dict[str, Any]:
    return {"profile": profile, **dataclasses.asdict(wish)}
