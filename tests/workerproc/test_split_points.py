"""Cuts of a long recording: by hand, and what holds for any speech."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workerproc.checkpoints import split_points
from workerproc.checkpoints.split_points import RATE_HZ, Stretch


def speech(*pieces_s: tuple[float, float]) -> tuple[list[Stretch], list[Stretch]]:
    """Stretches and the pauses between them, from (speech, pause after it) in seconds."""
    stretches: list[Stretch] = []
    at_s = 0.0
    for length_s, pause_s in pieces_s:
        stretches.append(span(at_s, at_s + length_s))
        at_s += length_s + pause_s
    pauses: list[Stretch] = [
        {"start": one["end"], "end": following["start"]}
        for one, following in zip(stretches, stretches[1:])
        if one["end"] < following["start"]
    ]
    return stretches, pauses


def span(start_s: float, end_s: float) -> Stretch:
    return {"start": round(start_s * RATE_HZ), "end": round(end_s * RATE_HZ)}


def lengths_s(parts: list[list[Stretch]]) -> list[float]:
    return [round(sum(one["end"] - one["start"] for one in part) / RATE_HZ, 2) for part in parts]


def test_short_recording_is_one_part() -> None:
    assert lengths_s(split_points.parts(*speech((60.0, 2.0), (40.0, 0.0)))) == [100.0]
    assert split_points.parts([], []) == [[]]


def test_cut_falls_into_the_first_good_pause_after_a_minute_and_a_half() -> None:
    found = split_points.parts(*speech((50.0, 3.0), (45.0, 0.2), (10.0, 1.5), (60.0, 0.5), (60.0, 0.0)))

    assert lengths_s(found) == [105.0, 120.0]


def test_without_a_good_pause_the_longest_within_half_a_minute_is_taken() -> None:
    found = split_points.parts(*speech((95.0, 0.2), (10.0, 0.4), (10.0, 0.3), (60.0, 0.3), (60.0, 0.0)))

    assert lengths_s(found) == [105.0, 130.0]


def test_speech_that_hardly_pauses_is_cut_within_a_stretch() -> None:
    found = split_points.parts([span(0.0, 200.0)], [span(20.0, 20.3), span(99.9, 100.1), span(150.0, 150.3)])

    assert lengths_s(found) == [100.0, 100.0]
    assert found[0][-1]["end"] == found[1][0]["start"] == 100 * RATE_HZ


def test_speech_without_any_pause_is_not_cut() -> None:
    assert lengths_s(split_points.parts([span(0.0, 500.0)], [])) == [500.0]


def test_first_pause_after_the_patience_is_taken_where_none_came_before() -> None:
    found = split_points.parts([span(0.0, 400.0)], [span(20.0, 22.0), span(200.0, 200.2), span(300.0, 302.0)])

    assert lengths_s(found) == [200.1, 100.9, 99.0]


def test_short_rest_stays_with_the_part_before_it() -> None:
    assert lengths_s(split_points.parts(*speech(*[(10.0, 2.0)] * 12))) == [120.0]


@given(
    st.lists(st.tuples(st.floats(0.1, 150.0), st.floats(0.01, 5.0)), max_size=40),
    st.lists(st.tuples(st.floats(0.0, 900.0), st.floats(0.1, 0.5)), max_size=20),
)
def test_all_speech_is_in_one_part_in_order_and_no_part_is_too_fine(
    pieces_s: list[tuple[float, float]], inside_s: list[tuple[float, float]]
) -> None:
    stretches, between = speech(*pieces_s)
    inside = [span(at_s, at_s + length_s) for at_s, length_s in inside_s]
    pauses = sorted(between + inside, key=lambda pause: pause["start"])

    found = split_points.parts(stretches, pauses)

    joined = [one for part in found for one in part]
    assert sum(lengths_s(found)) == round(sum(lengths_s([stretches])), 2) or abs(
        sum(lengths_s(found)) - sum(lengths_s([stretches]))
    ) < 0.02 * len(found)
    assert all(one["end"] <= following["start"] for one, following in zip(joined, joined[1:]))
    if len(found) > 1:
        assert all(length_s >= split_points.PART_S for length_s in lengths_s(found)[:-1])
        assert lengths_s(found)[-1] >= split_points.LEAST_REST_S
