"""The rule of lock-step: who is seated, what is called together, and that nobody waits for ever."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerproc.rounds import ENCODE_MOST, KINDS, Want, due, may_begin, rows_within, seats


def test_oldest_jobs_are_seated() -> None:
    assert seats([7, 3, 9, 1], rows=2) == {1, 3}
    assert seats([], rows=8) == frozenset()


def test_windows_are_encoded_before_any_is_generated_and_a_few_at_a_time() -> None:
    wants = [Want(1, "generate", "a"), *(Want(age, "encode", "e") for age in range(2, 8))]

    groups = due(wants, seats(range(1, 8), 8), 8)

    assert [[want.age for want in group] for group in groups] == [[2, 3, 4, 5], [6, 7]]


def test_windows_that_are_encoded_one_by_one_wait_for_nobody_and_all_others_for_each_that_is_seated() -> None:
    seated = seats([1, 2, 3], 8)
    two, all_three = (
        [Want(1, "encode", "e"), Want(3, "encode", "e")],
        [Want(n, "generate", "g") for n in (1, 2, 3)],
    )

    assert may_begin(two, seated, encode_most=1)
    assert not may_begin(two, seated, encode_most=4)
    assert not may_begin(all_three[:2], seated, encode_most=1)
    assert may_begin(all_three, seated, encode_most=1)
    assert not may_begin([Want(9, "encode", "e")], seats([1, 2, 9], 2), encode_most=1)  # has no seat
    assert [[want.age for want in group] for group in due(two, seated, 8, 1)] == [[1], [3]]


def test_calls_with_different_keys_are_made_apart_oldest_job_first() -> None:
    wants = [
        Want(4, "generate", "short"),
        Want(3, "generate", "long"),
        Want(2, "generate", None),
        Want(1, "generate", "short"),
        Want(5, "generate", None),
    ]

    groups = due(wants, seats(range(1, 6), 8), 8)

    assert [[want.age for want in group] for group in groups] == [[1, 4], [2], [3], [5]]


def test_job_without_a_seat_waits() -> None:
    wants = [Want(age, "generate", "k") for age in (1, 2, 3)]

    assert due(wants, seats([1, 2, 3], 2), 2) == [wants[:2]]


wants_of_jobs = st.dictionaries(
    st.integers(1, 30), st.tuples(st.sampled_from(KINDS), st.sampled_from(["a", "b", None])), max_size=20
)


@given(wants_of_jobs, st.integers(1, 16))
def test_each_want_that_is_due_is_served_once_and_within_the_limits(
    jobs: dict[int, tuple[str, str]], rows: int
) -> None:
    wants = [Want(age, kind, key) for age, (kind, key) in jobs.items()]
    seated = seats(jobs, rows)

    groups = due(wants, seated, rows)

    served = [want for group in groups for want in group]
    assert len(set(served)) == len(served)
    assert bool(served) == bool(wants)
    for group in groups:
        assert len({(want.kind, want.key) for want in group}) == 1
        assert len(group) <= (min(rows, ENCODE_MOST) if group[0].kind == "encode" else rows)
        assert len(group) == 1 or group[0].key is not None
        assert [want.age for want in group] == sorted(want.age for want in group)
    firsts = [group[0].age for group in groups]
    assert firsts == sorted(firsts)
    earliest = [want for want in wants if want.age in seated and served and want.kind == served[0].kind]
    assert set(served) == set(earliest)


def windows(count: int) -> Iterator[str]:
    for _ in range(count):
        yield "encode"
        yield "generate"


@given(st.lists(st.integers(1, 12), min_size=1, max_size=40), st.integers(1, 8), st.data())
def test_jobs_end_in_their_turn_however_many_come_behind_them(
    lengths: list[int], rows: int, data: st.DataObject
) -> None:
    """Virtual time in rounds: a job is through once its own windows and those of the older ones are."""
    calls = {age: windows(count) for age, count in enumerate(lengths)}
    keys = {age: data.draw(st.sampled_from(["a", "b", None])) for age in calls}
    wanted = {age: next(steps) for age, steps in calls.items()}
    ended_after: dict[int, int] = {}
    turns = 0

    while wanted:
        wants = [Want(age, kind, keys[age]) for age, kind in wanted.items()]
        for group in due(wants, seats(wanted, rows), rows):
            for want in group:
                following = next(calls[want.age], None)
                if following is None:
                    del wanted[want.age]
                    ended_after[want.age] = turns
                else:
                    wanted[want.age] = following
        turns += 1

    for age in ended_after:
        # Each round of a seated job takes two turns, and one more where jobs are out of step.
        assert ended_after[age] <= 3 * sum(lengths[: age + 1])


@pytest.mark.parametrize(
    ("round_s", "row_s", "most", "rows"),
    [(10.0, 0.0, 8, 8), (10.0, 0.4, 8, 8), (10.0, 3.0, 8, 3), (10.0, 60.0, 8, 1), (10.0, 1.0, 1, 1)],
)
def test_round_has_as_many_rows_as_fit_its_time_but_always_one(
    round_s: float, row_s: float, most: int, rows: int
) -> None:
    assert rows_within(round_s, row_s, most) == rows
