"""Finds the speech and the pauses of a recording with faster-whisper's voice detection."""

from __future__ import annotations

import dataclasses
import math
from typing import Callable, NamedTuple, Optional

import faster_whisper.vad

from supervisor.contract.job_options import Options, VadParameters
from workerproc.audio.pcm_file import RATE_HZ, PcmFile, Samples
from workerproc.checkpoints.split_points import Stretch
from workerproc.engine import speech_left_out
from workerproc.engine.vad import Known, voice_probabilities, with_detector

SHORTEST_PAUSE_MS = 100  # between words; shorter pauses are within words
# Speech without padding, with the default threshold.
_USUAL_VOICE = {"threshold": 0.5, "min_silence_duration_ms": SHORTEST_PAUSE_MS, "speech_pad_ms": 0}


class Detected(NamedTuple):
    """Speech and pauses, in samples and in order."""

    stretches: Optional[list[Stretch]]  # of speech; None without vad_filter
    pauses: list[Stretch]  # all silences in and between them
    warnings: tuple[str, ...]  # about speech that was left out


def detected(pcm_file: PcmFile, options: Options, step: Callable[[], None]) -> Detected:
    """Read the whole PCM file once; `step` is called for each half minute (`vad.STRETCH_S`)."""
    if not options.vad_filter:
        return Detected(None, [], ())
    session = faster_whisper.vad.get_vad_model().session
    known = Known(len(pcm_file), voice_probabilities(session, pcm_file, step))
    vad = dataclasses.asdict(options.vad_parameters)
    vad["max_speech_duration_s"] = vad["max_speech_duration_s"] or math.inf
    with_known = with_detector(faster_whisper.vad.get_speech_timestamps)
    stretches: list[Stretch] = with_known(known, faster_whisper.vad.VadOptions(**vad))
    short = {**vad, "min_silence_duration_ms": SHORTEST_PAUSE_MS, "speech_pad_ms": 0}
    voiced: list[Stretch] = with_known(known, faster_whisper.vad.VadOptions(**short))
    pauses: list[Stretch] = [
        {"start": one["end"], "end": two["start"]} for one, two in zip(voiced, voiced[1:])
    ]
    warnings: tuple[str, ...] = ()
    if options.vad_parameters != VadParameters():
        usual = with_known(known, faster_whisper.vad.VadOptions(**_USUAL_VOICE))
        warnings = speech_left_out.warnings(options.vad_parameters, usual, stretches, RATE_HZ)
    return Detected(stretches, pauses, warnings)


def try_out(samples: Samples) -> None:
    """Detect speech once, since some libraries fail only when they compute. Raises what they raise."""
    faster_whisper.vad.get_speech_timestamps(samples)
