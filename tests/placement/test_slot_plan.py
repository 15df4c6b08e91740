"""Which worker slots exist where, and what is said where there are none."""

from __future__ import annotations

import dataclasses

import pytest

from supervisor.contract.wire.messages import Device, Devices
from supervisor.placement.slot_plan import (
    Host,
    SlotPlan,
    SlotSpec,
    compute_type_for,
    plan,
)
from supervisor.settings.schema import DevicesSettings, Settings, TranscriptionSettings

GIB = 1024**3
ROOMY = Host(cores=8, free_memory_bytes=64 * GIB)
NO_GPU = Devices((), problem="no library")
BROKEN_GPU = Devices((), nvidia_pci=True, problem="the driver is not loaded. Load it")
TWO_GPUS = Devices((Device("GPU-a", "A10", 0), Device("GPU-b", "A10", 3)), nvidia_pci=True)


def settings(model: str = "base", compute_type: str = "auto", **devices: object) -> Settings:
    return Settings(
        transcription=TranscriptionSettings(model=model, compute_type=compute_type, profile="rem"),
        devices=dataclasses.replace(DevicesSettings(), **devices),
    )


def names(of: SlotPlan) -> list[str]:
    return [place.name for place in of.places]


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_each_gpu_gets_a_place_of_its_own(device: str) -> None:
    made = plan(settings(device=device), TWO_GPUS, ROOMY)

    assert made == SlotPlan(
        (
            SlotSpec("gpu0", "cuda", "GPU-a", 1, need_bytes=GIB),
            SlotSpec("gpu3", "cuda", "GPU-b", 1, need_bytes=GIB),
        )
    )


def test_gpus_that_work_are_used_and_the_problem_of_another_is_told() -> None:
    made = plan(settings(), dataclasses.replace(TWO_GPUS, problem="GPU 1 does not answer"), ROOMY)

    assert names(made) == ["gpu0", "gpu3"]
    assert made.problem == "GPU 1 does not answer"


def test_a_machine_without_nvidia_gets_cpu_slots_without_complaint() -> None:
    made = plan(settings(), NO_GPU, Host(cores=2, free_memory_bytes=16 * GIB))

    assert made == SlotPlan((SlotSpec("cpu0", "cpu", "", 1), SlotSpec("cpu1", "cpu", "", 1)))


def test_a_gpu_server_whose_driver_is_broken_is_held_and_not_slow_in_silence() -> None:
    made = plan(settings(), BROKEN_GPU, ROOMY)

    assert made.places == ()
    assert made.problem == (
        "this machine has an NVIDIA device that can't be used: the driver is not loaded. Load it"
    )
    assert "WHISPER_DEVICE=cpu" in made.cure


@pytest.mark.parametrize("devices", [NO_GPU, BROKEN_GPU])
def test_cuda_without_a_gpu_says_what_is_missing(devices: Devices) -> None:
    made = plan(settings(device="cuda"), devices, ROOMY)

    assert made.places == ()
    assert made.problem == f"device is cuda, but no GPU can be used: {devices.problem}"
    assert "WHISPER_DEVICE" in made.cure


@pytest.mark.parametrize("devices", [NO_GPU, BROKEN_GPU, TWO_GPUS])
def test_cpu_asked_for_by_name_gets_cpu_slots_whatever_else_there_is(devices: Devices) -> None:
    assert names(plan(settings(device="cpu"), devices, Host(2, 16 * GIB))) == ["cpu0", "cpu1"]


@pytest.mark.parametrize(
    ("host", "asked", "count"),
    [
        (Host(8, 64 * GIB), {}, 8),
        (Host(8, 64 * GIB), {"cpu_threads": 3}, 2),
        (Host(8, 2 * GIB), {}, 4),  # base: half a GiB each
        (Host(1, 64 * GIB), {}, 1),
        (Host(2, 64 * GIB), {"cpu_threads": 4}, 1),
        (Host(2, 64 * GIB), {"cpu_slots": 5}, 5),
        (Host(8, 0), {}, 1),
    ],
)
def test_cpu_slots_are_as_many_as_cores_and_memory_bear(
    host: Host, asked: dict[str, int], count: int
) -> None:
    assert len(plan(settings(**asked), NO_GPU, host).places) == count


@pytest.mark.parametrize(
    ("asked", "host", "problem"),
    [
        ({}, Host(8, GIB // 4), "1 CPU slot of model base need about 0.5 GiB of memory, 0.2 GiB are free"),
        (
            {"cpu_slots": 4},
            Host(8, GIB),
            "4 CPU slots of model base need about 2.0 GiB of memory, 1.0 GiB are free",
        ),
        ({"cpu_slots": 2}, Host(8, GIB), ""),
    ],
)
def test_memory_that_looks_too_small_is_a_warning(asked: dict[str, int], host: Host, problem: str) -> None:
    made = plan(settings(**asked), NO_GPU, host)

    assert made.places
    assert made.problem == problem
    assert bool(made.cure) == bool(problem)


def test_half_precision_has_no_place_where_only_the_cpu_is_left() -> None:
    made = plan(settings(compute_type="float16"), NO_GPU, ROOMY)

    assert made.places == ()
    assert made.problem == "compute type float16 needs a GPU, but the workers run on the CPU"


@pytest.mark.parametrize(
    ("asked", "kind", "used"),
    [
        ("auto", "cuda", "float16"),
        ("auto", "cpu", "int8"),
        ("int8_float16", "cuda", "int8_float16"),
        ("float32", "cpu", "float32"),
    ],
)
def test_auto_computes_in_what_suits_the_device(asked: str, kind: str, used: str) -> None:
    assert compute_type_for(settings(compute_type=asked), kind) == used
