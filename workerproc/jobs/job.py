"""One job's way inside the worker: decode, transcribe, write.

Raises what stands in its way; the worker's outermost loop turns that into a message.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

from supervisor.contract import clock, job_folder, job_options
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


def transcribe_job(job: Job, context: WorkerContext) -> Staged:
    """Take one job from its audio to a staged transcript; give the message that says so.

    Begins where an earlier worker's checkpoint ends.
    """
    card, began_at_s = job.card, clock.now_s()
    wish = _options(card, context)
    lost = [*context.recogniser.prompts(wish).warnings(), *_drawn_words(wish)]
    checkpoints = Checkpoints(card, context.settings, wish, context.engine, context.say)

    with context.batch.lane() as lane, PcmFile(Path(card.folder)) as pcm_file:
        sound = _decoded(card, pcm_file, context)
        decoded_at_s = clock.now_s()
        prepared = _prepared(pcm_file, wish, lane, checkpoints, context)
        lost += prepared.warnings
        cut = _cut(card, prepared, checkpoints)
        if len(cut) > 1:
            lane.leave()  # the parts have lanes of their own
            segments = _split(card, prepared, cut, checkpoints, context, lane.age).finish(
                job.sharers, checkpoints, lambda left: context.say(Parts(card.job_id, left, card.attempt))
            )
        else:
            segments = _listen(prepared, lane, checkpoints, context, lost.append)
    if plausible.is_invented(segments, sound.audio_s):
        segments = []
        lost.append(f"{sound.audio_s:.2f} s are too short for the text that the model made of them: left out")
    segments = plausible.within(segments, sound.audio_s)
    heard = Recognised(
        prepared.language, sound.audio_s, segments, [at / RATE_HZ for at in split_points.begins(cut)]
    )
    timings = {"decode_s": decoded_at_s - began_at_s, "transcribe_s": clock.now_s() - decoded_at_s}
    warnings = (*sound.warnings, *lost)
    origin = _origin(card, context, wish, warnings, timings, checkpoints.resumed_from_s)
    document = transcript.build(origin, heard)

    context.board.reach("writing", sound.audio_s, sound.audio_s)
    took_s = clock.now_s() - began_at_s
    staging.stage(Path(card.folder), card.job_id, card.attempt, document, took_s)
    return Staged(card.job_id, sound.audio_s, took_s, card.attempt)


def help_with(wanted: Help, context: WorkerContext) -> None:
    """Work on parts of a recording that another worker has, until none is to be had."""
    card = wanted.card
    wish = _options(card, context)
    checkpoints = Checkpoints(card, context.settings, wish, context.engine, context.say)
    with context.batch.lane() as lane, PcmFile(Path(card.folder)) as pcm_file:
        _decoded(card, pcm_file, context)
        prepared = _prepared(pcm_file, wish, lane, checkpoints, context)
        cut = _cut(card, prepared, checkpoints)
        if len(cut) > 1:
            lane.leave()
            context.board.reach("transcribing", 0.0, pcm_file.length_s)
            _split(card, prepared, cut, checkpoints, context, lane.age).help(wanted.sharers)


def _decoded(card: JobCard, pcm_file: PcmFile, context: WorkerContext) -> Sound:
    return decode.decode(
        Path(card.folder) / job_folder.AUDIO,
        pcm_file,
        context.settings.max_audio_s,
        lambda done_s, audio_s: context.board.reach("decoding", done_s, audio_s),
    )


def _prepared(
    pcm_file: PcmFile, wish: Options, lane: Lane, checkpoints: Checkpoints, context: WorkerContext
) -> Prepared:
    known = vad_cache.read(checkpoints.folder, checkpoints.present_work) if wish.vad_filter else None
    if known is not None:
        return context.recogniser.prepare_with(pcm_file, wish, known)
    audio_s = pcm_file.length_s
    context.board.reach("listening", 0.0, audio_s)
    return context.recogniser.prepare(
        pcm_file, wish, lane, reach=lambda done_s: context.board.reach("listening", done_s, audio_s)
    )


def _options(card: JobCard, context: WorkerContext) -> Options:
    """Give the service's options with the job's own in their place."""
    try:
        wish = job_options.changed(context.settings.options, card.options)
    except job_options.BadOption as error:
        raise AudioRejected(str(error)) from error
    wish = dataclasses.replace(wish, language=card.language or wish.language)
    unfit = context.recogniser.unfit(wish)
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
    card: JobCard, prepared: Prepared, cut: Cut, checkpoints: Checkpoints, context: WorkerContext, age: int
) -> Split:
    """Make others able to work on parts, and take up what is done of them."""
    if prepared.stretches and not (checkpoints.folder / job_folder.VAD_CACHE).exists():
        floor, warnings = prepared.features.floor, prepared.warnings
        told = VadCache(prepared.stretches, prepared.pauses, prepared.language, floor, warnings)
        vad_cache.write(checkpoints.folder, checkpoints.present_work(), told)
    work = split_file.of_parts(checkpoints.present_work(), split_points.begins(cut))
    split = Split(card, prepared, cut, work, context, age)
    split.take_up(checkpoints)
    return split


def _listen(
    prepared: Prepared,
    lane: Lane,
    checkpoints: Checkpoints,
    context: WorkerContext,
    warn: Callable[[str], None],
) -> list[Segment]:
    """Run the engine over the samples, from where an earlier worker stopped; here the job may be stopped."""
    found, board, audio_s = checkpoints.find(), context.board, prepared.pcm_file.length_s
    segments: list[Segment] = list(found.segments) if found is not None else []
    board.reach("transcribing", min(checkpoints.resumed_from_s, audio_s), audio_s)

    def at_mark(mark: ResumePoint) -> None:
        checkpoints.look(mark, segments)
        board.begin_window()

    mark = found.mark if found is not None else None
    run = context.recogniser.run(prepared, prepared.stretches, lane, mark, at_mark)
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
    context: WorkerContext,
    wish: Options,
    warnings: tuple[str, ...],
    timings: Mapping[str, float],
    resumed_from_s: float,
) -> transcript.Origin:
    return transcript.Origin(
        recording_id=card.recording_id,
        user_id=card.user_id,
        device_id=card.device_id,
        model=context.settings.model,
        transcribed_at=clock.iso_utc(clock.wall_unix_s()),
        attempt=card.attempt,
        engine=context.engine,
        options=_plain(wish, context.settings.profile),
        warnings=warnings,
        resumed_from_s=resumed_from_s,
        timings=timings,
    )


def _plain(wish: Options, profile: str) -> dict[str, Any]:
    return {"profile": profile, **dataclasses.asdict(wish)}
