"""What the supervisor is told of what NVML saw, and when it is news."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from supervisor.contract.wire.messages import Device, Devices
from supervisor.gpuwatch.report import GpuReport, devices_of, is_news

GIB = 1024**3
A = Device("GPU-a", "A10", 0, 1 * GIB, 24 * GIB, 0.0, 40.0)
B = Device("GPU-b", "A10", 1, 2 * GIB, 24 * GIB, 0.5, 50.0)


def test_all_gpus_are_told_where_nothing_hides_them() -> None:
    assert devices_of(GpuReport((A, B)), {}, True, None) == Devices((A, B), True, "")


def test_hidden_gpus_are_left_out_and_the_reason_is_told() -> None:
    told = devices_of(GpuReport((A, B), "GPU 2 does not answer"), {"CUDA_VISIBLE_DEVICES": "1,5"}, True, None)

    assert told.devices == (B,)
    assert told.problem.startswith("GPU 2 does not answer. CUDA_VISIBLE_DEVICES=1,5: '5' matches no GPU")


def test_gpus_come_in_the_order_that_the_list_gives() -> None:
    told = devices_of(GpuReport((A, B)), {"CUDA_VISIBLE_DEVICES": "1,0"}, True, None)

    assert told.devices == (B, A)


def test_parts_of_a_gpu_stand_in_its_place_and_its_number_means_the_first() -> None:
    parts = [dataclasses.replace(A, uuid=f"MIG-{n}", parent="GPU-a", mig_index=n) for n in (0, 2)]
    report = GpuReport((*parts, B))

    assert devices_of(report, {}, True, None).devices == (*parts, B)
    assert devices_of(report, {"CUDA_VISIBLE_DEVICES": "1,0"}, True, None).devices == (B, parts[0])
    assert devices_of(report, {"CUDA_VISIBLE_DEVICES": "MIG-2"}, True, None).devices == (parts[1],)


def test_ordinals_among_unlike_gpus_come_with_a_warning() -> None:
    unlike = dataclasses.replace(B, name="T4")

    told = devices_of(GpuReport((A, unlike)), {"CUDA_VISIBLE_DEVICES": "0"}, True, None)

    assert told.devices == (A,)
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in told.problem


def test_gpus_known_so_far_outlive_an_nvml_that_fails() -> None:
    """Running workers do not need NVML. A container that lost its device cgroup still computes."""
    last = Devices((A,), True)

    told = devices_of(GpuReport((), "NVML error 999", failed=True), {}, True, last)

    assert told.problem == "NVML error 999"
    assert told.devices == (Device("GPU-a", "A10", 0, None, 24 * GIB, None, None),)


def test_a_first_look_that_fails_shows_no_gpu() -> None:
    failing = GpuReport((), "no driver", failed=True)

    assert devices_of(failing, {"CUDA_VISIBLE_DEVICES": "0"}, True, None) == Devices(
        (), True, "no driver", True
    )


def test_a_gpu_that_is_gone_while_nvml_is_well_is_gone() -> None:
    told = devices_of(GpuReport((A,), "GPU 1 does not answer"), {}, True, Devices((A, B), True))

    assert told.devices == (A,)


@pytest.mark.parametrize(
    ("change", "news"),
    [
        ({}, False),
        ({"memory_used_bytes": 1 * GIB + 200 * 1024**2}, False),
        ({"memory_used_bytes": 1 * GIB + 256 * 1024**2}, True),
        ({"memory_used_bytes": None}, True),
        ({"temperature_c": 44.9}, False),
        ({"temperature_c": 35.0}, True),
        ({"utilization_ratio": 0.2}, False),
        ({"utilization_ratio": 0.25}, True),
        ({"health": "sick"}, True),
        ({"recovery_action": "gpu-reset"}, True),
        ({"throttle": ("power cap",)}, True),
        ({"power_w": 300.0}, False),
        ({"index": 1}, True),
        ({"uuid": "GPU-c"}, True),
    ],
)
def test_small_changes_are_no_news(change: dict[str, Any], news: bool) -> None:
    after = Devices((dataclasses.replace(A, **change), B), True)

    assert is_news(Devices((A, B), True), after) is news


def test_a_first_report_a_new_count_and_a_new_problem_are_news() -> None:
    was = Devices((A, B), True)

    assert is_news(None, Devices(()))
    assert is_news(was, Devices((A,), True))
    assert is_news(was, Devices((A, B), True, "GPU 2 does not answer"))
    assert is_news(was, Devices((A, B), False))


def test_a_figure_that_stays_unknown_is_no_news() -> None:
    bare = Devices((Device("GPU-a", "A10", 0),))

    assert not is_news(bare, bare)
