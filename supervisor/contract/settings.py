"""Settings: what can be set, where each value came from, and all mistakes at once.

Flags, then the environment, then `.env`, then `config.toml`: the first that names a
setting wins; defaults stand beside each field with their reason. An unknown key in
config.toml is a mistake: it is mostly a known one, misspelt.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from supervisor.contract import codec, settings_rem, state_folder
from supervisor.contract.settings_aws import check_aws
from supervisor.contract.settings_host import check_host
from supervisor.contract.settings_mistakes import Mistake as Mistake
from supervisor.contract.settings_mistakes import SettingsWrong as SettingsWrong
from supervisor.contract.settings_models import check_models
from supervisor.contract.settings_rules import check_rules
from supervisor.contract.settings_sources import Found, Sources, first, read_sources
from supervisor.contract.settings_typed import typed


@dataclass(frozen=True)
class BackendSettings:
    kind: str = "auto"  # auto: aws where REM's queue is named, else local


@dataclass(frozen=True)
class AwsSettings:
    region: str = "us-east-1"  # REM's default
    queue_url: str = ""
    raw_bucket: str = ""
    transcripts_bucket: str = ""
    table: str = ""
    poll_s: float = 5.0  # REM's POLL_INTERVAL; the long poll is 5 s of it
    max_messages: int = 0  # REM's MAX_MESSAGES: taken with one receive; 0: as are wanted, 10 at most
    visibility_s: int = 900  # REM's VISIBILITY_TIMEOUT: a ceiling for lease_s
    default_user_id: str = "default-user"  # for messages without a userId
    allowed_buckets: tuple[str, ...] = ()  # more that messages may name, beside raw_bucket
    immutable_keys: bool = False  # REM's fixed names; true: each attempt's own


@dataclass(frozen=True)
class LocalSettings:
    folder: str = ""  # queue and objects; empty: `local` in the state directory


@dataclass(frozen=True)
class QueueSettings:
    lease_s: int = 60  # a dead host's job is seen again after this long
    read_ahead: int = 1  # jobs fetched beyond the free places at least, for the whole host
    max_receives: int = 100  # a guess: far beyond what drains and outages cause
    hold_most_s: float = 43_200.0  # SQS's cap on one receive: 12 hours


@dataclass(frozen=True)
class SpoolSettings:
    limit_bytes: int = 8 * 1024**3  # a guess: nearly 900 of REM's five-minute pieces
    max_file_bytes: int = 2 * 1024**3  # 18 hours of REM's WAV
    max_audio_s: float = 12 * 3600.0  # SQS's own cap on one lease
    checkpoint_s: float = 30.0  # a guess: what a killed worker may cost
    share_checkpoints: bool = True  # where the transcripts bucket permits


@dataclass(frozen=True)
class TranscriptionSettings:
    model: str = "base"  # REM's default
    compute_type: str = "auto"  # float16 on cuda, int8 on cpu
    profile: str = "fast"  # in less time; `rem` computes as REM's own worker does, with other words
    language: str = ""  # empty: detected, as REM does
    task: str = "transcribe"  # or translate, into English
    beam_size: int = 5  # REM's
    temperature: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # faster-whisper's ladder
    condition_on_previous_text: str = "auto"  # on in profile rem, off in profile fast; or on, off
    initial_prompt: str = ""
    hotwords: str = ""
    word_timestamps: bool = False
    vad_filter: bool = True  # REM's
    vad_threshold: float = 0.5
    vad_min_silence_ms: int = 500  # REM's
    vad_speech_pad_ms: int = 400
    split: str = "auto"  # long recordings in parts, side by side, where nothing is conditioned; or off
    batch_size: int = 0  # windows computed in one call, profile fast alone; 0: from memory and model


@dataclass(frozen=True)
class DevicesSettings:
    device: str = "auto"  # auto, cuda or cpu
    cpu_slots: int = 0  # 0: from cores, memory and the model's need
    cpu_threads: int = 1  # 2.2 times the throughput of one process with both cores
    include: tuple[str, ...] = ()  # GPUs by UUID (or its beginning), index or name; empty: all
    exclude: tuple[str, ...] = ()  # the same; wins over include
    workers_per_device: int = 1  # a second one fills the gaps of the first, and needs its memory again
    compute: str = "auto"  # cpu: slots of GPUs compute on the CPU, for trying settings
    fake_gpus: int = 0  # simulated GPUs in the place of real ones, for trying settings
    model: dict[str, str] = field(default_factory=dict)  # for single GPUs, named as in include
    compute_type: dict[str, str] = field(default_factory=dict)  # the same
    xid: dict[str, str] = field(default_factory=dict)  # XID to restart, hold or ignore


@dataclass(frozen=True)
class SupervisorSettings:
    drain_s: float = 110.0  # inside systemd's 130 s and a spot notice's 120 s
    start_s: float = 180.0  # a large model from a cold disk
    silence_s: float = 30.0  # a worker that says nothing; it speaks every 10 s at least
    stall_s: float = 300.0  # a guess: a large model's slowest window on one core
    stall_decoding_s: float = 60.0  # at least; a tenth of the audio that is left, where that is more
    stall_writing_s: float = 60.0  # a guess: a few files on a disk that is slow
    hold_after: int = 5  # failed lives in a row
    probe_s: float = 300.0  # a held slot is tried again this often
    loading_most: int = 2  # models loading at the same time
    recycle_jobs: int = 10_000  # a guess: engines keep the memory that they once took
    recycle_s: float = 86_400.0  # the same
    recycle_bytes: int = 0  # of resident memory; 0: whatever it takes
    nothing_ready_s: float = 3600.0  # a guess: end as failed when no worker was ready for so long


@dataclass(frozen=True)
class NoticesSettings:
    enabled: str = "auto"  # auto: on EC2, and where AWS_EC2_METADATA_SERVICE_ENDPOINT is set
    rebalance: str = "drain"  # or ignore: a recommendation often comes long before an interruption
    rebalance_s: float = 3600.0  # a guess; an interruption that follows is earlier, and wins


@dataclass(frozen=True)
class ControlSettings:
    group: str = ""  # members may use the socket as well


@dataclass(frozen=True)
class LogSettings:
    level: str = "INFO"
    format: str = "auto"  # text on a terminal, json otherwise


@dataclass(frozen=True)
class Settings:
    """All settings in force, each table of config.toml a field."""

    backend: BackendSettings = field(default_factory=BackendSettings)
    aws: AwsSettings = field(default_factory=AwsSettings)
    local: LocalSettings = field(default_factory=LocalSettings)
    queue: QueueSettings = field(default_factory=QueueSettings)
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    transcription: TranscriptionSettings = field(default_factory=TranscriptionSettings)
    devices: DevicesSettings = field(default_factory=DevicesSettings)
    supervisor: SupervisorSettings = field(default_factory=SupervisorSettings)
    notices: NoticesSettings = field(default_factory=NoticesSettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    log: LogSettings = field(default_factory=LogSettings)
    state_dir: str = ""  # resolved: always a full path after `load`


@dataclass(frozen=True)
class Loaded:
    """Settings in force, the source of each (`table.key` -> words), and what `.env` adds.

    `aws_environment` holds AWS_* names found in `.env` only: boto3 must see them, so they
    go into the broker's environment and into no other.
    """

    settings: Settings
    origins: Mapping[str, str]
    aws_environment: Mapping[str, str]
    config: Optional[str] = None  # as given to `load`, to load again
    flags: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what REM's own names mean here, to be said once at start


# REM's environment names (facts: the REM contract) and ours, to `table.key`.
ENVIRONMENT: Mapping[str, str] = {
    "AWS_REGION": "aws.region",
    "SQS_QUEUE_URL": "aws.queue_url",
    "RAW_AUDIO_BUCKET": "aws.raw_bucket",
    "TRANSCRIPTS_BUCKET": "aws.transcripts_bucket",
    "DYNAMODB_TABLE": "aws.table",
    "WHISPER_MODEL": "transcription.model",
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


def load(
    config: Optional[str] = None,
    flags: Mapping[str, Any] = {},
    environ: Optional[Mapping[str, str]] = None,
    for_workers: bool = True,
) -> Loaded:
    """Read all sources into `Settings`. Raises `SettingsWrong` with every mistake found.

    `flags` maps `table.key` to values already typed; `config` is a path that must exist,
    None for ./config.toml where there is one. `for_workers`: the models must be here.
    """
    environ = os.environ if environ is None else environ
    mistakes: list[Mistake] = []
    sources = read_sources(config, environ, mistakes_into=lambda *m: mistakes.append(Mistake(*m)))
    found = _find_all(sources, flags, mistakes)
    values = _typed_all(found, mistakes)
    values["state_dir"] = _state_dir(values.get("state_dir", ""), environ, mistakes)
    notes = settings_rem.adopt(values, environ, sources.dotenv)
    notes += settings_rem.misspelt(ENVIRONMENT, environ, sources.dotenv)
    settings = _build(values)
    broken = (
        *check_rules(settings),
        *check_aws(settings),
        *check_models(settings, for_workers),
        *check_host(settings),
    )
    mistakes += [
        Mistake(*_where(key, found), what, cure)
        for key, what, cure in broken
        if key in values or key not in found  # what could not be read is told already
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
    """Replace `auto` where the settings alone decide it: the backend, the lease, the folder.

    Simulated GPUs can't compute: the CPU does.
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


def _find_all(sources: Sources, flags: Mapping[str, Any], mistakes: list[Mistake]) -> dict[str, Found]:
    """Take each setting from the first source that names it."""
    keys = known_keys()
    for key in sorted(set(sources.toml) - set(keys)):
        mistakes.append(Mistake(sources.toml_path, key, "unknown setting", _nearest(key, keys)))
    found = {key: first(key, _NAMES.get(key, ""), sources, flags) for key in keys}
    return {key: one for key, one in found.items() if one is not None}


def _typed_all(found: Mapping[str, Found], mistakes: list[Mistake]) -> dict[str, Any]:
    """Turn what was found into the types of its settings; leave out what does not fit."""
    values: dict[str, Any] = {}
    for key, kind in known_keys().items():
        if key not in found:
            continue
        one = found[key]
        try:
            values[key] = typed(one, kind)
        except ValueError as error:
            mistakes.append(Mistake(one.source, one.name, str(error), "Correct it or leave it out"))
    return values


def _where(key: str, found: Mapping[str, Found]) -> tuple[str, str]:
    """Say where a setting stands and how it is called there.

    One that is missing beside others of REM's names belongs where those stand.
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
