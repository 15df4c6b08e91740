"""What programs heard becomes scores: each mistake counts once, in its own column."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = str(Path(__file__).resolve().parents[2] / "bench")


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    sys.path.insert(0, BENCH)
    try:
        return importlib.import_module("accuracy_table")
    finally:
        sys.path.remove(BENCH)


def recording(bench: ModuleType, text: str, **changes: Any) -> Any:
    facts = {"name": "one", "path": "", "length_s": 5.0, "source": "board", "language": "en", **changes}
    return bench.Recording(text=text, **facts)


def heard(text: str, language: str = "en", ends_s: tuple[float, ...] = ()) -> dict[str, Any]:
    return {
        "text": text,
        "language": language,
        "begins_s": list(ends_s),
        "ends_s": list(ends_s),
        "cpu_s": 1.0,
    }


def test_words_where_nothing_is_said_are_invented_and_no_errors(bench: ModuleType) -> None:
    silence = recording(bench, "")
    without = recording(bench, "", with_vad=False)
    speech = recording(bench, "good day")

    scores = bench.scores(
        [silence, without, speech],
        [
            {"plain": heard(""), "new": heard("Thank you.")},
            {"plain": heard("you"), "new": heard("")},
            {"plain": heard("Good day."), "new": heard("Good day.")},
        ],
        seed=1,
    )

    new, plain = scores.programs["new"], scores.programs["plain"]
    assert (new.invented, new.invented_without_vad) == (2, 0)
    assert (plain.invented, plain.invented_without_vad) == (0, 1)
    assert scores.rates["new"].value == 0
    assert bench.worse(scores) == ["new: 2 words where nothing is said, plain 0"]


def test_program_that_goes_round_is_worse_than_plain(bench: ModuleType) -> None:
    speech = recording(bench, "we will see it tomorrow", name="board/a")

    scores = bench.scores(
        [speech] * 10,
        [{"plain": heard("we will see it tomorrow"), "new": heard("we will see " * 3)}] * 10,
        seed=1,
    )

    assert bench.worse(scores) == [
        "new: word error rate +120.00 (+120.00 to +120.00) points against plain",
        "new: repeated text that plain does not make, in board/a",
    ]


def test_text_that_is_really_said_again_and_again_is_no_loop(bench: ModuleType) -> None:
    text = "row row row your boat " * 4

    scores = bench.scores([recording(bench, text)], [{"plain": heard(text)}], seed=1)

    assert scores.programs["plain"].repeated == []


def test_ends_are_measured_where_they_are_known(bench: ModuleType) -> None:
    joined = recording(bench, "good day", begins_s=(0.0,), ends_s=(2.0,))

    scores = bench.scores(
        [joined, recording(bench, "good day")], [{"plain": heard("good day", ends_s=(2.5, 9.0))}] * 2, seed=1
    )

    assert scores.programs["plain"].apart_s == [2.5, 0.5]
    assert scores.programs["plain"].beyond == 2


def test_language_that_is_not_spoken_counts(bench: ModuleType) -> None:
    scores = bench.scores([recording(bench, "good day")], [{"plain": heard("good day", "nl")}], seed=1)

    assert scores.programs["plain"].wrong_language == 1


def test_report_names_each_program_and_only_classes_with_recordings(bench: ModuleType) -> None:
    scores = bench.scores(
        [recording(bench, "good day", length_s=3.0)], [{"plain": heard("good"), "new": heard("good day")}], 1
    )

    text = bench.text("tiny.en", scores)

    assert "tiny.en: 2 words, 1 recordings with speech" in text
    assert "| plain | 50.00 (50.00 to 50.00) |  | 0 | 1 | 0 |" in text
    assert "| new | 0.00 (0.00 to 0.00) | -50.00 (-50.00 to -50.00) |" in text
    assert "0 to 4 s (2)" in text
    assert "longer" not in text
