"""Memory that a worker needs, from its model's name and its compute type. PURE.

A model's size is recognized by its name: large-v3, distil-large-v3 and a folder whisper-large are large.
"""

from __future__ import annotations

from typing import NamedTuple

_GIB = 1024**3
_MIB = 1024**2


class ModelMemory(NamedTuple):
    """Memory of one worker with its first recording, and of each additional recording (a row)."""

    cpu_bytes: int  # peak with int8 weights, including decoded audio
    gpu_bytes: int  # in float16
    cpu_row_bytes: int
    gpu_row_bytes: int


# Measured on a CPU: tiny at 110 to 200 MB, and its rows at 30 MB (405 MB alone, 614 with eight), doubled for
# longer texts. Published for a GPU: the needs ("about", by Whisper's authors), and the rows of large (for
# faster-whisper 1.1 and large-v2, 4,525 MB alone and 6,090 MB in batches of 8). All others are guesses: on a
# CPU twice the int8 weights and some room for the decoder's beams. Revisit with peaks from a real pool.
# distil-* have the encoder of the model in their name, turbo that of large: they need no less on a CPU.
SIZES = {  # smallest first
    "tiny": ModelMemory(4 * _GIB // 10, 1 * _GIB, 60 * _MIB, 50 * _MIB),
    "base": ModelMemory(5 * _GIB // 10, 1 * _GIB, 80 * _MIB, 70 * _MIB),
    "small": ModelMemory(12 * _GIB // 10, 2 * _GIB, 150 * _MIB, 120 * _MIB),
    "medium": ModelMemory(3 * _GIB, 5 * _GIB, 300 * _MIB, 180 * _MIB),
    "turbo": ModelMemory(6 * _GIB, 6 * _GIB, 500 * _MIB, 250 * _MIB),
    "large": ModelMemory(6 * _GIB, 10 * _GIB, 500 * _MIB, 250 * _MIB),
}

# Memory of other types relative to the table's. Activations keep their size, so int8 needs more than half.
_CPU_RATIO = {"int16": 2, "float32": 4, "default": 4}  # default: of float16 weights, float32
_GPU_RATIO = {"float32": 2.0, "int8": 0.6, "int8_float16": 0.6, "int8_float32": 0.6, "int8_bfloat16": 0.6}


def memory_of(model: str) -> ModelMemory:
    """Return the memory of a model; an unknown one counts as large."""
    return SIZES[_size_in(model) or "large"]


def need_bytes(model: str, kind: str, compute_type: str) -> int:
    """Estimate the memory that one worker needs of its device (`kind`: cuda or cpu).

    An unknown model counts as large on a CPU; on a GPU it is 0, so that the model is never refused.
    """
    memory = memory_of(model)
    if kind == "cpu":
        return memory.cpu_bytes * _CPU_RATIO.get(compute_type, 1)
    return int(memory.gpu_bytes * _GPU_RATIO.get(compute_type, 1.0)) if _size_in(model) else 0


def gib_text(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.1f}"


def _size_in(model: str) -> str:
    name = model.rstrip("/").rsplit("/", 1)[-1].lower()
    return next((size for size in ("turbo", *SIZES) if size in name), "")
