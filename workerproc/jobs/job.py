"""Transcribes one job: decode the audio, detect speech, transcribe, write the transcript.

Errors are raised; the worker converts them into messages to the supervisor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

from supervisor.contract import clock, job_folder, job_options, timestamps
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
from workerproc.engine.port import Prepared
from workerproc.jobs.context import WindowCounts, WorkerContext
from workerproc.jobs.split import Split
from workerproc.process.errors import AudioRejected, JobPutDown
from workerproc.transcripts import plausible, staging, transcript
from workerproc.transcripts.transcript import Recognised, Segment

PartStretches = Sequence[list[split_points.Stretch]]


def transcribe_job(job: Job, context: WorkerContext) -> Staged:
    """Transcribe a job and stage its transcript; return the message for the supervisor.

    Resumes from the checkpoint of an earlier worker, if there is one.
    """
    card, began_at_s = job.card, clock.now_s()
    options = _options(card, context)
    engine_warnings = [*context.recogniser.warnings(options), *_temperature_warnings(options)]
    checkpoints = Checkpoints(card, context.settings, options, context.engine, context.send)

    with context.batch.lane() as lane, PcmFile(Path(card.folder)) as pcm_file:
        sound = _decoded(card, pcm_file, context)
        decoded_at_s = clock.now_s()
        prepared = _prepared(pcm_file, options, lane, checkpoints, context)
        engine_warnings += prepared.warnings
        part_stretches = _split_into_parts(card, prepared, checkpoints)
        windows = WindowCounts()
        if len(part_stretches) > 1:
            lane.leave()  # each part has its own lane
            split = _split(card, prepared, part_stretches, checkpoints, context, lane.age, windows)
            segments = split.finish(
                job.sharers, checkpoints, lambda left: context.send(Parts(card.job_id, left, card.attempt))
            )
        else:
            segments = _transcribed(prepared, lane, checkpoints, context, engine_warnings.append, windows)
    if plausible.is_invented(segments, sound.audio_s):
        segments = []
        engine_warnings.append(
            f"{sound.audio_s:.2f} s are too short for the text that the model made of them: left out"
        )
    segments = plausible.within(segments, sound.audio_s)
    recognised = Recognised(
        prepared.language,
        sound.audio_s,
        segments,
        [at / RATE_HZ for at in split_points.begins(part_stretches)],
    )
    timings = {
        "decode_s": decoded_at_s - began_at_s,
        "transcribe_s": clock.now_s() - decoded_at_s,
        **windows.as_timings(),
    }
    warnings = (*sound.warnings, *engine_warnings)
    origin = _origin(card, context, options, warnings, timings, checkpoints.resumed_from_s)
    document = transcript.build(origin, recognised)

    context.progress.reach("writing", sound.audio_s, sound.audio_s)
    took_s = clock.now_s() - began_at_s
    staging.stage(Path(card.folder), card.job_id, card.attempt, document, took_s)
    return Staged(card.job_id, sound.audio_s, took_s, card.attempt)


def help_with(wanted: Help, context: WorkerContext) -> None:
    """Help another worker: transcribe parts of its recording until none is left."""
    card = wanted.card
    options = _options(card, context)
    checkpoints = Checkpoints(card, context.settings, options, context.engine, context.send)
    with context.batch.lane() as lane, PcmFile(Path(card.folder)) as pcm_file:
        _decoded(card, pcm_file, context)
        prepared = _prepared(pcm_file, options, lane, checkpoints, context)
        part_stretches = _split_into_parts(card, prepared, checkpoints)
        if len(part_stretches) > 1:
            lane.leave()
            context.progress.reach("transcribing", 0.0, pcm_file.length_s)
            split = _split(card, prepared, part_stretches, checkpoints, context, lane.age, WindowCounts())
            split.help(wanted.sharers)


def _decoded(card: JobCard, pcm_file: PcmFile, context: WorkerContext) -> Sound:
    return decode.decode(
        Path(card.folder) / job_folder.AUDIO,
        pcm_file,
        context.settings.max_audio_s,
        lambda done_s, audio_s: context.progress.reach("decoding", done_s, audio_s),
    )


def _prepared(
    pcm_file: PcmFile, options: Options, lane: Lane, checkpoints: Checkpoints, context: WorkerContext
) -> Prepared:
    known = vad_cache.read(checkpoints.folder, checkpoints.present_work) if options.vad_filter else None
    if known is not None:
        return context.recogniser.prepare_with(pcm_file, options, known)
    audio_s = pcm_file.length_s
    context.progress.reach("listening", 0.0, audio_s)
    return context.recogniser.prepare(
        pcm_file, options, lane, reach=lambda done_s: context.progress.reach("listening", done_s, audio_s)
    )


def _options(card: JobCard, context: WorkerContext) -> Options:
    """Return the service's options, overridden by those of the job."""
    try:
        options = job_options.changed(context.settings.options, card.options)
    except job_options.BadOption as error:
        raise AudioRejected(str(error)) from error
    options = dataclasses.replace(options, language=card.language or options.language)
    unfit = context.recogniser.unfit(options)
    if unfit is not None:
        raise AudioRejected(f"options.{unfit}")
    return options


def _split_into_parts(card: JobCard, prepared: Prepared, checkpoints: Checkpoints) -> PartStretches:
    """Split a long recording, at its earlier split points if any; not where windows need previous text."""
    options, stretches = prepared.options, prepared.stretches
    folder = Path(card.folder)
    if options.split == "off" or options.is_alone or not stretches:
        split_file.forget(folder)
        return []
    known = split_file.read(folder, checkpoints.present_work)
    part_stretches = split_points.parts_at(stretches, known) if known is not None else None
    if part_stretches is None:
        part_stretches = split_points.parts(stretches, prepared.pauses)
        if len(part_stretches) > 1:
            split_file.write(folder, checkpoints.present_work(), split_points.begins(part_stretches))
        else:
            split_file.forget(folder)
    return part_stretches


def _split(
    card: JobCard,
    prepared: Prepared,
    part_stretches: PartStretches,
    checkpoints: Checkpoints,
    context: WorkerContext,
    age: int,
    windows: WindowCounts,
) -> Split:
    """Prepare the parts so that other workers can help, and resume those that were begun."""
    if prepared.stretches and not (checkpoints.folder / job_folder.VAD_CACHE).exists():
        floor, warnings = prepared.floor, prepared.warnings
        cache = VadCache(prepared.stretches, prepared.pauses, prepared.language, floor, warnings)
        vad_cache.write(checkpoints.folder, checkpoints.present_work(), cache)
    work = split_file.of_parts(checkpoints.present_work(), split_points.begins(part_stretches))
    split = Split(card, prepared, part_stretches, work, context, age, windows)
    split.take_up(checkpoints)
    return split


def _transcribed(
    prepared: Prepared,
    lane: Lane,
    checkpoints: Checkpoints,
    context: WorkerContext,
    warn: Callable[[str], None],
    windows: WindowCounts,
) -> list[Segment]:
    """Transcribe a recording that is not split, from its checkpoint if any. The job may be stopped here."""
    found, progress, audio_s = checkpoints.find(), context.progress, prepared.pcm_file.length_s
    segments: list[Segment] = list(found.segments) if found is not None else []
    progress.reach("transcribing", min(checkpoints.resumed_from_s, audio_s), audio_s)

    def at_mark(mark: ResumePoint) -> None:
        checkpoints.look(mark, segments)
        progress.begin_window()

    mark = found.mark if found is not None else None
    run = context.recogniser.run(prepared, prepared.stretches, lane, mark, at_mark)
    try:
        for segment in run.segments:
            segments.append(segment)
            progress.reach("transcribing", min(segment.end_s, audio_s), audio_s)
    except JobPutDown:
        checkpoints.keep(run.mark, segments)
        raise
    finally:
        windows.add(run.windows)
        context.windows.add(run.windows)
    for warning in _sparse_text_warnings(prepared.options, run.sparse_s):
        warn(warning)
    return segments


def _temperature_warnings(options: Options) -> Iterator[str]:
    first = options.temperature[0]
    if first > 0:
        yield f"temperature: begins with {first:g}, so all words are drawn at random and some are lost"


def _sparse_text_warnings(options: Options, sparse_s: float) -> Iterator[str]:
    """Warn where initial_prompt or hotwords seem to have suppressed text of the recording."""
    named = [name for name in ("initial_prompt", "hotwords") if getattr(options, name)]
    if named and sparse_s and options.vad_filter:
        yield f"{sparse_s:.0f} s of speech gave almost no text: try without {' and '.join(named)}"


def _origin(
    card: JobCard,
    context: WorkerContext,
    options: Options,
    warnings: tuple[str, ...],
    timings: Mapping[str, float],
    resumed_from_s: float,
) -> transcript.Origin:
    return transcript.Origin(
        recording_id=card.recording_id,
        user_id=card.user_id,
        device_id=card.device_id,
        model=context.settings.model,
        transcribed_at=timestamps.iso_utc(clock.wall_unix_s()),
        attempt=card.attempt,
        engine=context.engine,
        options=_plain(options, context.settings.profile),
        warnings=warnings,
        resumed_from_s=resumed_from_s,
        timings=timings,
    )


def _plain(options: Options, profile: str) -> dict[str, Any]:
    return {"profile": profile, **dataclasses.asdict(options)}
