"""No time past a recording's end, and no words where none fit."""

from __future__ import annotations

import pytest

from workerproc.transcripts.plausible import is_invented, within
from workerproc.transcripts.transcript import Segment, Word


def test_times_past_the_end_become_the_end_and_all_others_stay() -> None:
    words = (Word(9.0, 9.5, "the", 1.0), Word(9.8, 10.4, "end", 1.0), Word(10.5, 11.0, "of", 1.0))
    inside = Segment(1, 0.0, 9.0, "Once upon a time")

    found = within([inside, Segment(2, 9.0, 11.0, "the end of", words=words)], 10.0)

    assert found[0] is inside
    assert (found[1].start_s, found[1].end_s, found[1].text) == (9.0, 10.0, "the end of")
    assert [(word.start_s, word.end_s) for word in found[1].words] == [(9.0, 9.5), (9.8, 10.0), (10.0, 10.0)]


def test_nothing_heard_is_nothing_invented() -> None:
    assert not is_invented([], 0.05)


@pytest.mark.parametrize(
    ("audio_s", "text", "invented"),
    [
        (0.05, " Thank you.", True),
        (0.2, " Thank you.", True),
        (0.05, " .", True),
        (0.3, " Yes.", False),
        (0.5, " Thank you.", False),
        (0.9, " Thanks for watching and please subscribe to it.", True),
        (30.0, " Thank you." * 200, False),
    ],
)
def test_text_that_nobody_can_have_spoken_in_that_time_is_invented(
    audio_s: float, text: str, invented: bool
) -> None:
    assert is_invented([Segment(1, 0.0, 1.0, text)], audio_s) is invented
