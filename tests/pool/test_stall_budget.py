"""How long a worker may stand still depends on what it does and how much audio is left."""

from __future__ import annotations

import pytest

from supervisor.contract.wire import messages as m
from supervisor.pool.rules.stall_budget import stall_budget_of
from tests.pool.slot_life import POLICY


@pytest.mark.parametrize(
    ("phase", "done_s", "audio_s", "most_s"),
    [
        ("decoding", 0.0, 0.0, 60.0),  # how long it is isn't known yet
        ("decoding", 0.0, 600.0, 60.0),
        ("decoding", 0.0, 7200.0, 720.0),
        ("decoding", 7000.0, 7200.0, 60.0),
        ("listening", 3600.0, 7200.0, 360.0),
        ("transcribing", 0.0, 600.0, 300.0),
        ("transcribing", 0.0, 7200.0, 720.0),
        ("transcribing", 7200.0, 7000.0, 300.0),  # it went beyond the length that was told
        ("writing", 0.0, 7200.0, 60.0),
        ("something new", 0.0, 7200.0, 300.0),
    ],
)
def test_each_phase_has_its_budget(phase: str, done_s: float, audio_s: float, most_s: float) -> None:
    assert stall_budget_of([m.Progress("a", phase, done_s, audio_s)], POLICY) == (most_s, phase)


def test_a_worker_with_several_jobs_gets_the_longest_budget() -> None:
    jobs = [m.Progress("a", "writing", 9.0, 9.0), m.Progress("b", "transcribing", 0.0, 9.0)]

    assert stall_budget_of(jobs, POLICY) == (300.0, "transcribing")


def test_a_worker_that_tells_no_job_gets_the_budget_of_transcribing() -> None:
    assert stall_budget_of([], POLICY) == (300.0, "")
