"""One job's way inside the worker: decode, transcribe, write.

Raises what stands in its way; the worker's outermost loop turns that into a message.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Callable

from supervisor.contract import clock, options
from supervisor.contract.child_env import WorkerSettings
from supervisor.contract.messages import Checkpoint, JobCard, Staged
from supervisor.contract.options import Options
from workerproc import audio, staging, transcript
from workerproc.audio import Sound
from workerproc.batch import Batch, Lane
from workerproc.board import Board
from workerproc.errors import AudioRejected, JobPutDown
from workerproc.recogniser import Recogniser
from workerproc.resume import Checkpoints
from workerproc.tape import Tape
from workerproc.transcript import Heard, Segment


def transcribe_job(
    card: JobCard,
    settings: WorkerSettings,
    recogniser: Recogniser,
    batch: Batch,
    engine: Mapping[str, str],
    board: Board,
    tell: Callable[[Checkpoint], None],
) -> Staged:
    """Take one job from its audio to a staged transcript; give the message that says so.

    Begins where an earlier worker's checkpoint ends. `tell` passes word of checkpoints on.
    """
    began_at_s = clock.now_s()
    folder = Path(card.folder)
    wish = _options(card, settings)
    checkpoints = Checkpoints(card, settings, wish, engine, tell)

    with batch.lane() as lane, Tape(folder) as tape:
        sound = audio.decode(
            folder / "audio",
            tape,
            settings.max_audio_s,
            lambda done_s, audio_s: board.reach("decoding", done_s, audio_s),
        )
        decoded_at_s = clock.now_s()
        heard = _listen(sound, tape, wish, recogniser, lane, board, checkpoints)
    heard_at_s = clock.now_s()
    timings = {"decode_s": decoded_at_s - began_at_s, "transcribe_s": heard_at_s - decoded_at_s}
    warnings = (*sound.warnings, *_surprises(wish, heard))
    origin = _origin(card, settings, engine, wish, warnings, timings, checkpoints.resumed_from_s)
    document = transcript.build(origin, heard)

    board.reach("writing", sound.audio_s, sound.audio_s)
    took_s = clock.now_s() - began_at_s
    staging.stage(folder, card.job_id, card.attempt, document, took_s)
    return Staged(card.job_id, sound.audio_s, took_s)


def _options(card: JobCard, settings: WorkerSettings) -> Options:
    """Give the service's options with the job's own in their place."""
    try:
        wish = options.changed(settings.options, card.options)
    except options.BadOption as error:
        raise AudioRejected(str(error)) from error
    return dataclasses.replace(wish, language=card.language or wish.language)


def _listen(
    sound: Sound,
    tape: Tape,
    wish: Options,
    recogniser: Recogniser,
    lane: Lane,
    board: Board,
    checkpoints: Checkpoints,
) -> Heard:
    """Run the engine over the samples, from where an earlier worker stopped; here the job may be stopped."""
    found = checkpoints.find()
    segments: list[Segment] = list(found.segments) if found is not None else []
    board.reach("transcribing", min(checkpoints.resumed_from_s, sound.audio_s), sound.audio_s)
    run = recogniser.transcribe(tape, wish, lane, found.mark if found is not None else None)
    try:
        for segment in run.segments:
            segments.append(segment)
            board.reach("transcribing", min(segment.end_s, sound.audio_s), sound.audio_s)
            checkpoints.look(run.mark, segments)
    except JobPutDown:
        checkpoints.keep(run.mark, segments)
        raise
    return Heard(run.language, sound.audio_s, segments)


def _surprises(wish: Options, heard: Heard) -> Iterator[str]:
    """Say what was asked for and not done."""
    if wish.language and heard.language != wish.language:
        yield f"the model knows {heard.language} alone: language {wish.language} was left aside"


def _origin(
    card: JobCard,
    settings: WorkerSettings,
    engine: Mapping[str, str],
    wish: Options,
    warnings: tuple[str, ...],
    timings: Mapping[str, float],
    resumed_from_s: float,
) -> transcript.Origin:
    return transcript.Origin(
        recording_id=card.recording_id,
        user_id=card.user_id,
        device_id=card.device_id,
        model=settings.model,
        transcribed_at=clock.iso_utc(clock.wall_unix_s()),
        attempt=card.attempt,
        engine=engine,
        options=_plain(wish, settings.profile),
        warnings=warnings,
        resumed_from_s=resumed_from_s,
        timings=timings,
    )


def _plain(wish: Options, profile: str) -> dict[str, Any]:
    return {"profile": profile, **dataclasses.asdict(wish)}
