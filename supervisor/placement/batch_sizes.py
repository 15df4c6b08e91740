"""Batch size of a worker, from its device's memory and the model. PURE.

Only profile `fast` computes several recordings in one call. The batch size does not affect the text; it costs
memory, and time until a drain takes effect. A worker halves it when memory runs out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.contract.engine.engines import ENGINES
from supervisor.placement.model_memory import memory_of

if TYPE_CHECKING:
    from supervisor.contract.wire.messages import Device
    from supervisor.settings.schema import Settings

# Measured with tiny on one thread: a row takes as long in calls of eight as in calls of four; eight use
# 130 MB more, and a recording waits twice as long for the end of its round.
CPU_MOST = 4
_GPU_MOST = 16  # the published throughput hardly grows beyond it
_GPU_UNKNOWN = 8  # a guess, for a GPU that does not report its memory


def on_cpu(settings: Settings, model: str, share_bytes: int, need_bytes: int) -> int:
    """Return the batch size of a worker whose first recording needs `need_bytes` of `share_bytes`."""
    further = (share_bytes - need_bytes) // memory_of(model).cpu_row_bytes
    return _size(settings, further, CPU_MOST)


def on_gpu(settings: Settings, model: str, gpu: Device, need_bytes: int) -> int:
    """Return the batch size of one of a GPU's workers.

    It depends on the total memory, not on what is free now: our own workers may already use some.
    """
    if gpu.memory_total_bytes is None:
        return _size(settings, _GPU_UNKNOWN - 1, _GPU_UNKNOWN)
    share_bytes = gpu.memory_total_bytes // settings.devices.workers_per_device
    further = (share_bytes - need_bytes) // memory_of(model).gpu_row_bytes
    return _size(settings, further, _GPU_MOST)


def _size(settings: Settings, further: int, most: int) -> int:
    """Return the configured size, or one recording and as many more as fit."""
    if settings.transcription.profile != "fast" or not ENGINES[settings.transcription.engine].batches:
        return 1
    return settings.transcription.batch_size or max(1, min(most, 1 + further))
