"""The rule of lock-step: who is seated, what is called together, and that nobody waits for ever."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerproc.engine.rounds import (
    ENCODE_MOST,
    KINDS,
    TURN_WINDOWS,
    Want,
    due,
    may_begin,
    rows_within,
    seats,
)


def oldest(ages: Iterable[int], rows: int) -> frozenset[int]:
    """The seats of jobs that have all had as many turns."""
    return seats(dict.fromkeys(ages, 0), rows, {})


def test_oldest_jobs_are_seated() -> None:
    assert oldest([7, 3, 9, 1], rows=2) == {1, 3}
    assert oldest([], rows=8) == frozenset()


def test_windows_are_encoded_before_any_is_generated_and_a_few_at_a_time() -> None:
    wants = [Want(1, "generate", "a"), *(Want(age, "encode", "e") for age in range(2, 8))]

    groups = due(wants, oldest(range(1, 8), 8), 8)

    assert [[want.age for want in group] for group in groups] == [[2, 3, 4, 5], [6, 7]]


def test_windows_that_are_encoded_one_by_one_wait_for_nobody_and_all_others_for_each_that_is_seated() -> None:
    seated = oldest([1, 2, 3], 8)
    two, all_three = (
        [Want(1, "encode", "e"), Want(3, "encode", "e")],
        [Want(n, "generate", "g") for n in (1, 2, 3)],
    )

    assert may_begin(two, seated, encode_most=1)
    assert not may_begin(two, seated, encode_most=4)
    assert not may_begin(all_three[:2], seated, encode_most=1)
    assert may_begin(all_three, seated, encode_most=1)
    assert not may_begin([Want(9, "encode", "e")], oldest([1, 2, 9], 2), encode_most=1)  # has no seat
    assert [[want.age for want in group] for group in due(two, seated, 8, 1)] == [[1], [3]]


def test_calls_with_different_keys_are_made_apart_oldest_job_first() -> None:
    wants = [
        Want(4, "generate", "short"),
        Want(3, "generate", "long"),
        Want(2, "generate", None),
        Want(1, "generate", "short"),
        Want(5, "generate", None),
    ]

    groups = due(wants, oldest(range(1, 6), 8), 8)

    assert [[want.age for want in group] for group in groups] == [[1, 4], [2], [3], [5]]


def test_job_without_a_seat_waits() -> None:
    wants = [Want(age, "generate", "k") for age in (1, 2, 3)]

    assert due(wants, oldest([1, 2, 3], 2), 2) == [wants[:2]]


wants_of_jobs = st.dictionaries(
    st.integers(1, 30), st.tuples(st.sampled_from(KINDS), st.sampled_from(["a", "b", None])), max_size=20
)


@given(wants_of_jobs, st.integers(1, 16))
def test_each_want_that_is_due_is_served_once_and_within_the_limits(
    jobs: dict[int, tuple[str, str]], rows: int
) -> None:
    wants = [Want(age, kind, key) for age, (kind, key) in jobs.items()]
    seated = oldest(jobs, rows)

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
        for group in due(wants, oldest(wanted, rows), rows):
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


def test_long_recording_and_an_endless_row_of_short_ones_hold_each_other_up_for_a_while_only() -> None:
    """One row, in turns of a window: each short one has three."""
    had, turns_of = {0: 0}, 0
    lengths, begun_at, waits, longs = {0: 10_000}, {}, [], []
    for turn in range(2_000):
        if len(had) < 3:  # its room: the next one is begun as soon as one ends
            age = max(lengths) + 1
            had[age], lengths[age], begun_at[age] = turns_of, 3, turn
        (age,) = seats(had, 1, {})
        turns_of = had[age] = had[age] + 1
        lengths[age] -= 1
        if age == 0:
            longs.append(turn)
        elif not lengths[age]:
            waits.append(turn - begun_at[age])
            del had[age]

    assert max(waits) <= 2 * TURN_WINDOWS
    assert max(two - one for one, two in zip(longs, longs[1:])) <= 3 * TURN_WINDOWS
    assert len(longs) > 500


@pytest.mark.parametrize(
    ("round_s", "row_s", "most", "rows"),
    [(10.0, 0.0, 8, 8), (10.0, 0.4, 8, 8), (10.0, 3.0, 8, 3), (10.0, 60.0, 8, 1), (10.0, 1.0, 1, 1)],
)
def test_round_has_as_many_rows_as_fit_its_time_but_always_one(
    round_s: float, row_s: float, most: int, rows: int
) -> None:
    assert rows_within(round_s, row_s, most) == rows


def test_parts_of_one_recording_take_turns_and_the_next_recording_waits_for_them() -> None:
    had = {4: 0, 5: 0, 6: 0, 7: 0}
    parts_of = {4: 3, 5: 3, 6: 3}  # the recording of age 3 has left its own lane
    served = []
    for _ in range(7):
        (age,) = seats(had, 1, parts_of)
        had[age] += 1
        served.append(age)

    assert served == [4, 5, 6, 4, 5, 6, 4]

    had.update({4: TURN_WINDOWS, 5: TURN_WINDOWS, 6: TURN_WINDOWS})
    assert seats(had, 1, parts_of) == {7}
