"""How many windows a call takes follows from what calls cost, whatever the machine and the work."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from workerproc.engine.batch_tuning import Measured, in_ms, noted, rows

MOST = 4


def work(
    measured: Measured, calls: int, cost_s: Callable[[int], float], jobs: int = MOST
) -> tuple[Measured, Counter[int]]:
    """So many calls, each with as many windows as are allowed and there; gives how many had which size."""
    sizes: Counter[int] = Counter()
    for _ in range(calls):
        count = min(rows(measured), jobs)
        sizes[count] += 1
        measured = noted(measured, count, cost_s(count))
    return measured, sizes


def dearer_together(count: int) -> float:
    return 0.004 if count == 1 else 0.0055


def cheaper_together(count: int) -> float:
    return 0.004 if count == 1 else 0.003


def test_one_window_a_call_where_that_is_cheaper_and_several_where_they_are() -> None:
    for cost_s, expected in ((dearer_together, 1), (cheaper_together, MOST), (lambda count: 0.004, 1)):
        measured, _ = work(Measured(MOST), 100, cost_s)

        assert rows(measured) == expected


def test_both_are_tried_at_first_and_seldom_later() -> None:
    measured, sizes = work(Measured(MOST), 20, dearer_together)
    assert sizes[MOST] == 4

    measured, sizes = work(measured, 20_000, dearer_together)
    assert 0 < sizes[MOST] < 60


def test_machine_that_changes_is_followed_at_the_next_try() -> None:
    measured, _ = work(Measured(MOST), 100, dearer_together)

    measured, _ = work(measured, 5_000, cheaper_together)
    assert rows(measured) == MOST

    measured, _ = work(measured, 5_000, dearer_together)
    assert rows(measured) == 1


def test_single_calls_that_take_ten_times_as_long_do_not_mislead() -> None:
    chance = random.Random(1)

    measured, _ = work(
        Measured(MOST), 500, lambda count: dearer_together(count) * (10 if chance.random() < 0.2 else 1)
    )

    assert rows(measured) == 1


def test_recording_that_is_alone_never_waits_for_a_measurement() -> None:
    measured, sizes = work(Measured(MOST), 100, dearer_together, jobs=1)

    assert sizes == {1: 100}
    assert in_ms(measured) == {"1": 4.0}


def test_what_is_known_is_given_in_milliseconds() -> None:
    measured, _ = work(Measured(MOST), 100, dearer_together, jobs=3)

    assert in_ms(measured) == {"1": 4.0, "4": 5.5}
    assert in_ms(Measured(MOST)) == {}


@given(st.lists(st.tuples(st.integers(1, MOST), st.floats(1e-6, 10.0)), max_size=200))
def test_calls_never_take_more_than_is_allowed_and_what_is_kept_is_bounded(
    calls: list[tuple[int, float]],
) -> None:
    measured = Measured(MOST)
    for count, token_s in calls:
        measured = noted(measured, count, token_s)
        assert rows(measured) in (1, MOST)
        assert len(measured.one) + len(measured.several) <= 40
