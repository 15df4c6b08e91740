"""Where settings are read from: the environment, `.env` and `config.toml`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

Tell = Callable[[str, str, str, str], None]  # source, key, what is wrong, cure


@dataclass(frozen=True)
class Sources:
    """Each source as it stands: texts from the environments, `table.key` values from TOML."""

    environ: Mapping[str, str]
    dotenv: Mapping[str, str]
    dotenv_path: str
    toml: Mapping[str, Any]
    toml_path: str


def read_sources(config: Optional[str], environ: Mapping[str, str], mistakes_into: Tell) -> Sources:
    """Read what there is; what can't be read is told and counts as empty."""
    path = Path(config) if config else Path("config.toml")
    toml = _read_toml(path, bool(config), mistakes_into)
    dotenv_path = (path.parent if config or path.exists() else Path()) / ".env"
    dotenv = _read_dotenv(dotenv_path, mistakes_into)
    return Sources(environ, dotenv, str(dotenv_path), toml, str(path))


def _read_toml(path: Path, must_exist: bool, tell: Tell) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8")
        tables = _toml_reader().loads(text)
    except FileNotFoundError:
        if must_exist:
            tell(str(path), "--config", "there is no such file", "Name a file that exists or leave --config out")
        return {}
    except (OSError, ValueError) as error:
        tell(str(path), "file", f"can't be read: {error}", "Correct it; TOML is explained at toml.io")
        return {}
    flat: dict[str, Any] = {}
    for name, table in tables.items():
        if isinstance(table, dict):
            flat.update({f"{name}.{key}": value for key, value in table.items()})
        else:
            flat[name] = table
    return flat


def _toml_reader() -> Any:
    """Give the standard library's tomllib, or tomli, its twin for Pythons before 3.11."""
    return importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


def _read_dotenv(path: Path, tell: Tell) -> dict[str, str]:
    """Read `NAME=value` lines; quotes around a value, `export ` and comments are allowed."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        tell(str(path), "file", f"can't be read: {error}", "Make it readable for this user or remove it")
        return {}
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name = name.replace("export ", "", 1).strip()
        if not equals or not name.isidentifier():
            tell(str(path), f"line {number}", "not of the form NAME=value", "Correct the line or put # before it")
            continue
        values[name] = _unquoted(value.strip())
    return values


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value.split(" #", 1)[0].rstrip()
