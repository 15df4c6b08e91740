"""A model that can't exist is a mistake at start: nobody waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.settings.load import load_settings
from tests.settings.settings_folder import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize(
    "model", ["base", "large-v3", "turbo", "owner/name", "Systran/faster-whisper-tiny.en"]
)
def test_known_name_and_repository_are_taken(folder: Folder, model: str) -> None:
    assert folder.load(WHISPER_MODEL=model).settings.transcription.model == model


def test_folder_that_is_there_is_taken_by_any_kind_of_path(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.path / "models" / "mine").mkdir(parents=True)
    monkeypatch.chdir(folder.path)
    monkeypatch.setenv("HOME", str(folder.path))

    taken = ["models", "models/mine", "./models/mine", "~/models/mine", str(folder.path / "models" / "mine")]

    for model in taken:
        assert folder.load(WHISPER_MODEL=model).settings.transcription.model == model


@pytest.mark.parametrize(
    ("model", "meant"), [("bsae", "base"), ("Base", "base"), ("large-v4", "large-v"), ("tiny-en", "tiny.en")]
)
def test_misspelt_model_is_told_with_the_nearest_name(folder: Folder, model: str, meant: str) -> None:
    """A misspelt model was looked for again and again, and the service never got ready."""
    (mistake,) = folder.mistakes(WHISPER_MODEL=model)

    assert mistake.startswith(
        f"environment: WHISPER_MODEL: there is no model '{model}'. Did you mean {meant}"
    )
    assert "distil-large-v3" in mistake


@pytest.mark.parametrize(
    "model", ["/no/such/folder", "./nothing", "~nobody-here/model", "a/b/c", "x\0y", "y" * 5_000]
)
def test_folder_that_is_not_there_is_a_mistake(folder: Folder, model: str) -> None:
    (mistake,) = folder.mistakes({"transcription.model": model})

    assert "there is no" in mistake


def test_model_of_a_single_device_is_checked_as_well(folder: Folder) -> None:
    folder.config.write_text('[devices.model]\n0 = "bsae"\n1 = "small"\n"NVIDIA T4" = "/no/such"\n')

    mistakes = folder.mistakes()

    assert [mistake.split(". ")[0] for mistake in mistakes] == [
        "config.toml: devices.model: there is no model 'bsae' (of 0)",
        "config.toml: devices.model: there is no folder /no/such (of NVIDIA T4)",
    ]


@pytest.mark.parametrize("line", ['language = "de"', 'task = "translate"'])
def test_english_model_with_another_language_or_to_translate_is_a_mistake(folder: Folder, line: str) -> None:
    folder.config.write_text(f'[transcription]\nmodel = "small.en"\n{line}\n')

    (mistake,) = folder.mistakes()

    assert "model small.en supports English only" in mistake
    assert mistake.endswith("as small")


def test_english_model_of_one_device_counts_too_and_english_itself_is_no_mistake(folder: Folder) -> None:
    folder.config.write_text('[devices.model]\n0 = "small.en"\n[transcription]\nlanguage = "en"\n')
    fine = folder.load()
    folder.config.write_text('[devices.model]\n0 = "small.en"\n[transcription]\nlanguage = "fr"\n')

    assert fine.settings.transcription.language == "en"
    assert len(folder.mistakes()) == 1


@pytest.mark.parametrize(
    ("written", "hint"), [("german", "Did you mean de?"), ("xx", "Write a code such as en or de")]
)
def test_language_that_whisper_does_not_know_is_a_mistake(folder: Folder, written: str, hint: str) -> None:
    folder.config.write_text(f'[transcription]\nlanguage = "{written}"\n')

    (mistake,) = folder.mistakes()

    assert f"transcription.language: '{written}' is not a language of Whisper. {hint}" in mistake


def test_commands_that_start_no_worker_do_not_look_for_the_model(folder: Folder) -> None:
    """The service's model may lie where its user alone may look, or be relative to another folder."""
    loaded = load_settings(
        str(folder.config),
        {"transcription.model": "./models/mine"},
        {"HOME": str(folder.path)},
        for_workers=False,
    )

    assert loaded.settings.transcription.model == "./models/mine"
