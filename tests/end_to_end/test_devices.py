"""The whole service on a driver that a file tells what to say, with workers that compute little or nothing.

Eight GPUs where that shows something; else as many as the promise needs. Each test has a driver of
its own (`tests/fake_nvml`), loaded by the unmodified pynvml.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.end_to_end.driven_child import environ_of, log_lines, on, slot, wait_state
from tests.end_to_end.running_service import SAMPLES, is_alive, running, wait_for
from tests.end_to_end.senders import LocalSender, finished
from tests.end_to_end.service_with_test_workers import HELD, NULL, NULL_AND_IMPATIENT, NULL_AND_WATCHFUL, go
from tests.fake_nvml.build import FakeNvml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

GIB = 1024**3


@pytest.fixture
def sender(tmp_path: Path) -> LocalSender:
    return LocalSender(tmp_path / "state" / "local")


def test_eight_gpus_of_which_one_breaks_in_the_middle_of_a_job(
    tmp_path: Path, nvml: FakeNvml, sender: LocalSender
) -> None:
    for n in range(3, 8):
        nvml.add_gpu(n)
    nvml.set({"count": 8})
    with running(tmp_path / "state", HELD, **on(nvml)) as service:
        service.wait_ready(8)

        for n in range(8):
            device = slot(service, f"gpu{n}")["device"]
            assert (device["uuid"], device["name"], device["index"]) == (nvml.uuid(n), "NVIDIA L4", n)
            assert (device["temperature_c"], device["health"]) == (40 + n, "ok")
            assert device["memory_used_bytes"] == 400 * 1024**2
            own = environ_of(slot(service, f"gpu{n}")["pid"])
            assert own["CUDA_VISIBLE_DEVICES"] == nvml.uuid(n)
            assert own["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
        text = service.command("status").stdout
        assert "NVIDIA L4 400M/24G 47C" in text
        assert "CPU inference is forced" in text

        jobs = [sender.send(SAMPLES / "harbour.wav") for _ in range(4)]
        sick = wait_for(service.busy_slot, "a worker in the middle of a recording")
        broken = int(sick["name"][3:])
        others = {one["name"]: one["pid"] for one in service.slots() if one["name"] != sick["name"]}
        nvml.xid(broken, 79)

        held = wait_state(service, sick["name"], "held")
        assert "XID 79: hardware fault" in held["reason"]
        assert "reboot" in held["reason"]
        go(service)
        for job in jobs:
            wait_for(lambda job=job: finished(sender, job), "each recording done")
        assert {name: slot(service, name)["pid"] for name in others} == others
        assert not is_alive(sick["pid"])
        record = (service.status() or {})["crashes"][0]
        assert (record["slot"], record["pid"], record["xids"]) == (sick["name"], sick["pid"], [79])
        assert (record["death"], record["ended"]) == ("device", "killed by SIGKILL")
        assert record["device"]["uuid"] == nvml.uuid(broken)
        assert set(record["jobs"]) <= set(jobs)
        died = wait_for(
            lambda: next(
                (
                    line
                    for line in log_lines(service, "child process exited unexpectedly")
                    if line.get("xids")
                ),
                None,
            ),
            "the line about its death",
        )
        assert (died["xids"], died["device_uuid"]) == ("79", nvml.uuid(broken))
        wait_for(lambda: list((tmp_path / "state" / "crashes").glob(f"*-{sick['name']}.json")), "its file")


def test_an_application_fault_costs_one_worker_a_restart(tmp_path: Path, nvml: FakeNvml) -> None:
    with running(tmp_path / "state", NULL, **on(nvml)) as service:
        service.wait_ready(3)
        before = {one["name"]: one["pid"] for one in service.slots()}

        nvml.xid(1, 31)

        wait_for(lambda: slot(service, "gpu1")["pid"] not in (None, before["gpu1"]), "another worker")
        wait_state(service, "gpu1", "ready")
        after = {one["name"]: one["pid"] for one in service.slots()}
        assert (after["gpu0"], after["gpu2"]) == (before["gpu0"], before["gpu2"])
        assert slot(service, "gpu1")["restarts"] == 1


def test_a_recovery_action_holds_and_heals_without_a_hand(tmp_path: Path, nvml: FakeNvml) -> None:
    nvml.set({f"gpu{n}.recovery": 0 for n in range(3)})
    with running(tmp_path / "state", NULL_AND_WATCHFUL, **on(nvml)) as service:
        service.wait_ready(3)

        nvml.set({"gpu2.recovery": 1})
        held = wait_state(service, "gpu2", "held")
        assert held["reason"] == (
            "driver recovery action: gpu-reset. Stop the processes that use it, then: "
            f"sudo nvidia-smi --gpu-reset -i {nvml.uuid(2)}"
        )
        assert held["device"]["health"] == "sick"
        nvml.set({"gpu2.recovery": 0})

        wait_state(service, "gpu2", "ready")
        assert [one["restarts"] for one in service.slots()] == [0, 0, 1]


def test_a_driver_that_hangs_disturbs_no_job_and_no_stop(
    tmp_path: Path, nvml: FakeNvml, sender: LocalSender
) -> None:
    nvml.set({"count": 2})
    with running(tmp_path / "state", NULL_AND_WATCHFUL, **on(nvml)) as service:
        service.wait_ready(2)
        pids = [one["pid"] for one in service.slots()]

        nvml.set({"delay.*": 60_000})
        job = sender.send(SAMPLES / "soup.mp3")

        wait_for(lambda: finished(sender, job), "a recording done while the driver hangs")
        wait_for(lambda: slot(service, "gpu0")["device"]["health"] == "unknown", "health unknown")
        status = service.status() or {}
        assert "has not answered" in status["supervisor"]["devices_problem"]
        assert slot(service, "gpu0")["device"]["temperature_c"] is None
        assert "health unknown" in service.command("status").stdout
        assert [one["pid"] for one in service.slots()] == pids
        asked_s = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        wait_for(lambda: log_lines(service, "stopping"), "the stop to begin")
        served_s = time.monotonic() - asked_s
        assert service.stop() == 0
    # The promise is 100 ms; an idle machine shows 20 to 40. It is served though the driver hangs.
    print(f"SIGTERM served after {served_s * 1000:.0f} ms, polled every 20 ms")


def test_a_driver_that_is_not_there_is_told_with_its_cure(tmp_path: Path, nvml: FakeNvml) -> None:
    nvml.set({"error.nvmlInitWithFlags": 9})
    cures = {9: "modprobe nvidia", 18: "Reboot", 999: "restart the container"}
    with running(tmp_path / "state", NULL_AND_WATCHFUL, **on(nvml)) as service:
        wait_state(service, "gpu0", "held")
        for code, cure in cures.items():
            nvml.set({"error.nvmlInitWithFlags": code})
            told = f"NVML error {code}"
            wait_for(lambda told=told: told in slot(service, "gpu0")["reason"], f"{told} in the reason")
            assert cure in slot(service, "gpu0")["reason"]
        assert service.command("status").returncode == 4

        nvml.set({"error.nvmlInitWithFlags": None})
        service.wait_ready(3)  # the driver was only late


def test_a_driver_that_goes_leaves_the_workers_alone(
    tmp_path: Path, nvml: FakeNvml, sender: LocalSender
) -> None:
    nvml.set({"count": 2})
    with running(tmp_path / "state", NULL_AND_WATCHFUL, **on(nvml)) as service:
        service.wait_ready(2)
        pids = [one["pid"] for one in service.slots()]

        nvml.set({"error.*": 999})
        wait_for(lambda: "999" in (service.status() or {})["supervisor"]["devices_problem"], "the problem")
        job = sender.send(SAMPLES / "soup.mp3")

        wait_for(lambda: finished(sender, job), "a recording done without a driver")
        assert [one["pid"] for one in service.slots()] == pids
        assert {one["device"]["health"] for one in service.slots()} == {"unknown"}


def test_a_lost_gpu_is_held_with_its_cure_and_the_others_go_on(tmp_path: Path, nvml: FakeNvml) -> None:
    with running(tmp_path / "state", NULL_AND_WATCHFUL, **on(nvml)) as service:
        service.wait_ready(3)

        nvml.set({"gpu1.lost": 1})

        held = wait_state(service, "gpu1", "held")
        assert "fallen off the bus" in held["reason"]
        assert "Reboot" in held["reason"]
        assert [slot(service, name)["state"] for name in ("gpu0", "gpu2")] == ["ready", "ready"]


def test_gpus_that_vanish_and_appear_are_followed(tmp_path: Path, nvml: FakeNvml) -> None:
    with running(tmp_path / "state", NULL_AND_WATCHFUL, **on(nvml)) as service:
        service.wait_ready(3)

        nvml.set({"count": 2})
        assert "is gone" in wait_state(service, "gpu2", "held")["reason"]
        nvml.add_gpu(3)
        nvml.add_gpu(2)  # another card in the place of the one that is gone
        nvml.set({"count": 4})

        wait_state(service, "gpu3", "ready")
        assert wait_state(service, "gpu2.2", "ready")["device"]["uuid"] == nvml.uuid(2)
        assert slot(service, "gpu2")["state"] == "held"


def test_memory_that_stays_held_keeps_the_next_worker_out_until_it_is_free(
    tmp_path: Path, nvml: FakeNvml
) -> None:
    holder = subprocess.Popen(["sleep", "300"])
    try:
        with running(tmp_path / "state", NULL_AND_IMPATIENT, **on(nvml)) as service:
            service.wait_ready(3)
            nvml.set({"gpu1.pids": holder.pid, "gpu1.bytes_per_pid": 20 * GIB})

            os.kill(slot(service, "gpu1")["pid"], signal.SIGKILL)

            wait_for(lambda: "are in use by" in slot(service, "gpu1")["reason"], "the gate's reason")
            assert slot(service, "gpu1")["pid"] is None
            held = wait_state(service, "gpu1", "held")
            assert f"20.4 of 24.0 GiB of {nvml.uuid(1)} are in use by {holder.pid} sleep" in held["reason"]
            assert held["state_s"] is not None
            holder.kill()
            holder.wait()
            wait_state(service, "gpu1", "ready")
    finally:
        holder.kill()
        holder.wait()


def test_each_mig_device_has_a_worker_and_its_gpus_faults(tmp_path: Path, nvml: FakeNvml) -> None:
    nvml.set({"count": 2, "gpu0.mig": f"MIG-{os.urandom(4).hex()} - MIG-{os.urandom(4).hex()}"})
    parts = str(nvml.lines["gpu0.mig"]).split(" - ")
    with running(tmp_path / "state", NULL_AND_WATCHFUL, **on(nvml)) as service:
        service.wait_ready(3)

        devices = {one["name"]: environ_of(one["pid"])["CUDA_VISIBLE_DEVICES"] for one in service.slots()}
        assert devices == {"gpu0mig0": parts[0], "gpu0mig2": parts[1], "gpu1": nvml.uuid(1)}
        nvml.xid(0, 48, instance="2/0")

        assert "XID 48" in wait_state(service, "gpu0mig2", "held")["reason"]
        assert nvml.uuid(0) in slot(service, "gpu0mig2")["reason"], "only all of the GPU can be reset"
        assert slot(service, "gpu0mig0")["state"] == "ready"
        nvml.xid(0, 62)

        wait_for(lambda: "XID 62" in slot(service, "gpu0mig0")["reason"], "all of the GPU's fault")
        assert wait_state(service, "gpu0mig0", "held")
        assert slot(service, "gpu1")["state"] == "ready"


@pytest.mark.parametrize("by_uuid", [False, True])
def test_an_inherited_list_restricts_the_pool_in_its_order(
    tmp_path: Path, nvml: FakeNvml, by_uuid: bool
) -> None:
    value = f"{nvml.uuid(2)[:12]},{nvml.uuid(0)}" if by_uuid else "2,0"
    with running(tmp_path / "state", NULL, **on(nvml, CUDA_VISIBLE_DEVICES=value)) as service:
        service.wait_ready(2)

        assert [one["name"] for one in service.slots()] == ["gpu2", "gpu0"]
        owned = [environ_of(one["pid"])["CUDA_VISIBLE_DEVICES"] for one in service.slots()]
        assert owned == [nvml.uuid(2), nvml.uuid(0)]


def test_settings_choose_devices_models_and_faults(tmp_path: Path, nvml: FakeNvml) -> None:
    (tmp_path / "config.toml").write_text(
        '[devices]\ninclude = [0, "NVIDIA L4"]\nexclude = [1]\nworkers_per_device = 2\n'
        'xid = { 79 = "ignore" }\n'
    )
    nvml.set({"gpu0.affinity": 0b1})
    with running(tmp_path / "state", **on(nvml)) as service:
        service.wait_ready(4)
        assert [one["name"] for one in service.slots()] == ["gpu0", "gpu0-2", "gpu2", "gpu2-2"]
        pinned = [os.sched_getaffinity(slot(service, name)["pid"]) for name in ("gpu0", "gpu2")]
        assert pinned == [{0}, os.sched_getaffinity(0)]

        nvml.xid(0, 79)

        judged = wait_for(lambda: log_lines(service, "GPU fault"), "the verdict")
        assert judged[0]["act"] == "ignore"
        assert {one["state"] for one in service.slots()} == {"ready"}


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(tmp_path: Path, nvml: FakeNvml) -> None:
    """On the real device this time: nothing is computed, since nothing is started."""
    nvml.set({"count": 1, "gpu0.total": GIB // 2})
    with running(tmp_path / "state", **{**on(nvml), "REM_COMPUTE": "auto"}) as service:
        held = wait_state(service, "gpu0", "held")

    assert held["reason"].startswith("model tiny.en needs about 1.0 GiB of memory, NVIDIA L4 has 0.5")
    assert held["restarts"] == 0


def test_simulated_gpus_fail_on_demand_and_recover(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[devices]\nfake_gpus = 2\n")
    with running(tmp_path / "state", NULL_AND_WATCHFUL) as service:
        service.wait_ready(2)
        assert "WARNING: 2 simulated GPUs" in service.command("status").stdout

        told = service.command("drill", "gpu", "gpu1", "--recovery-action", "gpu-reset")
        assert told.returncode == 0, told.stderr
        assert "driver recovery action: gpu-reset" in wait_state(service, "gpu1", "held")["reason"]
        assert service.command("drill", "gpu", "gpu1", "--heal").returncode == 0
        wait_state(service, "gpu1", "ready")
        pid = slot(service, "gpu0")["pid"]
        service.command("drill", "gpu", "gpu0", "--xid", "31")
        wait_for(lambda: slot(service, "gpu0")["pid"] not in (None, pid), "another worker")
        refused = service.command("drill", "gpu", "gpu7", "--xid", "31")

    assert refused.returncode == 1
    assert "gpu0, gpu1" in refused.stderr
