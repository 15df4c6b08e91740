"""Batch size of a worker, from its device's memory and the model. PURE.

Only profile `fast` computes several recordings in one call. The batch size does not affect the text; it costs
memory, and time until a drain takes effect. A worker halves it when memory runs out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor.contract.wire.messages import Device
    from supervisor.settings.schema import Settings

_MIB = 1024**2

# Host memory of each additional recording. tiny: measured at 30 MB (405 MB alone, 614 with
# eight), doubled for longer texts; the others are guesses.
_CPU_ROW_BYTES = {"tiny": 60 * _MIB, "base": 80 * _MIB, "small": 150 * _MIB, "medium": 300 * _MIB}
# The same on a GPU in float16. large: published for faster-whisper 1.1 and large-v2, 4,525 MB alone and
# 6,090 MB in batches of 8; the others are guesses.
_GPU_ROW_BYTES = {"tiny": 50 * _MIB, "base": 70 * _MIB, "small": 120 * _MIB, "medium": 180 * _MIB}
_CPU_ROW_OTHERWISE, _GPU_ROW_OTHERWISE = 500 * _MIB, 250 * _MIB
# Measured with tiny on one thread: a row takes as long in calls of eight as in calls of four; eight use
# 130 MB more, and a recording waits twice as long for the end of its round.
CPU_MOST = 4
_GPU_MOST = 16  # the published throughput hardly grows beyond it
_GPU_UNKNOWN = 8  # a guess, for a GPU that does not report its memory


def on_cpu(settings: Settings, model: str, share_bytes: int, need_bytes: int) -> int:
    """Return the batch size of a worker whose first recording needs `need_bytes` of `share_bytes`."""
    row_bytes = _row_bytes(_CPU_ROW_BYTES, model, _CPU_ROW_OTHERWISE)
    return _size(settings, (share_bytes - need_bytes) // row_bytes, CPU_MOST)


def on_gpu(settings: Settings, model: str, gpu: Device, need_bytes: int) -> int:
    """Return the batch size of one of a GPU's workers.

    It depends on the total memory, not on what is free now: our own workers may already use some.
    """
    if gpu.memory_total_bytes is None:
        return _size(settings, _GPU_UNKNOWN - 1, _GPU_UNKNOWN)
    share_bytes = gpu.memory_total_bytes // settings.devices.workers_per_device
    row_bytes = _row_bytes(_GPU_ROW_BYTES, model, _GPU_ROW_OTHERWISE)
    return _size(settings, (share_bytes - need_bytes) // row_bytes, _GPU_MOST)


def _size(settings: Settings, further: int, most: int) -> int:
    """Return the configured size, or one recording and as many more as fit."""
    if settings.transcription.profile != "fast":
        return 1
    return settings.transcription.batch_size or max(1, min(most, 1 + further))


def _row_bytes(table: dict[str, int], model: str, otherwise: int) -> int:
    name = model.rstrip("/").rsplit("/", 1)[-1].lower()
    sizes = [size for size in table if size in name]
    return table[sizes[0]] if sizes and "turbo" not in name else otherwise
