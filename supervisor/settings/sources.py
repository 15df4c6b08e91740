"""Sources of settings: environment, `.env` and `config.toml`.

Uses no dataclass and no codec, which take 30 ms to import: `status` reads only one setting.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

Tell = Callable[[str, str, str, str], None]  # source, key, what is wrong, fix


class Sources(NamedTuple):
    """The unparsed sources: strings from the environments, `table.key` values from TOML."""

    environ: Mapping[str, str]
    dotenv: Mapping[str, str]
    dotenv_path: str
    toml: Mapping[str, Any]
    toml_path: str


class FoundSetting(NamedTuple):
    """A value as its source gives it, and the setting's name there."""

    source: str  # flag, environment, or a path
    name: str  # WHISPER_MODEL in an environment, transcription.model elsewhere
    value: Any
    is_text: bool = False  # from an environment, which has only strings


def first(key: str, name: str, sources: Sources, flags: Mapping[str, Any]) -> Optional[FoundSetting]:
    """Give a setting from the first source that has it; `name` is its environment name, empty for none.

    An empty string in an environment counts as not set, as in REM's own worker.
    """
    if flags.get(key) is not None:
        return FoundSetting("flag", key, flags[key])
    if sources.environ.get(name, "").strip():
        return FoundSetting("environment", name, sources.environ[name].strip(), is_text=True)
    if sources.dotenv.get(name, "").strip():
        return FoundSetting(sources.dotenv_path, name, sources.dotenv[name].strip(), is_text=True)
    if key in sources.toml:
        return FoundSetting(sources.toml_path, key, sources.toml[key])
    return None


def read_sources(config: Optional[str], environ: Mapping[str, str], mistakes_into: Tell) -> Sources:
    """Read all sources; one that can't be read is reported and counts as empty."""
    path = Path(config) if config else Path("config.toml")
    toml = _read_toml(path, bool(config), mistakes_into)
    dotenv_path = path.parent / ".env"
    dotenv = _read_dotenv(dotenv_path, mistakes_into)
    return Sources(environ, dotenv, str(dotenv_path), toml, str(path))


def _read_toml(path: Path, must_exist: bool, tell: Tell) -> dict[str, Any]:
    try:
        tables = _toml_reader().loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        if must_exist:
            cure = "Name an existing file, or omit --config"
            tell(str(path), "--config", "there is no such file", cure)
        return {}
    except OSError as error:
        tell(str(path), "file", *_unreadable(error))
        return {}
    except ValueError as error:
        tell(str(path), "file", f"can't be read: {error}", "Correct it; TOML is explained at toml.io")
        return {}
    flat: dict[str, Any] = {}
    for name, table in tables.items():
        if isinstance(table, dict):
            flat.update({f"{name}.{key}": value for key, value in table.items()})
        else:
            flat[name] = table
    return flat


def _unreadable(error: OSError) -> tuple[str, str]:
    """Say why a file can't be read, without its name, and the fix."""
    cure = "Check the path and its disk"
    if isinstance(error, IsADirectoryError):
        cure = "Name a file, not a folder"
    elif isinstance(error, PermissionError):
        cure = "Make it readable for this user, or run the command as the service's user"
    return f"can't be read: {error.strerror}", cure


def _toml_reader() -> Any:
    """Give the standard library's tomllib, or tomli, its backport for Python before 3.11."""
    return importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


def _read_dotenv(path: Path, tell: Tell) -> dict[str, str]:
    """Read `NAME=value` lines; quotes around a value, `export ` and comments are allowed."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        tell(str(path), "file", *_unreadable(error))
        return {}
    except ValueError as error:
        tell(str(path), "file", f"is not UTF-8 text: {error}", "Save it as UTF-8, or remove it")
        return {}
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name = re.sub(r"^export\s+", "", name).strip()
        if not equals or not name.isidentifier():
            cure = "Correct the line, or comment it out with #"
            tell(str(path), f"line {number}", "expected NAME=value", cure)
            continue
        values[name] = _unquoted(value.strip())
    return values


def _unquoted(value: str) -> str:
    """Remove quotes, and a comment after the closing quote or after a space."""
    quoted = re.match(r"""(['"])(.*?)\1\s*(#.*)?$""", value)
    if quoted:
        return quoted.group(2)
    return re.split(r"(?:^|\s)#", value, maxsplit=1)[0].rstrip()
