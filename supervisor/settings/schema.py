"""All settings with their types, defaults and reasons. PURE.

Each class is a table of config.toml and each field a setting, with its default, its bounds or choices, and
the reason. `load.py` reads the values; `rules.py` checks them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from supervisor.contract.bounds import bounded, one_of
from supervisor.contract.engine import engines
from supervisor.contract.job_options import WINDOWS, Options, SharedOptions, VadParameters

COMPUTE_TYPES = (
    "auto", "default", "float16", "int8_float16", "int8", "float32", "bfloat16", "int8_bfloat16",
    "int8_float32", "int16",
)  # fmt: skip
# Settings of voice detection -> their names in a job's options.
VAD_OPTIONS = {
    "vad_threshold": "threshold",
    "vad_min_silence_ms": "min_silence_duration_ms",
    "vad_speech_pad_ms": "speech_pad_ms",
}


@dataclass(frozen=True)
class BackendSettings:
    kind: str = one_of("auto", "local", "aws")  # auto: aws if REM's queue is set, else local


@dataclass(frozen=True)
class AwsSettings:
    region: str = "us-east-1"  # REM's default
    queue_url: str = ""
    raw_bucket: str = ""
    transcripts_bucket: str = ""
    table: str = ""
    poll_s: float = bounded(5.0, 0, 3_600)  # REM's POLL_INTERVAL; the long poll takes 5 s of it
    max_messages: int = bounded(0, 0, 10)  # REM's MAX_MESSAGES; 0: as workers have room for. 10: SQS's limit
    visibility_s: int = bounded(900, 30, 43_200)  # REM's VISIBILITY_TIMEOUT: upper limit of lease_s
    default_user_id: str = "default-user"  # for messages without a userId
    allowed_buckets: tuple[str, ...] = ()  # other buckets that messages may name, in addition to raw_bucket
    immutable_keys: bool = False  # false: REM's fixed names; true: each attempt has its own


@dataclass(frozen=True)
class LocalSettings:
    folder: str = ""  # queue and objects; empty: `local` in the state directory


@dataclass(frozen=True)
class QueueSettings:
    lease_s: int = bounded(60, 10, 43_200)  # the jobs of a dead host are delivered again after this time
    read_ahead: int = bounded(1, 0, 100)  # least downloaded ahead of free workers, for the whole host
    max_receives: int = bounded(100, 1, 10_000)  # not measured: far above what drains and outages cause
    hold_most_s: float = bounded(43_200.0, 60, 43_200)  # SQS's limit for one receive: 12 hours


@dataclass(frozen=True)
class SpoolSettings:
    limit_bytes: int = bounded(8 * 1024**3, 1_000_000, 2**50)  # not measured: 900 of REM's five-minute pieces
    max_file_bytes: int = bounded(2 * 1024**3, 1_000, 2**50)  # 18 hours of REM's WAV
    max_audio_s: float = bounded(12 * 3600.0, 1, 30 * 86_400)  # SQS's limit for one receive
    checkpoint_s: float = bounded(30.0, 0.1, 86_400)  # not measured: the work that a killed worker may lose
    share_checkpoints: bool = True  # if the transcripts bucket permits it


@dataclass(frozen=True)
class ModelSettings:
    """Settings of [transcription] that no job can change, or whose option has another type or default."""

    engine: str = one_of(*engines.NAMES)  # REM's; the others need their extra
    model: str = "base"  # REM's default; for other engines a path
    compute_type: str = one_of(*COMPUTE_TYPES)  # auto: float16 on cuda, int8 on cpu
    profile: str = one_of("fast", "rem")  # rem: the options of REM's own worker, which give different words
    language: str = ""  # empty: detected, as REM does
    condition_on_previous_text: str = one_of("auto", "on", "off")  # auto: on in profile rem, off in fast
    window: str = one_of(*WINDOWS)  # profile fast: fit, or all 30 s (full); auto: fit where measured
    batch_size: int = bounded(0, 0, 64)  # recordings together, profile fast only; 0: from memory and model


@dataclass(frozen=True)
class TranscriptionSettings(SharedOptions, ModelSettings):
    """All of [transcription]. A dataclass lists the fields of its last base first."""

    vad_threshold: float = VadParameters.threshold
    vad_min_silence_ms: int = VadParameters.min_silence_duration_ms
    vad_speech_pad_ms: int = VadParameters.speech_pad_ms


@dataclass(frozen=True)
class DevicesSettings:
    device: str = one_of("auto", "cuda", "cpu")
    cpu_slots: int = bounded(0, 0, 256)  # 0: from cores, memory and the model's size
    cpu_threads: int = bounded(1, 1, 256)  # on two cores, 2.2 times the throughput of one worker with both
    include: tuple[str, ...] = ()  # GPUs by UUID (or its beginning), index or name; empty: all
    exclude: tuple[str, ...] = ()  # the same; overrides include
    workers_per_device: int = bounded(1, 1, 16)  # a second one needs the same memory again
    compute: str = one_of("auto", "cpu")  # cpu: slots of GPUs compute on the CPU, for testing settings
    fake_gpus: int = bounded(0, 0, 64)  # simulated GPUs instead of real ones, for testing settings
    model: dict[str, str] = field(default_factory=dict)  # for single GPUs, named as in include
    compute_type: dict[str, str] = field(default_factory=dict)  # the same
    xid: dict[str, str] = field(default_factory=dict)  # XID to restart, hold or ignore


@dataclass(frozen=True)
class SupervisorSettings:
    drain_s: float = bounded(110.0, 1, 86_400)  # inside systemd's 130 s and a spot notice's 120 s
    start_s: float = bounded(180.0, 5, 86_400)  # a large model from a cold disk
    silence_s: float = bounded(30.0, 5, 86_400)  # workers send a heartbeat at least every 10 s
    stall_s: float = bounded(300.0, 5, 86_400)  # not measured: a large model's slowest window on one core
    stall_decoding_s: float = bounded(60.0, 5, 86_400)  # or a tenth of the remaining audio, if more
    stall_writing_s: float = bounded(60.0, 5, 86_400)  # not measured: a few files on a slow disk
    hold_after: int = bounded(5, 1, 1_000)  # consecutive crashes
    probe_s: float = bounded(300.0, 1, 86_400)  # between attempts to start a held slot
    loading_most: int = bounded(2, 1, 256)  # models loading at the same time
    recycle_jobs: int = bounded(10_000, 0, 10**9)  # not measured: engines do not release memory
    recycle_s: float = bounded(86_400.0, 0, 365 * 86_400)  # the same
    recycle_bytes: int = bounded(0, 0, 2**50)  # of resident memory; 0: no limit
    nothing_ready_s: float = bounded(3600.0, 10, 30 * 86_400)  # not measured; no worker ready: exit 1


@dataclass(frozen=True)
class NoticesSettings:
    enabled: str = one_of("auto", "on", "off")  # auto: on EC2, or if AWS_EC2_METADATA_SERVICE_ENDPOINT is set
    rebalance: str = one_of("drain", "ignore")  # a recommendation often comes long before an interruption
    rebalance_s: float = bounded(3600.0, 1, 86_400)  # not measured; an interruption shortens it


@dataclass(frozen=True)
class ControlSettings:
    group: str = ""  # its members may use the control socket too


@dataclass(frozen=True)
class LogSettings:
    level: str = one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", default="INFO")
    format: str = one_of("auto", "text", "json")  # auto: text on a terminal, json otherwise


@dataclass(frozen=True)
class Settings:
    """All settings in effect; each table of config.toml is a field."""

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
    state_dir: str = ""  # always a full path after `load_settings`


def default_options(transcription: TranscriptionSettings) -> Options:
    """Give the transcription options that the settings define."""
    conditioned = {"auto": transcription.profile != "fast", "on": True}
    return Options(
        language=transcription.language or None,
        window=transcription.window if transcription.profile == "fast" else "full",
        condition_on_previous_text=conditioned.get(transcription.condition_on_previous_text, False),
        vad_parameters=VadParameters(
            **{name: getattr(transcription, key) for key, name in VAD_OPTIONS.items()}
        ),
        **{one.name: getattr(transcription, one.name) for one in fields(SharedOptions)},
    )
