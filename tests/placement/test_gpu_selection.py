"""Which GPUs are used, by how many workers, with what, and whether it fits."""

from __future__ import annotations

import dataclasses
from typing import Any, Optional

import pytest

from supervisor.contract.wire.messages import Device, Devices
from supervisor.placement.gpu_selection import free_name
from supervisor.placement.slot_plan import Host, SlotPlan, plan
from supervisor.settings.schema import DevicesSettings, Settings, TranscriptionSettings

GIB = 1024**3
HOST = Host(8, 64 * GIB)
GPUS = (
    Device("GPU-aa11", "NVIDIA A10", 0, 0, 24 * GIB, cpus=(0, 1)),
    Device("GPU-aa22", "NVIDIA T4", 1, 0, 16 * GIB),
    Device("MIG-bb11", "NVIDIA A100 MIG 1g.5gb", 2, 0, 5 * GIB, parent="GPU-cc33", mig_index=0),
    Device("MIG-bb22", "NVIDIA A100 MIG 1g.5gb", 2, 0, 5 * GIB, parent="GPU-cc33", mig_index=3),
)


def planned(model: str = "base", compute_type: str = "auto", gpus: Any = GPUS, **devices: Any) -> SlotPlan:
    settings = Settings(
        transcription=TranscriptionSettings(model=model, compute_type=compute_type),
        devices=dataclasses.replace(DevicesSettings(), **devices),
    )
    return plan(settings, Devices(tuple(gpus), True), HOST)


def names(**devices: Any) -> list[str]:
    return [place.name for place in planned(**devices).places]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ((), (), ["gpu0", "gpu1", "gpu2mig0", "gpu2mig3"]),
        (("0", "1"), (), ["gpu0", "gpu1"]),
        (("1", "0"), (), ["gpu0", "gpu1"]),  # a filter: the order is the devices'
        (("GPU-aa22",), (), ["gpu1"]),
        (("GPU-aa",), (), ["gpu0", "gpu1"]),
        (("NVIDIA T4",), (), ["gpu1"]),
        (("GPU-cc33",), (), ["gpu2mig0", "gpu2mig3"]),  # a GPU stands for its parts
        (("MIG-bb22",), (), ["gpu2mig3"]),
        ((), ("NVIDIA T4", "2"), ["gpu0"]),
        (("0", "1"), ("0",), ["gpu1"]),
        (("NVIDIA",), (), []),  # a name is meant in full
    ],
)
def test_settings_choose_among_gpus(
    include: tuple[str, ...], exclude: tuple[str, ...], expected: list[str]
) -> None:
    assert names(include=include, exclude=exclude) == expected


def test_a_choice_that_leaves_no_gpu_is_a_problem_and_not_the_cpu() -> None:
    made = planned(include=("GPU-zz",))

    assert made.places == ()
    assert "leave no GPU" in made.problem
    assert "doctor" in made.cure


def test_several_workers_on_one_device_have_places_of_their_own() -> None:
    made = planned(workers_per_device=2, include=("0",))

    assert [(place.name, place.device, place.number) for place in made.places] == [
        ("gpu0", "GPU-aa11", 0), ("gpu0-2", "GPU-aa11", 1),
    ]  # fmt: skip


def test_single_devices_have_their_own_model_and_compute_type() -> None:
    settings = Settings(
        devices=DevicesSettings(model={"NVIDIA T4": "small", "GPU-cc33": "tiny"}, compute_type={"1": "int8"})
    )
    places = plan(settings, Devices(GPUS, True), HOST).places

    assert [(place.model, place.compute_type) for place in places] == [
        ("", ""), ("small", "int8"), ("tiny", ""), ("tiny", ""),
    ]  # fmt: skip
    assert places[1].need_bytes == int(2 * GIB * 0.6)


def test_the_cpu_stands_in_where_settings_say_so_and_keeps_the_devices_slots() -> None:
    made = planned(compute="cpu")

    assert {(place.kind, place.need_bytes) for place in made.places} == {("cpu", 0)}
    assert [place.device for place in made.places] == [gpu.uuid for gpu in GPUS]


def test_a_place_knows_the_cpus_near_its_device() -> None:
    assert planned().places[0].cpus == (0, 1)


def test_a_model_that_does_not_fit_is_refused_with_what_would() -> None:
    places = planned(model="large-v3", compute_type="float16").places

    assert [bool(place.refusal) for place in places] == [False, False, True, True]
    assert places[2].refusal == (
        "model large-v3 needs about 10.0 GiB of memory, NVIDIA A100 MIG 1g.5gb has 5.0: medium would fit "
        "(WHISPER_MODEL, or [devices] model); int8_float16 needs less (WHISPER_COMPUTE_TYPE)"
    )


def test_workers_of_one_device_share_its_memory() -> None:
    refusal = planned(model="large-v3", workers_per_device=2, include=("1",)).places[0].refusal

    assert "for each of its 2 workers" in refusal
    assert "turbo would fit" in refusal


@pytest.mark.parametrize("total", [None, 10 * GIB])
def test_what_is_not_known_or_fits_exactly_is_not_refused(total: Optional[int]) -> None:
    gpu = dataclasses.replace(GPUS[0], memory_total_bytes=total)

    assert planned(model="large-v3", gpus=[gpu]).places[0].refusal == ""


def test_a_name_is_never_given_twice() -> None:
    assert free_name("gpu0", ["gpu1"]) == "gpu0"
    assert free_name("gpu0", ["gpu0", "gpu1"]) == "gpu0.2"
    assert free_name("gpu0", ["gpu0", "gpu0.2"]) == "gpu0.3"
