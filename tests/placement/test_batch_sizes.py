"""How many recordings a worker computes together, by memory, model and settings."""

from __future__ import annotations

from typing import Optional

import pytest

from supervisor.contract.wire.messages import Device, Devices
from supervisor.placement.slot_plan import Host, plan
from supervisor.settings.schema import DevicesSettings, Settings, TranscriptionSettings

GIB = 1024**3
NO_GPU = Devices((), problem="no library")


def settings(model: str, profile: str = "fast", batch_size: int = 0, workers_per_device: int = 1) -> Settings:
    return Settings(
        transcription=TranscriptionSettings(model=model, profile=profile, batch_size=batch_size),
        devices=DevicesSettings(workers_per_device=workers_per_device),
    )


def on_cpu(own: Settings, free_bytes: int) -> set[int]:
    made = plan(own, NO_GPU, Host(cores=2, free_memory_bytes=free_bytes))
    return {place.batch_size for place in made.places}


def on_gpu(own: Settings, total_gib: Optional[int]) -> set[int]:
    total = None if total_gib is None else total_gib * GIB
    gpu = Device("GPU-a", "A10", 0, memory_used_bytes=GIB, memory_total_bytes=total)
    return {place.batch_size for place in plan(own, Devices((gpu,)), Host(8, 64 * GIB)).places}


@pytest.mark.parametrize(
    # Two slots need 0.4 GiB each; each further recording 60 MiB of a slot's half.
    ("free_bytes", "size"),
    [(64 * GIB, 4), (2 * GIB, 4), (GIB, 2), (GIB // 2, 2), (0, 1)],
)
def test_cpu_worker_computes_as_many_as_its_share_of_memory_allows(free_bytes: int, size: int) -> None:
    assert on_cpu(settings("tiny.en"), free_bytes) == {size}


def test_larger_models_take_fewer_recordings() -> None:
    sizes = [on_cpu(settings(model), 13 * GIB).pop() for model in ("tiny", "medium", "large-v3")]

    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 4


@pytest.mark.parametrize(("total_gib", "size"), [(24, 16), (12, 9), (10, 1), (None, 8)])
def test_batch_of_a_gpu_follows_its_memory(total_gib: Optional[int], size: int) -> None:
    assert on_gpu(settings("large-v3"), total_gib) == {size}


def test_workers_of_one_gpu_share_its_memory() -> None:
    assert on_gpu(settings("large-v3", workers_per_device=2), 24) == {9}


def test_size_that_is_set_is_taken_and_profile_rem_shares_no_call() -> None:
    assert on_cpu(settings("tiny.en", batch_size=3), 64 * GIB) == {3}
    assert on_gpu(settings("large-v3", batch_size=3), 24) == {3}
    assert on_cpu(settings("tiny.en", profile="rem", batch_size=3), 64 * GIB) == {1}
    assert on_gpu(settings("large-v3", profile="rem"), 24) == {1}
