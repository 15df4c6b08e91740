"""Validates settings: bounds of each, and rules between them. PURE."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from supervisor.contract.bounds import broken_fields
from supervisor.contract.engine import engines
from supervisor.contract.job_options import mistakes
from supervisor.settings.schema import COMPUTE_TYPES, VAD_OPTIONS, Settings, default_options

Problem = tuple[str, str, str]  # key, what is wrong, fix

XID_ACTS = ("restart", "hold", "ignore")


def check_rules(settings: Settings) -> Iterator[Problem]:
    """Give every broken rule: single values first, then rules between settings."""
    yield from _check_values(settings)
    yield from _check_backend(settings)
    yield from _check_devices(settings)
    yield from _check_options(settings)
    yield from _check_engine(settings)
    yield from _check_spool(settings)


def runs_on_cpu(compute_type: str) -> bool:
    """Say whether CTranslate2 supports this type on a CPU; float16 types need a GPU.

    Source: ctranslate2.get_supported_compute_types("cpu") of 4.8 on x86-64.
    """
    return "float16" not in compute_type


def _check_values(settings: Settings) -> Iterator[Problem]:
    """Give each value outside its bounds or choices."""
    for table in dataclasses.fields(settings):
        values = getattr(settings, table.name)
        if dataclasses.is_dataclass(values):
            for name, what, cure in broken_fields(values):
                yield f"{table.name}.{name}", what, cure


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
        if kind not in COMPUTE_TYPES:
            yield (
                "devices.compute_type",
                f"{kind!r} of {device} is not a valid value",
                f"Write one of: {', '.join(COMPUTE_TYPES)}",
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


def _check_options(settings: Settings) -> Iterator[Problem]:
    """Check the service's options with the rules for options of single jobs."""
    told = {name for name, _, _ in broken_fields(settings.transcription)}
    keys = {f"vad_parameters.{name}": key for key, name in VAD_OPTIONS.items()}
    options = default_options(settings.transcription)
    engine = settings.transcription.engine
    lacking = engines.lacking(engine, options) if engine in engines.ENGINES else ()
    for name, what in (*mistakes(options), *lacking):
        wrong, _, cure = what.partition(". ")
        if name not in told:
            yield f"transcription.{keys.get(name, name)}", wrong, cure or "Correct or remove it"


def _check_engine(settings: Settings) -> Iterator[Problem]:
    """Check what engines other than CTranslate2's have not: compute types, batches, GPUs."""
    own, devices = settings.transcription, settings.devices
    facts = engines.ENGINES.get(own.engine)
    if facts is None or not facts.model:
        return
    asked = [("devices.compute_type", kind) for kind in devices.compute_type.values()]
    for key, kind in [("transcription.compute_type", own.compute_type), *asked]:
        if kind not in ("auto", "default"):
            yield key, f"{kind} is a type of CTranslate2; engine {own.engine} uses its own", "Remove it"
    if own.batch_size > 1:
        what = f"engine {own.engine} computes one recording at a time"
        yield "transcription.batch_size", what, "Remove it"
    if not facts.on_gpu and devices.device != "cpu":
        what = f"{own.engine} computes on the CPU only"
        yield "transcription.engine", what, "Set WHISPER_DEVICE=cpu ([devices] device)"


def _check_spool(settings: Settings) -> Iterator[Problem]:
    if settings.spool.max_file_bytes > settings.spool.limit_bytes:
        yield (
            "spool.max_file_bytes",
            "is larger than spool.limit_bytes: a file of that size could never be downloaded",
            f"Set it to {settings.spool.limit_bytes} or less, or raise spool.limit_bytes",
        )
