"""`doctor` says which slots these settings give on this machine, by the rule of the service itself."""

from __future__ import annotations

import pytest

from supervisor.cli.doctor.slot_checks import of_slots
from supervisor.contract import codec
from supervisor.contract.finding import Finding
from supervisor.contract.wire.messages import Device, Devices
from supervisor.placement.slot_plan import Host
from supervisor.settings.schema import DevicesSettings, Settings, TranscriptionSettings

GIB = 1024**3
HOST = Host(2, 16 * GIB)
NONE = Devices((), False, "no driver library. Install the NVIDIA driver", True)
BROKEN = Devices((), True, "the driver is not loaded. Load it")
L4 = Devices((Device("GPU-a", "NVIDIA L4", 0, memory_total_bytes=24 * GIB),), True)
T4 = Devices((Device("GPU-b", "NVIDIA T4", 0, memory_total_bytes=1 * GIB),), True)


def look(
    devices: Devices, own: DevicesSettings, model: str = "tiny.en", compute_type: str = "auto"
) -> list[Finding]:
    settings = Settings(
        devices=own, transcription=TranscriptionSettings(model=model, compute_type=compute_type)
    )
    return list(of_slots(settings, {"devices": codec.to_plain(devices)}, HOST))


@pytest.mark.parametrize(
    ("devices", "own", "says", "cure"),
    [
        (NONE, DevicesSettings(device="cuda"), "device is cuda, but no GPU", "WHISPER_DEVICE=auto"),
        (BROKEN, DevicesSettings(), "that can't be used", "WHISPER_DEVICE=cpu"),
        (L4, DevicesSettings(include=("GPU-zzz",)), "leave no GPU", "Correct them"),
    ],
)
def test_settings_that_give_no_slot_are_a_failure_with_its_cure(
    devices: Devices, own: DevicesSettings, says: str, cure: str
) -> None:
    """With device = "cuda" and no GPU, doctor found nothing wrong: "CPU slots are used"."""
    (found,) = look(devices, own)

    assert (found.check, found.state) == ("slots", "fail")
    assert says in found.detail
    assert cure in found.cure


def test_compute_type_that_the_cpu_lacks_is_a_failure_where_there_is_no_gpu() -> None:
    (found,) = look(NONE, DevicesSettings(), compute_type="float16")

    assert found.state == "fail"
    assert "float16 needs a GPU" in found.detail


def test_model_that_fits_on_no_gpu_is_a_failure_that_names_the_slot() -> None:
    (found,) = look(T4, DevicesSettings(), model="large-v3")

    assert found.state == "fail"
    assert "gpu0 would be held: model large-v3 needs about" in found.detail


@pytest.mark.parametrize(
    ("devices", "own", "names"),
    [
        (NONE, DevicesSettings(), "cpu0, cpu1"),
        (L4, DevicesSettings(device="cuda"), "gpu0"),
        (BROKEN, DevicesSettings(device="cpu", cpu_slots=1), "cpu0"),
        (NONE, DevicesSettings(device="cuda", fake_gpus=3), "3 on simulated GPUs"),
    ],
)
def test_slots_that_there_would_be_are_named(devices: Devices, own: DevicesSettings, names: str) -> None:
    assert look(devices, own) == [Finding("slots", "ok", names)]


def test_gpus_that_could_not_be_looked_at_are_no_second_failure() -> None:
    assert list(of_slots(Settings(), {}, HOST)) == []
