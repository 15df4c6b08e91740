"""Names of models and languages: copies equal faster-whisper's own, and a wrong name gets the right hint."""

from __future__ import annotations

from typing import Optional

import pytest

from supervisor.contract import whisper_names as names


@pytest.mark.slow
def test_copied_names_equal_those_of_faster_whisper() -> None:
    from faster_whisper.tokenizer import _LANGUAGE_CODES
    from faster_whisper.utils import _MODELS

    assert dict(names.MODELS) == _MODELS
    assert set(names.LANGUAGES) == set(_LANGUAGE_CODES)


def test_every_hint_is_a_code_that_is_accepted() -> None:
    assert set(names._ALSO.values()) <= set(names.LANGUAGES)
    assert not set(names._ALSO) & set(names.LANGUAGES)


@pytest.mark.parametrize("code", ["de", "en", "haw", "yue", "jw"])
def test_code_of_whisper_is_accepted(code: str) -> None:
    assert names.language_mistake(code) is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("german", "de"),
        ("German", "de"),
        ("DE", "de"),
        ("de-CH", "de"),
        ("pt_BR", "pt"),
        ("deutsch", "de"),
        ("germna", "de"),
        ("mandarin", "zh"),
        ("eng", "en"),
        ("jv", "jw"),
        ("xx", None),
        ("q", None),
        ("e" * 5_000, None),
        ("\ud83d", None),
    ],
)
def test_other_language_is_named_with_the_nearest_code(written: str, meant: Optional[str]) -> None:
    mistake = names.language_mistake(written)

    assert mistake is not None
    assert mistake.endswith(f"Did you mean {meant}?" if meant else "Write a code such as en or de")
    assert len(mistake) < 200


@pytest.mark.parametrize(
    ("model", "only"),
    [
        ("tiny.en", True),
        ("distil-small.en", True),
        ("Systran/faster-whisper-base.en", True),
        ("base", False),
        ("/models/mine.en", False),
    ],
)
def test_english_only_is_known_by_a_known_name_alone(model: str, only: bool) -> None:
    assert names.is_english_only(model) is only


@pytest.mark.parametrize("written", ["auto", "Auto", "auto-detect", "detect", "none", "null"])
def test_language_that_is_to_be_detected_is_left_empty_and_no_other_is_suggested(written: str) -> None:
    """`auto` was answered with "Did you mean ps?": Pashto is the nearest name."""
    mistake = names.language_mistake(written)

    assert mistake is not None
    assert "Leave it empty" in mistake
    assert "Did you mean" not in mistake
