"""Word errors are counted as a person would, and an interval holds what chance alone can do."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def scoring() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scoring", REPOSITORY / "bench" / "scoring.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scoring"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("one", "other", "language"),
    [
        ("Press 9, please.", "press nine PLEASE", "en"),
        ("One two three ten", "1-2-3-10", "en"),
        ("re-entered", "re entered", "en"),
        ("Don’t", "don't", "en"),
        ("Uno dos tres", "1, 2, 3.", "es"),
        ("Een twee", "1 2", "nl"),
        ("Één", "1", "nl"),
        ("一二三四五六七八九", "123456789", "zh"),
    ],
)
def test_writing_alone_makes_no_difference(scoring: ModuleType, one: str, other: str, language: str) -> None:
    assert scoring.words(one, language) == scoring.words(other, language)


def test_number_words_count_in_their_own_language_only(scoring: ModuleType) -> None:
    assert scoring.words("once", "es") == ["once"]
    assert scoring.words("tien", "en") == ["tien"]


def test_vowel_signs_stay_with_their_letters(scoring: ModuleType) -> None:
    assert scoring.words("ऊँट के मुँह", "hi") == ["ऊँट", "के", "मुँह"]


@pytest.mark.parametrize(
    ("said", "heard", "substituted", "deleted", "inserted"),
    [
        ("a b c", "a b c", 0, 0, 0),
        ("a b c", "a x c", 1, 0, 0),
        ("a b c", "a c", 0, 1, 0),
        ("a b c", "a b b c", 0, 0, 1),
        ("a b c", "", 0, 3, 0),
        ("", "a b", 0, 0, 2),
        ("a b c d", "b c d e", 0, 1, 1),
    ],
)
def test_errors_are_told_apart(
    scoring: ModuleType, said: str, heard: str, substituted: int, deleted: int, inserted: int
) -> None:
    found = scoring.errors(said.split(), heard.split())

    assert found == scoring.Errors(len(said.split()), substituted, deleted, inserted)


@pytest.mark.parametrize(
    ("heard", "is_loop"),
    [
        ("thank you very much thank you very much thank you very much", True),
        ("so a b c a b c a b c and on", True),
        ("no no no no no no no no no", True),
        ("a b c a b c", False),
        ("a b c a b c x a b c", False),
        ("no no no no no", False),
        ("", False),
    ],
)
def test_loop_is_three_words_three_times(scoring: ModuleType, heard: str, is_loop: bool) -> None:
    assert scoring.repeats(heard.split()) is is_loop


@pytest.mark.parametrize(
    ("length_s", "name"),
    [(0.5, "0 to 4 s"), (4.0, "4 to 8 s"), (28.9, "16 to 29 s"), (29.0, "longer"), (900.0, "longer")],
)
def test_each_length_has_one_class(scoring: ModuleType, length_s: float, name: str) -> None:
    assert scoring.length_class(length_s) == name


def test_distance_is_to_the_nearest_moment(scoring: ModuleType) -> None:
    assert scoring.distances([1.0, 5.0], [0.5, 5.25]) == [0.5, 0.25]
    assert scoring.distances([1.0], []) == []


def test_program_that_never_differs_has_no_difference_at_all(scoring: ModuleType) -> None:
    many = [scoring.Errors(10, n % 3) for n in range(20)]

    rates, differences = scoring.intervals({"plain": many, "same": list(many)}, "plain", seed=1)

    assert rates["same"] == rates["plain"]
    assert rates["plain"].low < rates["plain"].value < rates["plain"].high
    assert differences["same"] == scoring.Interval(0.0, 0.0, 0.0)


def test_program_that_is_always_worse_is_worse_beyond_its_interval(scoring: ModuleType) -> None:
    plain = [scoring.Errors(10, 1) for _ in range(20)]
    worse = [scoring.Errors(10, 2 + n % 2) for n in range(20)]

    _, differences = scoring.intervals({"plain": plain, "worse": worse}, "plain", seed=1)

    assert differences["worse"].low > 0


def test_chance_alone_is_within_the_interval(scoring: ModuleType) -> None:
    plain = [scoring.Errors(10, n % 2) for n in range(20)]
    other = [scoring.Errors(10, (n + 1) % 2) for n in range(19)] + [scoring.Errors(10, 2)]

    _, differences = scoring.intervals({"plain": plain, "other": other}, "plain", seed=1)

    assert differences["other"].low < 0 < differences["other"].high


def test_same_seed_gives_the_same_intervals(scoring: ModuleType) -> None:
    many = {"plain": [scoring.Errors(10, n % 4) for n in range(30)]}

    assert scoring.intervals(many, "plain", seed=7) == scoring.intervals(many, "plain", seed=7)
