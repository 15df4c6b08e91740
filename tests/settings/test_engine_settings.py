"""An engine that can't do what the settings ask is refused at start, by name and with what to do."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from supervisor.contract.engine import engines
from supervisor.contract.job_options import Options
from tests.settings.settings_folder import Folder


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the packages that count as installed, whatever is on this host."""
    names: set[str] = set()

    def version(name: str) -> str:
        if name not in names:
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    return names


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    path = tmp_path / "tiny.en.pt"
    path.write_bytes(b"weights")
    return str(path)


def test_engine_that_is_installed_is_taken_with_its_model(
    folder: Folder, installed: set[str], checkpoint: str
) -> None:
    installed.add("openai-whisper")

    used = folder.load(REM_ENGINE="openai-whisper", WHISPER_MODEL=checkpoint).settings.transcription

    assert (used.engine, used.model) == ("openai-whisper", checkpoint)


def test_engine_that_is_not_installed_is_refused_with_what_to_install(
    folder: Folder, installed: set[str], checkpoint: str
) -> None:
    assert folder.mistakes(REM_ENGINE="openai-whisper", WHISPER_MODEL=checkpoint) == [
        "environment: REM_ENGINE: openai-whisper needs the package openai-whisper, which is not installed. "
        "Run pip install -r requirements-openai-whisper.txt"
    ]


def test_default_engine_asks_for_no_package(folder: Folder, installed: set[str]) -> None:
    assert folder.load().settings.transcription.engine == "faster-whisper"


def test_unknown_engine_is_refused_with_the_known_ones(folder: Folder) -> None:
    (mistake,) = folder.mistakes(REM_ENGINE="vosk")

    assert mistake == (
        f"environment: REM_ENGINE: 'vosk' is not a valid value. Write one of: {', '.join(engines.NAMES)}"
    )


@pytest.mark.parametrize("model", ["base", "nowhere.pt", "."])
def test_model_of_another_engine_is_a_file_on_this_host(
    folder: Folder, installed: set[str], model: str
) -> None:
    installed.add("openai-whisper")

    assert folder.mistakes(REM_ENGINE="openai-whisper", WHISPER_MODEL=model) == [
        f"environment: WHISPER_MODEL: {model!r} is not a checkpoint file (.pt) of openai-whisper. "
        "Write the path of one on this host"
    ]


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('compute_type = "int8"', "compute_type"),
        ("batch_size = 4", "batch_size"),
        ('hotwords = "lantern"', "hotwords"),
        ("vad_filter = false", "vad_filter"),
        ('window = "fit"', "window"),
    ],
)
def test_setting_that_the_engine_lacks_is_refused_by_name(
    folder: Folder, installed: set[str], checkpoint: str, line: str, key: str
) -> None:
    installed.add("openai-whisper")
    folder.config.write_text(f"[transcription]\n{line}\n")

    (mistake,) = folder.mistakes(REM_ENGINE="openai-whisper", WHISPER_MODEL=checkpoint)

    assert f"[transcription] {key}" in mistake or f"transcription.{key}" in mistake
    assert "openai-whisper" in mistake


LACKED: list[dict[str, Any]] = [
    {"window": "fit"},
    {"vad_filter": False},
    {"beam_size": 5},
    {"temperature": (0.0, 0.2)},
    {"task": "translate"},
    {"word_timestamps": True},
    {"hotwords": "lantern"},
    {"initial_prompt": "The keeper."},
    {"condition_on_previous_text": True},
]


@pytest.mark.parametrize("asked", LACKED, ids=lambda asked: next(iter(asked)))
def test_option_that_an_engine_lacks_is_named(monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]) -> None:
    bare = engines.EngineFacts(
        "bare",
        model="a file",
        no_beams="has no beams",
        temperatures=False,
        translates=False,
        words=False,
        prompts=False,
    )
    monkeypatch.setattr(engines, "ENGINES", {"bare": bare})
    plain = {"beam_size": 1, "temperature": (0.0,), "condition_on_previous_text": False}

    assert list(engines.lacking("bare", Options(**plain))) == []
    assert [name for name, _ in engines.lacking("bare", Options(**{**plain, **asked}))] == [*asked]


@pytest.mark.parametrize(
    ("ladder", "is_followed"),
    [
        ((0.0,), True),
        ((0.4,), True),
        ((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), True),
        ((0.0, 0.5, 1.0), True),
        ((0.1, 0.4, 0.7, 1.0), True),
        ((0.0, 0.2), False),
        ((0.0, 0.2, 0.6, 1.0), False),
        ((0.2, 0.2), False),
        ((1.0, 0.5, 0.0), False),
    ],
)
def test_whisper_cpp_follows_temperatures_that_rise_to_1_by_equal_steps(
    ladder: tuple[float, ...], is_followed: bool
) -> None:
    options = Options(temperature=ladder, beam_size=1)

    names = [name for name, _ in engines.lacking("whisper.cpp", options)]

    assert names == ([] if is_followed else ["temperature"])


def test_engine_without_gpu_is_refused_unless_the_cpu_is_set(
    folder: Folder, installed: set[str], tmp_path: Path
) -> None:
    installed.add("pywhispercpp")
    model = tmp_path / "ggml-tiny.bin"
    model.write_bytes(b"weights")
    folder.config.write_text("[transcription]\nbeam_size = 1\n")
    asked = {"REM_ENGINE": "whisper.cpp", "WHISPER_MODEL": str(model)}

    assert folder.load(**asked, WHISPER_DEVICE="cpu").settings.transcription.engine == "whisper.cpp"
    assert folder.mistakes(**asked) == [
        "environment: REM_ENGINE: whisper.cpp computes on the CPU only. "
        "Set WHISPER_DEVICE=cpu ([devices] device)"
    ]


def test_default_engine_lacks_nothing() -> None:
    assert list(engines.lacking(engines.DEFAULT, Options(hotwords="a", vad_filter=False, window="fit"))) == []
