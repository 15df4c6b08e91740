"""Where settings are read from: the environment, `.env` and `config.toml`."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

from supervisor.contract import codec

Tell = Callable[[str, str, str, str], None]  # source, key, what is wrong, cure

LIST, NUMBERS, MAPPING = (
    tuple[str, ...],
    tuple[float, ...],
    dict[str, str],
)  # the types of settings that are more than one value
_EXPECTED: Mapping[Any, str] = {
    int: "a whole number", float: "a number", str: "a text in quotes", bool: "true or false",
    LIST: "a list of texts in quotes", NUMBERS: "a list of numbers",
    MAPPING: 'a table of texts, as { NAME = "text" }',
}  # fmt: skip


@dataclass(frozen=True)
class Sources:
    """Each source as it stands: texts from the environments, `table.key` values from TOML."""

    environ: Mapping[str, str]
    dotenv: Mapping[str, str]
    dotenv_path: str
    toml: Mapping[str, Any]
    toml_path: str


@dataclass(frozen=True)
class Found:
    """A value as its source gives it, and how the setting is called there."""

    source: str  # flag, environment, or a path
    name: str  # WHISPER_MODEL in an environment, transcription.model elsewhere
    value: Any
    is_text: bool = False  # an environment knows nothing else


def first(key: str, name: str, sources: Sources, flags: Mapping[str, Any]) -> Optional[Found]:
    """Give the first source's word on a setting; `name` is its environment name, empty for none.

    An empty text in an environment says nothing, as REM's own worker reads it.
    """
    if flags.get(key) is not None:
        return Found("flag", key, flags[key])
    if sources.environ.get(name, "").strip():
        return Found("environment", name, sources.environ[name].strip(), is_text=True)
    if sources.dotenv.get(name, "").strip():
        return Found(sources.dotenv_path, name, sources.dotenv[name].strip(), is_text=True)
    if key in sources.toml:
        return Found(sources.toml_path, key, sources.toml[key])
    return None


def typed(found: Found, kind: type) -> Any:
    """Give the value as `kind`, read from text where the source has only texts.

    Raises ValueError, whose words say what is expected.
    """
    value = found.value
    try:
        if found.is_text and kind in (int, float):
            value = kind(value)
        if kind == LIST and found.is_text:
            value = [part.strip() for part in value.split(",") if part.strip()]
        elif kind == LIST and isinstance(value, list):
            value = [str(item) if type(item) is int else item for item in value]  # a GPU's index
        return codec.check_value(kind, value)
    except ValueError:
        raise ValueError(f"{str(found.value)[:60]!r} is not {_EXPECTED[kind]}") from None


def read_sources(config: Optional[str], environ: Mapping[str, str], mistakes_into: Tell) -> Sources:
    """Read what there is; what can't be read is told and counts as empty."""
    path = Path(config) if config else Path("config.toml")
    toml = _read_toml(path, bool(config), mistakes_into)
    dotenv_path = path.parent / ".env"
    dotenv = _read_dotenv(dotenv_path, mistakes_into)
    return Sources(environ, dotenv, str(dotenv_path), toml, str(path))


def _read_toml(path: Path, must_exist: bool, tell: Tell) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        tables = _toml_reader().loads(text)
    except FileNotFoundError:
        if must_exist:
            cure = "Name a file that exists or leave --config out"
            tell(str(path), "--config", "there is no such file", cure)
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
        lines = path.read_text(encoding="utf-8-sig").splitlines()
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
        name = re.sub(r"^export\s+", "", name).strip()
        if not equals or not name.isidentifier():
            cure = "Correct the line or put # before it"
            tell(str(path), f"line {number}", "not of the form NAME=value", cure)
            continue
        values[name] = _unquoted(value.strip())
    return values


def _unquoted(value: str) -> str:
    """Take quotes off, and a comment behind the value: after the closing quote, or after a blank."""
    quoted = re.match(r"""(['"])(.*?)\1\s*(#.*)?$""", value)
    if quoted:
        return quoted.group(2)
    return re.split(r"(?:^|\s)#", value, maxsplit=1)[0].rstrip()
