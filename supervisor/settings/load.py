"""Loads the settings from all sources and reports all mistakes at once.

Flags override the environment, which overrides `.env`, which overrides `config.toml`. An
unknown key in config.toml is a mistake, because it is usually a misspelt known one.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from supervisor.contract import codec
from supervisor.settings import rem_names, state_folder
from supervisor.settings.aws_names import check_aws
from supervisor.settings.engine_names import check_engine
from supervisor.settings.host_names import check_host
from supervisor.settings.mistakes import Mistake, SettingsWrong
from supervisor.settings.model_names import check_models
from supervisor.settings.rules import check_rules
from supervisor.settings.schema import BackendSettings, LocalSettings, Settings
from supervisor.settings.sources import FoundSetting, Sources, first, read_sources
from supervisor.settings.typed_values import typed


@dataclass(frozen=True)
class Loaded:
    """Settings in effect, the source of each (`table.key` -> source), and what `.env` adds.

    `aws_environment` has the AWS_* names that only `.env` sets. boto3 needs them, so they are
    added to the broker's environment and to no other.
    """

    settings: Settings
    origins: Mapping[str, str]
    aws_environment: Mapping[str, str]
    config: Optional[str] = None  # as given to `load`, to load again
    flags: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # differences from REM's own worker, logged once at start


# Environment names of REM (given by its worker) and ours -> `table.key`.
ENVIRONMENT: Mapping[str, str] = {
    "AWS_REGION": "aws.region",
    "SQS_QUEUE_URL": "aws.queue_url",
    "RAW_AUDIO_BUCKET": "aws.raw_bucket",
    "TRANSCRIPTS_BUCKET": "aws.transcripts_bucket",
    "DYNAMODB_TABLE": "aws.table",
    "WHISPER_MODEL": "transcription.model",
    "REM_ENGINE": "transcription.engine",
    "WHISPER_DEVICE": "devices.device",
    "WHISPER_COMPUTE_TYPE": "transcription.compute_type",
    "REM_COMPUTE": "devices.compute",
    "POLL_INTERVAL": "aws.poll_s",
    "MAX_MESSAGES": "aws.max_messages",
    "VISIBILITY_TIMEOUT": "aws.visibility_s",
    "LOG_LEVEL": "log.level",
    "REM_BACKEND": "backend.kind",
    "REM_PROFILE": "transcription.profile",
    state_folder.NAME: "state_dir",
}
_NAMES = {key: name for name, key in ENVIRONMENT.items()}
AWS_REQUIRED = ("SQS_QUEUE_URL", "RAW_AUDIO_BUCKET", "TRANSCRIPTS_BUCKET", "DYNAMODB_TABLE")


def load_settings(
    config: Optional[str] = None,
    flags: Mapping[str, Any] = {},
    environ: Optional[Mapping[str, str]] = None,
    for_workers: bool = True,
) -> Loaded:
    """Read all sources into `Settings`. Raises `SettingsWrong` with every mistake found.

    `flags` maps `table.key` to typed values. `config` is a path that must exist; None: ./config.toml
    if it exists. `for_workers`: also check that the models can exist.
    """
    environ = os.environ if environ is None else environ
    mistakes: list[Mistake] = []
    sources = read_sources(config, environ, mistakes_into=lambda *m: mistakes.append(Mistake(*m)))
    found = _find_all(sources, flags, mistakes)
    values = _typed_all(found, mistakes)
    values["state_dir"] = _state_dir(values.get("state_dir", ""), environ, mistakes)
    notes = rem_names.adopt(values, environ, sources.dotenv)
    notes += rem_names.misspelt(ENVIRONMENT, environ, sources.dotenv)
    settings = _build(values)
    broken = (
        *check_rules(settings),
        *check_aws(settings),
        *check_models(settings, for_workers),
        *check_engine(settings, for_workers),
        *check_host(settings),
    )
    mistakes += [
        Mistake(*_where(key, found), what, cure)
        for key, what, cure in broken
        if key in values or key not in found  # a value that could not be read is already reported
    ]
    if mistakes:
        raise SettingsWrong(mistakes)
    aws = {
        name: value
        for name, value in sources.dotenv.items()
        if name.startswith("AWS_") and not environ.get(name, "").strip()
    }
    origins = {key: one.source for key, one in found.items()}
    return Loaded(resolve(settings), {"state_dir": "default", **origins}, aws, config, flags, notes)


def resolve(settings: Settings) -> Settings:
    """Replace values that depend on other settings: backend, lease and folder.

    With simulated GPUs, workers compute on the CPU.
    """
    kind = settings.backend.kind
    if kind == "auto":
        kind = "aws" if settings.aws.queue_url else "local"
    folder = settings.local.folder or str(Path(settings.state_dir) / "local")
    lease_s = settings.queue.lease_s
    fake = settings.devices.fake_gpus > 0
    if kind == "aws":
        lease_s = min(lease_s, settings.aws.visibility_s)
    return dataclasses.replace(
        settings,
        backend=BackendSettings(kind),
        local=LocalSettings(str(Path(folder).expanduser().absolute())),
        queue=dataclasses.replace(settings.queue, lease_s=lease_s),
        devices=dataclasses.replace(settings.devices, compute="cpu") if fake else settings.devices,
    )


def known_keys() -> dict[str, type]:
    """Give every `table.key` and its type, in the order of the classes."""
    keys: dict[str, type] = {}
    for name, table in codec.field_types(Settings).items():
        if isinstance(table, type) and dataclasses.is_dataclass(table):
            keys.update({f"{name}.{key}": kind for key, kind in codec.field_types(table).items()})
        else:
            keys[name] = table
    return keys


def _state_dir(given: str, environ: Mapping[str, str], mistakes: list[Mistake]) -> str:
    try:
        return state_folder.state_dir(given, environ)
    except state_folder.NoHome as error:
        mistakes.append(
            Mistake("environment", state_folder.NAME, str(error), f"Set {state_folder.NAME} to a folder")
        )
        return ""


def _find_all(sources: Sources, flags: Mapping[str, Any], mistakes: list[Mistake]) -> dict[str, FoundSetting]:
    """Take each setting from the first source that names it."""
    keys = known_keys()
    for key in sorted(set(sources.toml) - set(keys)):
        mistakes.append(Mistake(sources.toml_path, key, "unknown setting", _nearest(key, keys)))
    found = {key: first(key, _NAMES.get(key, ""), sources, flags) for key in keys}
    return {key: one for key, one in found.items() if one is not None}


def _typed_all(found: Mapping[str, FoundSetting], mistakes: list[Mistake]) -> dict[str, Any]:
    """Convert values to the types of their settings; leave out those that do not fit."""
    values: dict[str, Any] = {}
    for key, kind in known_keys().items():
        if key not in found:
            continue
        one = found[key]
        try:
            values[key] = typed(one, kind)
        except ValueError as error:
            mistakes.append(Mistake(one.source, one.name, str(error), "Correct or remove it"))
    return values


def _where(key: str, found: Mapping[str, FoundSetting]) -> tuple[str, str]:
    """Give the source of a setting and its name there.

    If it is missing while others of REM's names are set, it belongs to their source.
    """
    if key in found:
        return found[key].source, found[key].name
    if _NAMES.get(key) not in AWS_REQUIRED:
        return "default", key
    for name in AWS_REQUIRED:
        beside = found.get(ENVIRONMENT[name])
        if beside is not None:
            return beside.source, _NAMES[key] if beside.name == name else key
    return "environment", _NAMES[key]


def _build(values: Mapping[str, Any]) -> Settings:
    tables: dict[str, Any] = {}
    for name, table in codec.field_types(Settings).items():
        if isinstance(table, type) and dataclasses.is_dataclass(table):
            keys = (field.name for field in dataclasses.fields(table))
            tables[name] = table(
                **{key: values[f"{name}.{key}"] for key in keys if f"{name}.{key}" in values}
            )
        elif name in values:
            tables[name] = values[name]
    return Settings(**tables)


def _nearest(key: str, keys: Iterable[str]) -> str:
    from difflib import get_close_matches  # only when something is wrong

    near = get_close_matches(key, list(keys), n=1)
    return f"Did you mean {near[0]}?" if near else "`rem-supervisor config` lists all settings"
