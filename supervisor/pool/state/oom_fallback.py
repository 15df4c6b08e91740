"""Smaller batches and compute types after a worker ran out of memory, per device and model. PURE.

First the worker itself halves its batches. If a single recording does not fit, the job is returned and a
new process starts with the next smaller compute type; so it does if the model cannot be loaded at all.
Both limits are kept for that device and model while the service runs, so that the next worker starts
with them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional

from supervisor.placement.model_memory import SIZES, gib_text, need_bytes

# By device kind: float16 is for GPUs, and int8 is the smallest type on both.
_SMALLER = {
    ("cuda", "float32"): "float16",
    ("cuda", "float16"): "int8_float16",
    ("cuda", "bfloat16"): "int8_bfloat16",
    ("cpu", "float32"): "int8",
    ("cpu", "int16"): "int8",
}


@dataclass(frozen=True)
class OomLimits:
    """The limits of one device with one model after memory ran out."""

    rows: Optional[int] = None  # largest batch size; None: as planned
    compute_type: str = ""  # instead of the one in settings; empty: as in settings
    fresh_starts: int = 0  # processes replaced because one recording did not fit

    @property
    def words(self) -> str:
        """Describe the limits; empty if memory never ran out."""
        parts = [f"batches of {self.rows} at most"] if self.rows is not None else []
        parts += [f"computing as {self.compute_type}"] if self.compute_type else []
        if self.fresh_starts:
            parts.append("1 fresh start" if self.fresh_starts == 1 else f"{self.fresh_starts} fresh starts")
        return f"memory ran out: {', '.join(parts)}" if parts else ""


@dataclass(frozen=True)
class Load:
    """What a slot's process loads."""

    model: str
    kind: str  # cuda or cpu
    compute_type: str


def does_not_fit(load: Load) -> str:
    """Report that a model cannot be loaded even with the smallest compute type, and what would fit."""
    known = [(size, need_bytes(size, load.kind, load.compute_type)) for size in SIZES]
    own_bytes = need_bytes(load.model, load.kind, load.compute_type)
    smaller = [(size, need) for size, need in known if need < own_bytes]
    if smaller:
        size, need = smaller[-1]
        what = (
            f"{size} would need about {gib_text(need)} instead of {gib_text(own_bytes)} GiB (WHISPER_MODEL)"
        )
    else:
        what = "There is no smaller model"
    fewer = "fewer workers ([devices] cpu_slots, workers_per_device)"
    return (
        f"not enough memory to load model {load.model} as {load.compute_type}, the smallest there is. "
        f"{what}; {fewer} or more memory helps too"
    )


class OomFallback:
    """The limits of all devices and models that ran out of memory."""

    def __init__(self) -> None:
        self._limits: dict[tuple[str, str], OomLimits] = {}

    def limits_of(self, device: str, model: str) -> OomLimits:
        """Return the limits; `device` is a UUID, or empty for the CPU."""
        return self._limits.get((device, model), OomLimits())

    def learn_rows(self, device: str, model: str, rows: int) -> bool:
        """Record the batch size that a worker reduced itself to; return whether it is new."""
        known = self.limits_of(device, model)
        if known.rows is not None and known.rows <= rows:
            return False
        self._set(device, model, replace(known, rows=rows))
        return True

    def step_down(self, device: str, model: str, kind: str, compute_type: str) -> OomLimits:
        """A single recording did not fit: return the limits of the next process. `kind`: cuda or cpu."""
        known = self.limits_of(device, model)
        smaller = _SMALLER.get((kind, compute_type), known.compute_type)
        self._set(device, model, replace(known, compute_type=smaller, fresh_starts=known.fresh_starts + 1))
        return self.limits_of(device, model)

    def load_smaller(self, device: str, load: Load) -> bool:
        """The model could not be loaded: return whether a smaller compute type is left to try."""
        if (load.kind, load.compute_type) not in _SMALLER:
            return False
        self.step_down(device, load.model, load.kind, load.compute_type)
        return True

    def _set(self, device: str, model: str, limits: OomLimits) -> None:
        self._limits[(device, model)] = limits
