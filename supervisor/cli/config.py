"""The `config` verb: every setting in effect, and where each came from."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from supervisor.contract.exits import Exit
from supervisor.contract.printable import escaped, printable
from supervisor.settings.load import ENVIRONMENT, Loaded, known_keys, load_settings
from supervisor.settings.typed_values import value_of


def config(args: argparse.Namespace) -> int:
    """Print the settings as valid TOML, with their origins as comments."""
    loaded = load_settings(args.config)
    for line in config_lines(loaded):
        print(line)
    for note in loaded.notes:
        print(f"# {note}")
    return Exit.OK


def config_lines(loaded: Loaded) -> Iterator[str]:
    """Give `table.key = value   # origin (NAME)` for each setting; nothing here is secret."""
    names = {key: name for name, key in ENVIRONMENT.items()}
    pairs = {key: f"{key} = {_toml(value_of(loaded.settings, key))}" for key in known_keys()}
    width = max(len(pair) for pair in pairs.values() if len(pair) <= 60)
    for key, pair in pairs.items():
        name = f" ({names[key]})" if key in names else ""
        yield f"{pair.ljust(width)}   # {printable(loaded.origins.get(key, 'default'))}{name}"


def _toml(value: Any) -> str:
    """Write a value as TOML; for scalars and lists of strings, JSON is the same."""
    if isinstance(value, dict):
        pairs = (f"{_toml(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    return escaped(json.dumps(value, ensure_ascii=False))
