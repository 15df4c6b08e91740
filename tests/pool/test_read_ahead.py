"""How many recordings a host fetches before it has a place for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.pool.rules.read_ahead import ahead, measured


@dataclass(frozen=True)
class Pace:
    places: int
    job_s: Optional[float]


@pytest.mark.parametrize(
    ("places", "job_s", "fetched"),
    [
        (1, None, 1),  # nothing measured yet: what is set
        (9, None, 1),
        (9, 3.0, 9),  # short recordings: the next round's, all of them
        (9, 50.0, 1),  # REM's five minutes on a CPU: hardly one will end
        (9, 15.0, 3),
        (1, 600.0, 1),
        (1, 0.0, 1),  # staged without work
    ],
)
def test_host_fetches_ahead_what_ends_by_the_time_it_is_there(
    places: int, job_s: float, fetched: int
) -> None:
    assert ahead([Pace(places, job_s)], least=1) == fetched


def test_slow_and_fast_workers_add_up() -> None:
    assert ahead([Pace(9, 3.0), Pace(9, 15.0), Pace(1, None)], least=1) == 12
    assert ahead([], least=4) == 4


@given(st.lists(st.tuples(st.integers(0, 64), st.none() | st.floats(0, 1e6))), st.integers(0, 100))
def test_what_is_set_is_fetched_and_else_never_more_than_runs_at_a_time(
    paces: list[tuple[int, float]], least: int
) -> None:
    fetched = ahead([Pace(*pace) for pace in paces], least)

    assert least <= fetched <= max(least, sum(places for places, _ in paces))


def test_measured_length_follows_the_latest_jobs() -> None:
    job_s = measured(None, 60.0)
    assert job_s == 60.0
    for _ in range(20):
        job_s = measured(job_s, 2.0)
    assert 2.0 < job_s < 3.0
