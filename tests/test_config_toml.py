"""config.toml shows every setting with its true default and a reason, and sets nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from supervisor.settings.load import ENVIRONMENT, known_keys, load_settings

FILE = Path(__file__).resolve().parent.parent / "config.toml"
SETTING = re.compile(r"^# (?P<key>[a-z_]+) = (?P<value>.+)$")


def lines() -> list[str]:
    return FILE.read_text(encoding="utf-8").splitlines()


def with_all_lines_in_force(tmp_path: Path) -> Path:
    """The same file with the # before each setting taken away, as its head advises."""
    path = tmp_path / "config.toml"
    path.write_text("\n".join(SETTING.sub(r"\g<key> = \g<value>", line) for line in lines()))
    return path


def test_as_it_ships_it_sets_nothing() -> None:
    loaded = load_settings(str(FILE), {}, {"HOME": "/home/rem"})

    assert loaded.origins == {"state_dir": "default"}


def test_every_setting_stands_there_with_its_true_default(tmp_path: Path) -> None:
    loaded = load_settings(str(with_all_lines_in_force(tmp_path)), {}, {"HOME": "/home/rem"})

    assert set(loaded.origins) == set(known_keys())
    empty = tmp_path / "empty.toml"
    empty.touch()
    assert loaded.settings == load_settings(str(empty), {}, {"HOME": "/home/rem"}).settings


def test_every_setting_is_preceded_by_its_reason() -> None:
    before = dict(zip(lines()[1:], lines()))
    bare = [line for line in lines() if SETTING.match(line) and not _is_a_reason(before[line])]

    assert bare == []


def _is_a_reason(line: str) -> bool:
    return line.startswith("# ") and not SETTING.match(line) and len(line) > 20


@pytest.mark.parametrize(("name", "key"), sorted(ENVIRONMENT.items()))
def test_every_environment_name_stands_above_its_setting(name: str, key: str) -> None:
    table, _, bare = key.rpartition(".")
    all_lines = lines()
    start = all_lines.index(f"[{table}]") if table else 0
    at = next(n for n in range(start, len(all_lines)) if all_lines[n].startswith(f"# {bare} = "))

    assert f"[{name}]" in all_lines[at - 1]
