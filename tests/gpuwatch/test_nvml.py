"""Reading GPUs through pynvml, with a hand-written NVML behind it; and its errors in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Optional

import pynvml
import pytest

from supervisor.contract.wire.messages import Device
from supervisor.gpuwatch import nvml_errors
from supervisor.gpuwatch.nvml import Nvml


class Gpu:
    """One GPU as a driver would tell it; `broken` maps a question to the error it gives."""

    def __init__(self, uuid: str, bus: str, broken: Optional[dict[str, int]] = None) -> None:
        self.uuid, self.bus, self.broken = uuid, bus, broken or {}


class FakeNvml:
    """Answers pynvml's functions from a list of GPUs, and counts openings."""

    def __init__(self, gpus: list[Gpu]) -> None:
        self.gpus = gpus
        self.failing: dict[str, int] = {}
        self.opened = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in dir(self):
            if name.startswith("nvml"):
                monkeypatch.setattr(pynvml, name, getattr(self, name))

    def _ask(self, question: str, gpu: Optional[Gpu] = None) -> None:
        code = (gpu.broken if gpu else self.failing).get(question, 0)
        if code:
            raise pynvml.NVMLError(code)

    def nvmlInit(self) -> None:
        self._ask("init")
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def nvmlDeviceGetCount(self) -> int:
        self._ask("count")
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Gpu:
        self._ask("handle", self.gpus[index])
        return self.gpus[index]

    def nvmlDeviceGetUUID(self, gpu: Gpu) -> str:
        self._ask("uuid", gpu)
        return gpu.uuid

    def nvmlDeviceGetName(self, gpu: Gpu) -> str:
        self._ask("name", gpu)
        return "NVIDIA A10G"

    def nvmlDeviceGetPciInfo(self, gpu: Gpu) -> Any:
        self._ask("pci", gpu)
        return SimpleNamespace(busId=gpu.bus.encode())

    def nvmlDeviceGetMemoryInfo(self, gpu: Gpu, version: Optional[int] = None) -> Any:
        self._ask("memory v2" if version else "memory v1", gpu)
        return SimpleNamespace(total=1000, used=100 if version else 160)

    def nvmlDeviceGetUtilizationRates(self, gpu: Gpu) -> Any:
        self._ask("utilization", gpu)
        return SimpleNamespace(gpu=75)

    def nvmlDeviceGetTemperature(self, gpu: Gpu, sensor: int) -> int:
        self._ask("temperature", gpu)
        return 55


def look_at(gpus: list[Gpu], monkeypatch: pytest.MonkeyPatch) -> tuple[FakeNvml, Nvml]:
    fake = FakeNvml(gpus)
    fake.install(monkeypatch)
    return fake, Nvml()


def test_a_gpu_is_read_with_all_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    _, nvml = look_at([Gpu("GPU-a", "00000000:01:00.0")], monkeypatch)

    report = nvml.look()

    assert report.gpus == (Device("GPU-a", "NVIDIA A10G", 0, 100, 1000, 0.75, 55.0, "ok"),)
    assert (report.problem, report.failed) == ("", False)


def test_gpus_come_in_pci_order_with_their_own_index(monkeypatch: pytest.MonkeyPatch) -> None:
    _, nvml = look_at([Gpu("GPU-b", "00000000:41:00.0"), Gpu("GPU-a", "00000000:01:00.0")], monkeypatch)

    assert [(gpu.uuid, gpu.index) for gpu in nvml.look().gpus] == [("GPU-a", 1), ("GPU-b", 0)]


@pytest.mark.parametrize("code", [3, 13, 25, 26, 999])
def test_a_figure_that_is_not_to_be_had_is_unknown_and_never_zero(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    questions = ("name", "pci", "memory v2", "memory v1", "utilization", "temperature")
    _, nvml = look_at([Gpu("GPU-a", "x", dict.fromkeys(questions, code))], monkeypatch)

    assert nvml.look().gpus == (Device("GPU-a", "NVIDIA GPU", 0, None, None, None, None),)


def test_an_old_driver_is_asked_for_memory_in_version_1(monkeypatch: pytest.MonkeyPatch) -> None:
    _, nvml = look_at([Gpu("GPU-a", "x", {"memory v2": 13})], monkeypatch)

    assert nvml.look().gpus[0].memory_used_bytes == 160


def test_a_lost_gpu_hides_none_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [Gpu("GPU-a", "1", {"handle": 15}), Gpu("GPU-b", "2"), Gpu("GPU-c", "3", {"uuid": 16})]
    _, nvml = look_at(gpus, monkeypatch)

    report = nvml.look()

    assert [gpu.uuid for gpu in report.gpus] == ["GPU-b"]
    assert not report.failed
    assert "GPU 0 does not answer. NVML error 15" in report.problem
    assert "GPU 2 does not answer. NVML error 16" in report.problem


def test_nvml_that_failed_as_a_whole_is_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, nvml = look_at([Gpu("GPU-a", "1")], monkeypatch)
    assert nvml.look().gpus

    fake.failing["count"] = 999
    broken = nvml.look()
    assert (broken.failed, fake.opened) == (True, 0)

    fake.failing.clear()
    assert nvml.look().gpus
    assert fake.opened == 1


def test_a_driver_without_gpus_is_a_failure_with_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    _, nvml = look_at([], monkeypatch)

    report = nvml.look()

    assert report.failed
    assert "docker run --gpus all" in report.problem


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        (4, "access to /dev/nvidia*"),
        (9, "modprobe nvidia"),
        (12, "Install the NVIDIA driver"),
        (18, "Reboot"),
        (999, "restart the container"),
    ],
)
def test_an_nvml_that_does_not_open_says_why_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, code: int, cure: str
) -> None:
    fake, nvml = look_at([], monkeypatch)
    fake.failing["init"] = code

    report = nvml.look()

    assert report.failed
    assert cure in report.problem
    assert ". " in report.problem  # what is wrong, then the cure


def test_a_machine_without_the_library_names_the_loaders_own_words() -> None:
    """pynvml hides dlopen's text: a missing file and one for another machine look alike in it."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if error.value != nvml_errors.LIBRARY_NOT_FOUND:
            pytest.skip("this machine has NVIDIA's library")
    else:
        pytest.skip("this machine has a working NVIDIA driver")

    report = Nvml().look()

    assert report.gpus == ()
    assert "libnvidia-ml.so.1 can't be loaded (libnvidia-ml.so.1: " in report.problem
    assert report.problem.endswith(
        "Install the NVIDIA driver, or give the container its GPUs (docker run --gpus all)"
    )


def test_an_error_that_nobody_listed_still_says_where_to_look() -> None:
    assert nvml_errors.explain(77, "Odd") == "NVML error 77 (Odd): see dmesg for lines with NVRM or Xid"
