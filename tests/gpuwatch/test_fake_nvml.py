"""The real gpuwatch process with the unmodified pynvml, on a driver that a file tells what to say."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from supervisor.contract.child_bootstrap import GpuwatchSettings
from supervisor.contract.wire.messages import Act, Device, Devices, Up, Xid
from tests.fake_nvml.build import FakeNvml, build
from tests.gpuwatch.process import LIMIT_S, NO_SETTINGS, Gpuwatch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(tmp_path: Path, library: Path) -> FakeNvml:
    return FakeNvml(tmp_path / "driver", library)


Start = Callable[..., Gpuwatch]


@pytest.fixture
def start(nvml: FakeNvml) -> Iterator[Start]:
    """Start the process on the test's driver; it leaves with its link."""
    started: list[Gpuwatch] = []

    def begin(settings: GpuwatchSettings = NO_SETTINGS, **environ: str) -> Gpuwatch:
        started.append(Gpuwatch({**nvml.environ(), **environ}, settings))
        return started[-1]

    yield begin
    for one in started:
        one.link.close()
    for one in started:
        try:
            assert one.process.wait(LIMIT_S) == 0
        finally:
            one.process.kill()


def gpu(devices: Devices, n: int = 0) -> Device:
    return next(device for device in devices.devices if device.index == n)


def test_every_figure_reaches_the_supervisor(nvml: FakeNvml, start: Start) -> None:
    nvml.set(
        {"gpu1.throttle": 0x4 | 0x40 | 0x1, "gpu1.ecc": 3, "gpu1.remapped": "1 2 0 0", "gpu1.recovery": 0}
    )
    nvml.set({"gpu1.affinity": 0b1101, "gpu1.utilization": 50, "gpu1.pids": f"{os.getpid()} 4194000"})

    watch = start()

    found = gpu(watch.tells_devices(), 1)
    me = Path("/proc/self/comm").read_text().strip()
    assert found == Device(
        nvml.uuid(1), "NVIDIA L4", 1, 400 * 1024**2, 24 * 1024**3, 0.5, 41.0, "ok", 20.0,
        ("power cap", "hardware thermal slowdown"), 3, 3, False, "none", "", None, (0, 2, 3),
        processes=(f"{os.getpid()} {me}",),
    )  # fmt: skip
    assert watch.tells(lambda message: isinstance(message, Up)).detail == "2 GPUs: NVIDIA L4"


def test_a_driver_that_knows_little_leaves_figures_unknown(nvml: FakeNvml, start: Start) -> None:
    names = (
        "total",
        "used",
        "temperature",
        "power",
        "throttle",
        "ecc",
        "remapped",
        "utilization",
        "bus",
        "name",
    )
    nvml.set({f"gpu0.{name}": None for name in names})

    found = gpu(start().tells_devices())

    assert found == Device(nvml.uuid(0), "NVIDIA GPU", 0)  # nothing is zero, nothing healthy


def test_memory_follows_real_processes(nvml: FakeNvml, start: Start) -> None:
    gib = 1024**3
    holder = subprocess.Popen(["sleep", "100"])
    nvml.set({"gpu0.used": gib, "gpu0.pids": holder.pid, "gpu0.bytes_per_pid": 8 * gib})
    watch = start()
    watch.look()
    assert gpu(watch.tells_devices()).memory_used_bytes == 9 * gib

    holder.kill()
    holder.wait()

    watch.tells_devices(lambda told: gpu(told).memory_used_bytes == gib)


def test_memory_follows_processes_that_were_given_the_device(nvml: FakeNvml, start: Start) -> None:
    nvml.set({"follow": 10**9, "gpu0.used": 0, "gpu1.used": 0})
    watch = start()
    watch.look()

    with subprocess.Popen(["sleep", "100"], env={"CUDA_VISIBLE_DEVICES": nvml.uuid(1)}) as holder:
        told = watch.tells_devices(lambda told: gpu(told, 1).memory_used_bytes == 10**9)
        holder.kill()

    assert gpu(told, 0).memory_used_bytes == 0
    watch.tells_devices(lambda told: gpu(told, 1).memory_used_bytes == 0)


@pytest.mark.parametrize(
    ("xid", "act"), [(79, Act.HOLD), (31, Act.RESTART), (45, Act.IGNORE), (999, Act.WARN)]
)
def test_an_xid_is_told_at_once_and_judged_a_moment_later(
    nvml: FakeNvml, start: Start, xid: int, act: Act
) -> None:
    watch = start()
    watch.tells_devices()
    nvml.wait_listened(1)

    nvml.xid(1, xid)

    told = watch.tells(lambda message: isinstance(message, Xid))
    fault = watch.tells_fault()
    assert (told.uuid, told.xid) == (nvml.uuid(1), xid)
    assert (fault.uuid, fault.xids, fault.act) == (nvml.uuid(1), (xid,), act)


def test_the_recovery_action_outweighs_the_table_and_settings_outweigh_the_table_too(
    nvml: FakeNvml, start: Start
) -> None:
    watch = start(GpuwatchSettings(xid={"79": "ignore"}))
    watch.tells_devices()
    nvml.wait_listened(0)

    nvml.xid(0, 79)
    assert watch.tells_fault().act is Act.IGNORE
    nvml.set({"gpu0.recovery": 2})
    nvml.xid(0, 31)
    fault = watch.tells_fault()

    assert fault.act is Act.HOLD
    assert "node-reboot" in fault.why
    assert "reboot" in fault.cure


def test_a_burst_is_one_fault(nvml: FakeNvml, start: Start) -> None:
    watch = start()
    watch.tells_devices()
    nvml.wait_listened(0)

    nvml.xid(0, 48)
    nvml.xid(0, 63)
    nvml.xid(0, 45)

    fault = watch.tells_fault()
    assert sorted(fault.xids) == [45, 48, 63]
    assert fault.act is Act.HOLD


def test_a_lost_gpu_is_told_as_lost_and_the_other_goes_on(nvml: FakeNvml, start: Start) -> None:
    watch = start()
    watch.tells_devices()

    nvml.set({"gpu0.lost": 1})
    watch.look()

    told = watch.tells_devices(lambda told: gpu(told).health == "lost")
    assert gpu(told, 1).health == "ok"
    assert "GPU 0 does not answer. NVML error 15" in told.problem
    assert gpu(told) == Device(nvml.uuid(0), "NVIDIA L4", 0, None, 24 * 1024**3, health="lost")
    nvml.set({"gpu0.lost": None})
    watch.tells_devices(lambda told: gpu(told).health == "ok")


def test_gpus_that_appear_and_vanish_are_told(nvml: FakeNvml, start: Start) -> None:
    watch = start()
    watch.tells_devices()
    watch.look()

    nvml.add_gpu(2)
    nvml.set({"count": 3})
    assert [one.index for one in watch.tells_devices(lambda told: len(told.devices) == 3).devices] == [
        0,
        1,
        2,
    ]
    nvml.set({"count": 1})
    assert [one.index for one in watch.tells_devices(lambda told: len(told.devices) == 1).devices] == [0]


def test_mig_devices_stand_for_their_gpu_with_its_temperature_and_their_own_memory(
    nvml: FakeNvml, start: Start
) -> None:
    nvml.set({"gpu0.mig": "MIG-aa - MIG-bb", "gpu0.temperature": 70})

    told = start().tells_devices()

    assert [one.uuid for one in told.devices] == ["MIG-aa", "MIG-bb", nvml.uuid(1)]
    part = told.devices[1]
    assert (part.parent, part.mig_index, part.temperature_c) == (nvml.uuid(0), 2, 70.0)
    assert part.memory_total_bytes == 8 * 1024**3


def test_a_gpu_in_mig_mode_without_devices_says_what_to_do(nvml: FakeNvml, start: Start) -> None:
    nvml.set({"gpu0.mig": "- -"})

    told = start().tells_devices()

    assert [one.index for one in told.devices] == [1]
    assert "nvidia-smi mig -i 0" in told.problem


@pytest.mark.parametrize(("value", "indices"), [("1,0", [1, 0]), ("1", [1]), ("", []), ("7", [])])
def test_an_inherited_list_restricts_and_orders(
    nvml: FakeNvml, start: Start, value: str, indices: list[int]
) -> None:
    told = start(CUDA_VISIBLE_DEVICES=value).tells_devices()

    assert [one.index for one in told.devices] == indices
    assert bool(told.problem) == (not indices)


def test_the_beginning_of_a_uuid_restricts_too(nvml: FakeNvml, start: Start) -> None:
    told = start(CUDA_VISIBLE_DEVICES=nvml.uuid(1)[:12]).tells_devices()

    assert [one.index for one in told.devices] == [1]


@pytest.mark.parametrize(
    ("code", "cure"),
    [(9, "modprobe nvidia"), (18, "Reboot"), (999, "restart the container"), (4, "/dev/nvidia")],
)
def test_a_driver_that_is_gone_says_what_to_do(nvml: FakeNvml, start: Start, code: int, cure: str) -> None:
    nvml.set({"error.nvmlInitWithFlags": code})

    told = start().tells_devices()

    assert told.failed
    assert told.devices == ()
    assert f"NVML error {code}" in told.problem
    assert cure in told.problem


def test_gpus_outlive_a_driver_that_goes_and_comes_back(nvml: FakeNvml, start: Start) -> None:
    watch = start()
    watch.tells_devices()
    watch.look()

    nvml.set({"error.*": 999})
    gone = watch.tells_devices(lambda told: told.failed)
    nvml.set({"error.*": None})
    back = watch.tells_devices(lambda told: not told.failed)

    assert [(one.index, one.health, one.temperature_c) for one in gone.devices] == [
        (0, "unknown", None), (1, "unknown", None),
    ]  # fmt: skip
    assert [one.health for one in back.devices] == ["ok", "ok"]
    nvml.wait_listened(0, 2)
    nvml.xid(0, 31)
    assert watch.tells_fault().xids == (31,)  # the ears are open again


def test_a_driver_that_hangs_is_told_as_unknown_and_holds_nothing_up(nvml: FakeNvml, start: Start) -> None:
    watch = start()
    watch.tells_devices()

    nvml.set({"delay.nvmlDeviceGetTemperature": 60_000})

    told = watch.tells_devices(lambda told: told.failed)
    assert "has not answered for 10 s" in told.problem
    assert [one.health for one in told.devices] == ["unknown", "unknown"]
    watch.link.close()
    assert watch.process.wait(LIMIT_S) == 0


def test_event_sets_that_fail_at_once_do_not_spin(nvml: FakeNvml, start: Start) -> None:
    """Another tool spun at a full core on a wait that came back with an error at once.

    Here each error is followed by a pause, and a new event set: so the registrations tell the tries.
    """
    nvml.set({"error.nvmlEventSetWait_v2": 999})
    watch = start()
    watch.look()

    for _ in range(10):  # one each tenth of a second
        watch.tells_devices()

    assert 2 <= nvml.listened(0) + nvml.listened(1) <= 6, "it spins"


def test_a_damaged_order_ends_it(start: Start) -> None:
    watch = start()
    watch.tells_devices()

    watch.link.sendall(b'{"is": "Drain", "deadline_at_s": 1.0}\n')

    assert watch.process.wait(LIMIT_S) == 76
    watch.process.wait = lambda *_: 0  # type: ignore[method-assign]  # the fixture asks how it ended
