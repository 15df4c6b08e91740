"""One job's way inside the worker: decode, transcribe, write.

Raises what stands in its way; the worker's outermost loop turns that into a message.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from supervisor.contract import clock
from supervisor.contract.child_env import WorkerSettings
from supervisor.contract.messages import JobCard, Staged
from workerproc import audio, staging, transcript
from workerproc.audio import Sound
from workerproc.batch import Batch, Lane
from workerproc.board import Board
from workerproc.recogniser import Options, Recogniser, options_of
from workerproc.transcript import Heard, Segment


def transcribe_job(
    card: JobCard,
    settings: WorkerSettings,
    recogniser: Recogniser,
    batch: Batch,
    engine: Mapping[str, str],
    board: Board,
) -> Staged:
    """Take one job from its audio to a staged transcript; give the message that says so."""
    began_at_s = clock.now_s()
    folder = Path(card.folder)
    options = options_of(settings.profile, settings.beam_size, card.language or settings.language)

    with batch.lane() as lane:
        sound = audio.decode(
            folder / "audio",
            settings.max_audio_s,
            lambda done_s, audio_s: board.reach("decoding", done_s, audio_s),
        )
        heard = _listen(sound, options, recogniser, lane, board)
    document = transcript.build(_origin(card, settings, engine, options, sound), heard)

    board.reach("writing", sound.audio_s, sound.audio_s)
    took_s = clock.now_s() - began_at_s
    staging.stage(folder, card.job_id, card.attempt, document, took_s)
    return Staged(card.job_id, sound.audio_s, took_s)


def _listen(sound: Sound, options: Options, recogniser: Recogniser, lane: Lane, board: Board) -> Heard:
    """Run the engine over the samples; between segments the job may be stopped."""
    board.reach("transcribing", 0.0, sound.audio_s)
    run = recogniser.transcribe(sound.samples, options, lane)
    segments: list[Segment] = []
    for segment in run.segments:
        segments.append(segment)
        board.reach("transcribing", min(segment.end_s, sound.audio_s), sound.audio_s)
    return Heard(run.language, sound.audio_s, segments)


def _origin(
    card: JobCard, settings: WorkerSettings, engine: Mapping[str, str], options: Options, sound: Sound
) -> transcript.Origin:
    return transcript.Origin(
        recording_id=card.recording_id,
        user_id=card.user_id,
        device_id=card.device_id,
        model=settings.model,
        transcribed_at=clock.iso_utc(clock.wall_unix_s()),
        attempt=card.attempt,
        engine=engine,
        options=_plain(options, settings.profile),
        warnings=sound.warnings,
    )


def _plain(options: Options, profile: str) -> dict[str, Any]:
    plain: dict[str, Optional[Any]] = {"profile": profile}
    plain.update(dataclasses.asdict(options))
    return plain
