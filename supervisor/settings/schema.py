"""All settings with their types, defaults and reasons. PURE.

Each class is a table of config.toml and each field a setting, with its default and the reason for it.
`load.py` reads the values; `rules.py` checks them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from supervisor.contract.job_options import Options, VadParameters

# Options that are settings with the same name and type.
_AS_SET = (
    *("task", "beam_size", "temperature", "initial_prompt", "hotwords", "word_timestamps", "vad_filter"),
    "split",
)


@dataclass(frozen=True)
class BackendSettings:
    kind: str = "auto"  # auto: aws if REM's queue is set, else local


@dataclass(frozen=True)
class AwsSettings:
    region: str = "us-east-1"  # REM's default
    queue_url: str = ""
    raw_bucket: str = ""
    transcripts_bucket: str = ""
    table: str = ""
    poll_s: float = 5.0  # REM's POLL_INTERVAL; the long poll takes 5 s of it
    max_messages: int = 0  # REM's MAX_MESSAGES: per receive; 0: as workers have room for, at most 10
    visibility_s: int = 900  # REM's VISIBILITY_TIMEOUT: upper limit of lease_s
    default_user_id: str = "default-user"  # for messages without a userId
    allowed_buckets: tuple[str, ...] = ()  # other buckets that messages may name, in addition to raw_bucket
    immutable_keys: bool = False  # false: REM's fixed names; true: each attempt has its own


@dataclass(frozen=True)
class LocalSettings:
    folder: str = ""  # queue and objects; empty: `local` in the state directory


@dataclass(frozen=True)
class QueueSettings:
    lease_s: int = 60  # the jobs of a dead host are delivered again after this time
    read_ahead: int = 1  # minimum of jobs downloaded ahead of free workers, for the whole host
    max_receives: int = 100  # chosen without measurement: far above what drains and outages cause
    hold_most_s: float = 43_200.0  # SQS's limit for one receive: 12 hours


@dataclass(frozen=True)
class SpoolSettings:
    limit_bytes: int = 8 * 1024**3  # chosen without measurement: nearly 900 of REM's five-minute pieces
    max_file_bytes: int = 2 * 1024**3  # 18 hours of REM's WAV
    max_audio_s: float = 12 * 3600.0  # SQS's limit for one receive
    checkpoint_s: float = 30.0  # chosen without measurement: the work that a killed worker may lose
    share_checkpoints: bool = True  # if the transcripts bucket permits it


@dataclass(frozen=True)
class TranscriptionSettings:
    model: str = "base"  # REM's default
    compute_type: str = "auto"  # float16 on cuda, int8 on cpu
    profile: str = "fast"  # faster; `rem`: the options of REM's own worker, which give different words
    language: str = ""  # empty: detected, as REM does
    task: str = "transcribe"  # or translate, into English
    beam_size: int = 5  # REM's
    temperature: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # faster-whisper's default
    condition_on_previous_text: str = "auto"  # on in profile rem, off in profile fast; or on, off
    initial_prompt: str = ""
    hotwords: str = ""
    word_timestamps: bool = False
    vad_filter: bool = True  # REM's
    vad_threshold: float = 0.5
    vad_min_silence_ms: int = 500  # REM's
    vad_speech_pad_ms: int = 400
    window: str = "auto"  # profile fast: fit, or all 30 s (full); auto: fit where measured
    split: str = "auto"  # auto: split long recordings where windows are independent; or off
    batch_size: int = 0  # recordings together, profile fast only; 0: from memory and model


@dataclass(frozen=True)
class DevicesSettings:
    device: str = "auto"  # auto, cuda or cpu
    cpu_slots: int = 0  # 0: from cores, memory and the model's size
    cpu_threads: int = 1  # on two cores, 2.2 times the throughput of one worker with both
    include: tuple[str, ...] = ()  # GPUs by UUID (or its beginning), index or name; empty: all
    exclude: tuple[str, ...] = ()  # the same; overrides include
    workers_per_device: int = 1  # a second one uses idle time of the first, and needs the same memory again
    compute: str = "auto"  # cpu: slots of GPUs compute on the CPU, for testing settings
    fake_gpus: int = 0  # simulated GPUs instead of real ones, for testing settings
    model: dict[str, str] = field(default_factory=dict)  # for single GPUs, named as in include
    compute_type: dict[str, str] = field(default_factory=dict)  # the same
    xid: dict[str, str] = field(default_factory=dict)  # XID to restart, hold or ignore


@dataclass(frozen=True)
class SupervisorSettings:
    drain_s: float = 110.0  # inside systemd's 130 s and a spot notice's 120 s
    start_s: float = 180.0  # a large model from a cold disk
    silence_s: float = 30.0  # without a heartbeat; workers send one at least every 10 s
    stall_s: float = 300.0  # chosen without measurement: a large model's slowest window on one core
    stall_decoding_s: float = 60.0  # at least; a tenth of the remaining audio, if that is more
    stall_writing_s: float = 60.0  # chosen without measurement: a few files on a slow disk
    hold_after: int = 5  # consecutive crashes
    probe_s: float = 300.0  # between attempts to start a held slot
    loading_most: int = 2  # models loading at the same time
    recycle_jobs: int = 10_000  # chosen without measurement: engines do not release memory
    recycle_s: float = 86_400.0  # the same
    recycle_bytes: int = 0  # of resident memory; 0: no limit
    nothing_ready_s: float = 3600.0  # chosen without measurement: exit 1 if no worker was ready for this long


@dataclass(frozen=True)
class NoticesSettings:
    enabled: str = "auto"  # auto: on EC2, or if AWS_EC2_METADATA_SERVICE_ENDPOINT is set
    rebalance: str = "drain"  # or ignore: a recommendation often comes long before an interruption
    rebalance_s: float = 3600.0  # chosen without measurement; an interruption that follows shortens it


@dataclass(frozen=True)
class ControlSettings:
    group: str = ""  # its members may use the control socket too


@dataclass(frozen=True)
class LogSettings:
    level: str = "INFO"
    format: str = "auto"  # text on a terminal, json otherwise


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
    conditioned = {"auto": transcription.profile != "fast", "on": True, "off": False}
    return Options(
        language=transcription.language or None,
        window=transcription.window if transcription.profile == "fast" else "full",
        condition_on_previous_text=conditioned[transcription.condition_on_previous_text],
        vad_parameters=VadParameters(
            threshold=transcription.vad_threshold,
            min_silence_duration_ms=transcription.vad_min_silence_ms,
            speech_pad_ms=transcription.vad_speech_pad_ms,
        ),
        **{name: getattr(transcription, name) for name in _AS_SET},
    )
