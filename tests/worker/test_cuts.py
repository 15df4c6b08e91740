"""Cuts of a long recording: by hand, and what holds for any speech."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workerproc import cuts
from workerproc.cuts import RATE_HZ, Stretch


def speech(*pieces_s: tuple[float, float]) -> list[Stretch]:
    """Stretches from (speech, pause after it) in seconds."""
    found, at_s = [], 0.0
    for length_s, pause_s in pieces_s:
        found.append({"start": round(at_s * RATE_HZ), "end": round((at_s + length_s) * RATE_HZ)})
        at_s += length_s + pause_s
    return found


def lengths_s(parts: list[list[Stretch]]) -> list[float]:
    return [sum(one["end"] - one["start"] for one in part) / RATE_HZ for part in parts]


def test_short_recording_is_one_part() -> None:
    assert lengths_s(cuts.parts(speech((60.0, 2.0), (40.0, 0.0)))) == [100.0]
    assert cuts.parts([]) == [[]]


def test_cut_falls_into_the_first_good_pause_after_a_minute_and_a_half() -> None:
    found = cuts.parts(speech((50.0, 3.0), (45.0, 0.2), (10.0, 1.5), (60.0, 0.5), (60.0, 0.0)))

    assert lengths_s(found) == [105.0, 120.0]


def test_speech_without_a_good_pause_is_cut_at_the_first_one_after_two_minutes() -> None:
    found = cuts.parts(speech(*[(10.0, 0.2)] * 30))

    assert lengths_s(found) == [120.0, 120.0, 60.0]


def test_short_rest_stays_with_the_part_before_it() -> None:
    found = cuts.parts(speech(*[(10.0, 2.0)] * 12))

    assert lengths_s(found) == [120.0]


def test_stretch_without_any_pause_is_not_cut() -> None:
    assert lengths_s(cuts.parts(speech((500.0, 1.0), (100.0, 0.0)))) == [500.0, 100.0]


@given(st.lists(st.tuples(st.floats(0.1, 300.0), st.floats(0.0, 5.0)), max_size=60))
def test_all_speech_is_in_one_part_in_order_and_no_part_is_too_fine(
    pieces_s: list[tuple[float, float]],
) -> None:
    stretches = speech(*pieces_s)

    found = cuts.parts(stretches)

    assert [one for part in found for one in part] == stretches
    if len(found) > 1:
        assert all(length_s >= cuts.PART_S for length_s in lengths_s(found)[:-1])
        assert lengths_s(found)[-1] >= cuts.LEAST_REST_S
