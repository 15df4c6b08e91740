"""Whatever stands in config.toml, .env or the environment: settings, or a list of mistakes for people."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from supervisor.settings.load import known_keys, load_settings
from supervisor.settings.mistakes import SettingsWrong

KEYS = sorted(known_keys())
VARIABLES = (
    *(
        "AWS_REGION",
        "SQS_QUEUE_URL",
        "RAW_AUDIO_BUCKET",
        "TRANSCRIPTS_BUCKET",
        "DYNAMODB_TABLE",
        "REM_STATE_DIR",
    ),
    *("WHISPER_MODEL", "WHISPER_DEVICE", "WHISPER_COMPUTE_TYPE", "POLL_INTERVAL", "MAX_MESSAGES"),
    *("VISIBILITY_TIMEOUT", "LOG_LEVEL"),
)
# What an environment variable can hold at all: no NUL, and whatever bytes as surrogates.
TEXTS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=30)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats()
VALUES = NUMBERS | st.booleans() | TEXTS | st.lists(TEXTS, max_size=3)
ODD = st.sampled_from(
    ["", " ", "0", "-1", "1e999", "nan", "inf", "1_000", "٣", "0x10", "cuda", "cpu", "auto", "../..", "~"]
)


def toml_of(value: Any) -> str:
    """Write a value as TOML; its numbers have words of their own for what is not finite."""
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=True)


def load_or_mistakes(config: str, dotenv: str, environ: dict[str, str]) -> None:
    """Load; whatever else than settings or named mistakes comes of it fails the test."""
    mistakes: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.toml").write_text(config, encoding="utf-8", errors="replace")
        (folder / ".env").write_text(dotenv, encoding="utf-8", errors="replace")
        try:
            loaded = load_settings(str(folder / "config.toml"), {}, {"HOME": name, **environ})
            mistakes = ["none"] if loaded.settings.state_dir else []
        except SettingsWrong as wrong:
            mistakes = [str(mistake).strip() for mistake in wrong.mistakes]
    assert mistakes
    assert all(mistakes)


@profile(max_examples=200)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES | ODD, max_size=6))
def test_any_values_in_the_file_are_taken_or_named_as_mistakes(values: dict[str, Any]) -> None:
    lines = [f"{key} = {toml_of(value)}" for key, value in values.items()]

    load_or_mistakes("\n".join(lines) + "\n", "", {})


@profile(max_examples=200)
@given(st.dictionaries(st.sampled_from(VARIABLES), TEXTS | ODD, max_size=6))
def test_any_environment_is_taken_or_named_as_mistakes(environ: dict[str, str]) -> None:
    load_or_mistakes("", "", environ)


@profile(max_examples=150)
@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_in_either_file_is_taken_or_named_as_a_mistake(config: str, dotenv: str) -> None:
    load_or_mistakes(config, dotenv, {})
