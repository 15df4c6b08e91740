"""All settings with their types, defaults and reasons. PURE.

Each class is a table of config.toml, each field a setting; defaults stand beside each field with their
reason. Where values come from is `load.py`'s, what they must agree on is `rules.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from supervisor.contract.job_options import Options, VadParameters

# Options that are settings of the same name and kind.
_AS_SET = (
    *("task", "beam_size", "temperature", "initial_prompt", "hotwords", "word_timestamps", "vad_filter"),
    "split",
)


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


def default_options(transcription: TranscriptionSettings) -> Options:
    """Give the options of a service's settings."""
    conditioned = {"auto": transcription.profile != "fast", "on": True, "off": False}
    return Options(
        language=transcription.language or None,
        condition_on_previous_text=conditioned[transcription.condition_on_previous_text],
        vad_parameters=VadParameters(
            threshold=transcription.vad_threshold,
            min_silence_duration_ms=transcription.vad_min_silence_ms,
            speech_pad_ms=transcription.vad_speech_pad_ms,
        ),
        **{name: getattr(transcription, name) for name in _AS_SET},
    )
