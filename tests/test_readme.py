"""What the README names is there: commands, make targets, settings, files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from supervisor.cli.arguments import parser
from supervisor.contract.exits import Exit
from supervisor.settings.load import ENVIRONMENT
from tests.test_rooms import MAY_IMPORT

TOP = Path(__file__).resolve().parent.parent
README = (TOP / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
BLOCKS = "\n".join(re.findall(r"```\n(.*?)```", README, flags=re.DOTALL))
# Made by commands, or somebody else's.
NOT_HERE = {"demo-output/", ".env", ".venv", "checkpoints/"}
NOT_OURS = {"AWS_ENDPOINT_URL", "CUDA_VISIBLE_DEVICES", "AWS_EC2_METADATA_SERVICE_ENDPOINT"}


def test_every_command_that_is_named_can_be_parsed() -> None:
    lines = [line.split("#")[0] for line in BLOCKS.splitlines() if "rem-supervisor " in line]
    commands = [line.split("rem-supervisor ", 1)[1].split() for line in lines if ".venv/bin" in line]

    assert len(commands) >= 5
    for command in commands:
        parser().parse_args(command)


@pytest.mark.parametrize("verb", ["drain", "resume", "restart", "release", "reload", "config", "redrive"])
def test_verbs_in_prose_are_in_the_readme_and_in_the_command(verb: str) -> None:
    assert f"`{verb}" in README or f"{verb} puts it back" in README
    assert verb in parser().format_help()


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (TOP / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, flags=re.MULTILINE))

    assert named >= {"demo", "test", "check"}
    assert named <= targets


def test_every_file_that_is_named_is_there() -> None:
    named = {
        word
        for word in CODE
        if re.fullmatch(r"[\w./*-]*[/.][\w./*-]*", word) and not word.startswith("supervisor.")
    }
    missing = [word for word in sorted(named - NOT_HERE) if not _is_there(word)]

    assert missing == []


def test_every_room_is_listed_under_developing() -> None:
    table = README.partition("\n## Developing\n")[2]

    assert [room for room in MAY_IMPORT if room != "supervisor" and f"`{room}/`" not in table] == []


def test_the_pages_that_explain_the_code_are_named() -> None:
    assert {"docs/architecture.md", "docs/glossary.md", "docs/decisions/"} <= set(CODE)


def _is_there(word: str) -> bool:
    if word.startswith((".txt", "_")) or "{" in word:
        return True  # an ending, not a file
    places = (TOP, TOP / "supervisor")
    return any(list(place.glob(word.rstrip("/"))) for place in places)


def test_every_environment_name_that_is_named_is_read() -> None:
    named = set(re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b", README))

    assert named - NOT_OURS <= set(ENVIRONMENT)
    assert {"SQS_QUEUE_URL", "WHISPER_MODEL"} <= named


def test_exit_codes_are_told_in_the_words_of_the_help() -> None:
    line = next(line for line in README.splitlines() if line.startswith("Exit codes: "))
    told = re.search(r"exit codes: (.*)", parser().format_help())
    assert told is not None
    words = told.group(1).split(", ")

    assert [int(word.split(" ")[0]) for word in words] == [code for code in Exit if code < 70 or code == 78]
    for word in words:
        assert word in line


def test_every_dependency_is_listed_with_its_reason() -> None:
    project = (TOP / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[\n(.*?)^\]", project, flags=re.DOTALL | re.MULTILINE)
    assert block is not None
    packages = re.findall(r'^    "([a-z0-9-]+)', block.group(1), flags=re.MULTILINE)

    assert packages
    assert [name for name in packages if f"\n| {name} " not in README] == []
