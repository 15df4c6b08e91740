"""Validates settings: bounds of each, and rules between them. PURE."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.contract.job_options import mistakes
from supervisor.settings.schema import Settings, default_options

Problem = tuple[str, str, str]  # key, what is wrong, fix

CHOICES = {
    "backend.kind": ("auto", "local", "aws"),
    "devices.device": ("auto", "cuda", "cpu"),
    "devices.compute": ("auto", "cpu"),
    "transcription.compute_type": (
        "auto", "default", "float16", "int8_float16", "int8", "float32", "bfloat16", "int8_bfloat16",
        "int8_float32", "int16",
    ),
    "transcription.profile": ("rem", "fast"),
    "transcription.condition_on_previous_text": ("auto", "on", "off"),
    "transcription.window": ("auto", "fit", "full"),
    "notices.enabled": ("auto", "on", "off"),
    "notices.rebalance": ("drain", "ignore"),
    "log.level": ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
    "log.format": ("auto", "text", "json"),
}  # fmt: skip
# Options of a job whose setting has a different name.
_SETTING_OF = {
    "vad_parameters.threshold": "vad_threshold",
    "vad_parameters.min_silence_duration_ms": "vad_min_silence_ms",
    "vad_parameters.speech_pad_ms": "vad_speech_pad_ms",
}
XID_ACTS = ("restart", "hold", "ignore")
BOUNDS = {
    "aws.poll_s": (0, 3_600),
    "aws.max_messages": (0, 10),  # SQS's largest batch
    "aws.visibility_s": (30, 43_200),  # SQS's cap: 12 hours
    "queue.lease_s": (10, 43_200),
    "queue.read_ahead": (0, 100),
    "queue.max_receives": (1, 10_000),
    "queue.hold_most_s": (60, 43_200),
    "spool.limit_bytes": (1_000_000, 2**50),
    "spool.max_file_bytes": (1_000, 2**50),
    "spool.max_audio_s": (1, 30 * 86_400),
    "spool.checkpoint_s": (0.1, 86_400),
    "transcription.batch_size": (0, 64),
    "devices.cpu_slots": (0, 256),
    "devices.cpu_threads": (1, 256),
    "devices.workers_per_device": (1, 16),
    "devices.fake_gpus": (0, 64),
    "notices.rebalance_s": (1, 86_400),
    "supervisor.drain_s": (1, 86_400),
    "supervisor.start_s": (5, 86_400),
    "supervisor.silence_s": (5, 86_400),
    "supervisor.stall_s": (5, 86_400),
    "supervisor.stall_decoding_s": (5, 86_400),
    "supervisor.stall_writing_s": (5, 86_400),
    "supervisor.hold_after": (1, 1_000),
    "supervisor.probe_s": (1, 86_400),
    "supervisor.loading_most": (1, 256),
    "supervisor.recycle_jobs": (0, 10**9),
    "supervisor.recycle_s": (0, 365 * 86_400),
    "supervisor.recycle_bytes": (0, 2**50),
    "supervisor.nothing_ready_s": (10, 30 * 86_400),
}


def check_rules(settings: Settings) -> Iterator[Problem]:
    """Give every broken rule: single values first, then rules between settings."""
    yield from _check_choices(settings)
    yield from _check_bounds(settings)
    yield from _check_backend(settings)
    yield from _check_devices(settings)
    yield from _check_transcription(settings)
    yield from _check_spool(settings)


def runs_on_cpu(compute_type: str) -> bool:
    """Say whether CTranslate2 supports this type on a CPU; float16 types need a GPU.

    Source: ctranslate2.get_supported_compute_types("cpu") of 4.8 on x86-64.
    """
    return "float16" not in compute_type


def _value(settings: Settings, key: str) -> object:
    table, name = key.split(".")
    return getattr(getattr(settings, table), name)


def _check_choices(settings: Settings) -> Iterator[Problem]:
    for key, choices in CHOICES.items():
        value = _value(settings, key)
        if value not in choices:
            yield key, f"{value!r} is not a valid value", f"Write one of: {', '.join(choices)}"


def _check_bounds(settings: Settings) -> Iterator[Problem]:
    for key, (low, high) in BOUNDS.items():
        value = _value(settings, key)
        if not isinstance(value, (int, float)) or not low <= value <= high:
            yield key, f"{value} is out of range", f"Write a number from {low} to {high}"


def _check_backend(settings: Settings) -> Iterator[Problem]:
    named = {
        "SQS_QUEUE_URL": ("aws.queue_url", settings.aws.queue_url),
        "RAW_AUDIO_BUCKET": ("aws.raw_bucket", settings.aws.raw_bucket),
        "TRANSCRIPTS_BUCKET": ("aws.transcripts_bucket", settings.aws.transcripts_bucket),
        "DYNAMODB_TABLE": ("aws.table", settings.aws.table),
    }
    given = [name for name, (_, value) in named.items() if value]
    if settings.backend.kind == "local" or (settings.backend.kind == "auto" and not given):
        return
    for name, (key, value) in named.items():
        if not value:
            because = f"set: {', '.join(given)}" if given else "the backend is aws"
            yield (
                key,
                f"is missing ({because})",
                f"Set {name}, or REM_BACKEND=local to use the embedded queue",
            )


def _check_devices(settings: Settings) -> Iterator[Problem]:
    compute, devices = settings.transcription.compute_type, settings.devices
    on_cpu = "cpu" in (devices.device, devices.compute) or devices.fake_gpus
    way_out = "device = auto" if devices.device == "cpu" else "compute = auto, without fake GPUs"
    if on_cpu and not runs_on_cpu(compute):
        yield (
            "transcription.compute_type",
            f"{compute} is not supported on the CPU",
            f"Write auto, int8 or float32 (WHISPER_COMPUTE_TYPE), or {way_out}",
        )
    for device, kind in devices.compute_type.items():
        if kind not in CHOICES["transcription.compute_type"]:
            choices = ", ".join(CHOICES["transcription.compute_type"])
            yield (
                "devices.compute_type",
                f"{kind!r} of {device} is not a valid value",
                f"Write one of: {choices}",
            )
        elif on_cpu and not runs_on_cpu(kind):
            yield "devices.compute_type", f"{kind} of {device} is not supported on the CPU", "Remove it"
    for xid, act in devices.xid.items():
        if not xid.isdigit() or act not in XID_ACTS:
            yield (
                "devices.xid",
                f"{xid} = {act!r} is not valid",
                f"Write a number and one of: {', '.join(XID_ACTS)}",
            )


def _check_transcription(settings: Settings) -> Iterator[Problem]:
    """Check the service's options with the rules for options of single jobs."""
    for name in ("condition_on_previous_text", "window"):
        if getattr(settings.transcription, name) not in CHOICES[f"transcription.{name}"]:
            return  # already reported
    for name, what in mistakes(default_options(settings.transcription)):
        wrong, _, cure = what.partition(". ")
        key = f"transcription.{_SETTING_OF.get(name, name)}"
        yield key, wrong, cure or "Correct or remove it"


def _check_spool(settings: Settings) -> Iterator[Problem]:
    if settings.spool.max_file_bytes > settings.spool.limit_bytes:
        yield (
            "spool.max_file_bytes",
            "is larger than spool.limit_bytes: a file of that size could never be downloaded",
            f"Set it to {settings.spool.limit_bytes} or less, or raise spool.limit_bytes",
        )
