"""Options of the voice detector that leave out speech are told in the transcript."""

from __future__ import annotations

import pytest

from supervisor.contract.job_options import VadParameters
from workerproc.engine import speech_left_out

RATE_HZ = 1_000


def stretches(*bounds_s: tuple[float, float]) -> list[dict[str, int]]:
    return [{"start": int(start * RATE_HZ), "end": int(end * RATE_HZ)} for start, end in bounds_s]


SPEECH = stretches((0, 10), (12, 20), (30, 42))
STRICT = VadParameters(threshold=0.99, speech_pad_ms=0)


def test_all_that_was_left_out_is_counted_and_the_unusual_parameters_named() -> None:
    assert speech_left_out.warnings(STRICT, SPEECH, [], RATE_HZ) == (
        "vad_parameters: 30.0 of 30.0 s of speech were left out (threshold=0.99, speech_pad_ms=0)",
    )


@pytest.mark.parametrize(
    ("kept", "left_out"),
    [
        (stretches((0, 10), (12, 20)), "12.0 of 30.0"),
        (stretches((5, 15), (16, 17), (29, 41)), "10.0 of 30.0"),
        (stretches((2, 3), (4, 5), (50, 60)), "28.0 of 30.0"),
    ],
)
def test_part_of_the_speech_is_counted(kept: list[dict[str, int]], left_out: str) -> None:
    (warning,) = speech_left_out.warnings(STRICT, SPEECH, kept, RATE_HZ)

    assert left_out in warning


@pytest.mark.parametrize(
    "kept",
    [
        SPEECH,
        stretches((0, 50)),
        stretches((0.2, 9.9), (11, 20), (30.5, 42)),
        stretches((0, 10), (12, 20), (31.4, 50)),
    ],
)
def test_a_breath_at_the_edges_is_no_reason_to_warn(kept: list[dict[str, int]]) -> None:
    assert speech_left_out.warnings(STRICT, SPEECH, kept, RATE_HZ) == ()


def test_silence_leaves_nothing_out() -> None:
    assert speech_left_out.warnings(STRICT, [], [], RATE_HZ) == ()
