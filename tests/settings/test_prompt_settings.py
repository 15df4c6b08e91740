"""Texts before a window that would leave the model no room are mistakes in settings, found at start."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.settings.load import load_settings
from supervisor.settings.mistakes import SettingsWrong
from tests.settings.settings_folder import Folder

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"  # not part of the project; CI may have it


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        (f'hotwords = "{"Łódź, Nguyễn, " * 80}"', "transcription.hotwords"),
        (
            f'initial_prompt = "{"We met in Łódź. " * 50}"\nhotwords = "{"Nguyễn, " * 50}"',
            "transcription.initial_prompt",
        ),
        (f'initial_prompt = "{"a" * 2_001}"', "transcription.initial_prompt"),
        ('initial_prompt = "<|nospeech|>"', "transcription.initial_prompt"),
    ],
)
@pytest.mark.parametrize("profile", ["fast", "rem"])
def test_texts_that_leave_no_room_are_mistakes_by_name(
    folder: Folder, profile: str, lines: str, key: str
) -> None:
    folder.config.write_text(f'[transcription]\nprofile = "{profile}"\n{lines}\n', encoding="utf-8")

    (mistake,) = folder.mistakes()

    assert mistake.startswith(f"config.toml: {key}: ")


def test_short_texts_are_taken(folder: Folder) -> None:
    folder.config.write_text('[transcription]\ninitial_prompt = "Dear all,"\nhotwords = "Łódź, Nguyễn"\n')

    taken = folder.load().settings.transcription

    assert (taken.initial_prompt, taken.hotwords) == ("Dear all,", "Łódź, Nguyễn")


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no recorded cases here: {CASES} is absent")
@pytest.mark.parametrize(
    "case", sorted(CASES.glob("config-*hotwords*.toml")) or [Path("none")], ids=lambda case: case.name
)
def test_recorded_settings_that_cost_text_are_refused(case: Path) -> None:
    with pytest.raises(SettingsWrong, match=r"transcription\.(hotwords|initial_prompt): "):
        load_settings(str(case), {}, {"HOME": "/home/rem"})
