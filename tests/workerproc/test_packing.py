"""Windows of engines that hear one at a time: by hand, and what holds for any speech."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.workerproc.test_split_points import span, speech
from workerproc.checkpoints.split_points import RATE_HZ
from workerproc.engine.others import packing

MOST = 30 * RATE_HZ


def ends_s(*pieces_s: tuple[float, float]) -> list[float]:
    return [round(end / RATE_HZ, 2) for _, end in packing.windows(*speech(*pieces_s), MOST)]


def test_short_speech_is_one_window() -> None:
    assert ends_s((20.0, 5.0), (10.0, 0.0)) == [30.0]
    assert packing.windows([], [], MOST) == []


def test_window_ends_in_the_longest_pause_of_its_last_third() -> None:
    assert ends_s((15.0, 9.0), (8.0, 2.0), (5.0, 1.0), (10.0, 0.0)) == [23.0, 38.0]


def test_window_without_a_late_pause_ends_in_its_last_one() -> None:
    assert ends_s((5.0, 9.0), (8.0, 0.3), (28.0, 0.0)) == [13.0, 41.0]


def test_speech_without_a_pause_is_cut_where_the_window_is_full() -> None:
    assert ends_s((70.0, 0.0)) == [30.0, 60.0, 70.0]


def test_pause_inside_a_stretch_ends_a_window_in_its_middle() -> None:
    stretches, pauses = [span(10.0, 60.0)], [span(35.0, 36.0)]

    assert packing.windows(stretches, pauses, MOST) == [
        (0, round(25.5 * RATE_HZ)),
        (round(25.5 * RATE_HZ), 50 * RATE_HZ),
    ]


@given(
    st.lists(st.tuples(st.floats(0.05, 45.0), st.floats(0.1, 20.0)), max_size=40),
    st.floats(2.0, 30.0),
)
def test_windows_cover_all_speech_once_and_are_never_too_long(
    pieces_s: list[tuple[float, float]], most_s: float
) -> None:
    stretches, pauses = speech(*pieces_s)
    most = round(most_s * RATE_HZ)

    windows = packing.windows(stretches, pauses, most)

    assert [begin for begin, _ in windows[1:]] == [end for _, end in windows[:-1]]
    assert [*windows[:1], *windows[-1:]] == [] or windows[0][0] == 0
    assert sum(end - begin for begin, end in windows) == sum(one["end"] - one["start"] for one in stretches)
    assert all(0 < end - begin <= most for begin, end in windows)
    frames = [begin // packing.FRAME for begin, _ in windows]
    assert len(set(frames)) == len(frames), "each window has a resume point of its own"
    assert all(begin % packing.FRAME == 0 for begin, _ in windows)
