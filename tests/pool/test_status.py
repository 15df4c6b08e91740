"""The status as people and programs read it: keys are a promise, and what is not known is null."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from supervisor.contract.wire import messages as m
from supervisor.pool import status
from supervisor.pool.state.events import MessageReceived
from tests.pool.simulated_host import Host

SUPERVISOR = {"pid", "uptime_s", "state", "drain_deadline_s", "backend", "profile"}
SLOT = {
    *("name", "kind", "state", "reason", "pid", "uptime_s", "restarts", "rss_bytes", "device", "jobs"),
    *("done", "failed", "audio_s_done", "realtime_factor", "batch_size", "memory"),
}
DEVICE = {
    *("uuid", "name", "memory_used_bytes", "memory_total_bytes", "utilization_ratio", "temperature_c"),
    "health",
}
JOB = {"id", "attempt", "progress_ratio", "audio_s", "started_unix_s"}
GPU = m.Device("GPU-aaaa", "NVIDIA T4", 0, 1_000, 16_000, 0.5, 61.0, "ok")


def facts(host: Host, **changes: Any) -> status.Facts:
    made = status.Facts(
        pid=4242,
        started_at_s=900.0,
        backend="local",
        profile="rem",
        now_s=host.now_s,
        now_unix_s=1_800_000_000.0,
        rss_bytes={},
        devices={"w0": "GPU-aaaa", "w1": ""},
    )
    return replace(made, **changes)


def picture(host: Host, **changes: Any) -> dict[str, Any]:
    """What `status --json` shows: JSON and nothing else."""
    taken: dict[str, Any] = json.loads(json.dumps(status.take(host.pool, facts(host, **changes))))
    return taken


def slot_of(taken: Mapping[str, Any], name: str) -> dict[str, Any]:
    (found,) = [slot for slot in taken["slots"] if slot["name"] == name]
    return dict(found)


def test_every_key_that_was_promised_is_there() -> None:
    host = Host(workers=2).begin("a", "b", takes_s=60).run(10)
    host.post(MessageReceived("gpuwatch", m.Devices((GPU,))))

    taken = picture(host)

    assert taken["version"] == 1
    assert set(taken) >= {"version", "supervisor", "slots", "queue", "totals"}
    assert set(taken["supervisor"]) >= SUPERVISOR
    assert set(taken["queue"]) == {"waiting", "in_flight", "ready"}
    assert set(taken["totals"]) == {"done", "failed", "released", "crashed"}
    for slot in taken["slots"]:
        assert set(slot) >= SLOT
    gpu = slot_of(taken, "w0")
    assert set(gpu["device"]) >= DEVICE
    assert set(gpu["jobs"][0]) >= JOB


def test_working_slot_shows_its_process_its_job_and_its_gpu() -> None:
    host = Host(workers=1).begin("a", takes_s=60).run_until_has("w0")
    pid = host.slot("w0").pid
    given_at_s = host.now_s
    host.post(MessageReceived("gpuwatch", m.Devices((GPU,))))
    host.run(3)
    host.post(MessageReceived("w0", m.Beat("working", 9, (m.Progress("a", "transcribing", 15.0, 60.0),))))

    slot = slot_of(picture(host, rss_bytes={pid: 123_456}), "w0")

    assert (slot["state"], slot["pid"], slot["rss_bytes"], slot["restarts"]) == ("ready", pid, 123_456, 0)
    assert slot["device"]["name"] == "NVIDIA T4"
    assert (slot["device"]["memory_used_bytes"], slot["device"]["utilization_ratio"]) == (1_000, 0.5)
    (job,) = slot["jobs"]
    assert (job["id"], job["attempt"], job["progress_ratio"], job["audio_s"]) == ("a", 1, 0.25, 60.0)
    assert abs(job["started_unix_s"] - (1_800_000_000.0 - (host.now_s - given_at_s))) <= 0.2


def test_what_is_not_known_is_null_and_never_zero() -> None:
    host = Host(workers=1)

    taken = picture(host)
    slot = slot_of(taken, "w0")

    assert taken["queue"] == {"waiting": None, "in_flight": None, "ready": 0}
    assert taken["supervisor"]["drain_deadline_s"] is None
    assert [slot[key] for key in ("pid", "uptime_s", "rss_bytes", "realtime_factor")] == [None] * 4
    assert slot["device"]["uuid"] == "GPU-aaaa"  # planned, but not yet told of
    assert (slot["device"]["health"], slot["device"]["memory_used_bytes"]) == ("unknown", None)


def test_cpu_slot_has_a_device_without_figures_and_the_broker_has_none() -> None:
    host = Host(workers=2).begin().run(10)

    taken = picture(host)

    cpu = slot_of(taken, "w1")["device"]
    assert (cpu["uuid"], cpu["name"], cpu["health"], cpu["temperature_c"]) == (None, "cpu", "ok", None)
    assert slot_of(taken, "broker")["device"] is None


def test_job_whose_length_is_not_known_yet_shows_none() -> None:
    host = Host(workers=1).begin("a", takes_s=60).run_until_has("w0")

    (job,) = slot_of(picture(host), "w0")["jobs"]

    assert (job["progress_ratio"], job["audio_s"]) == (0.0, None)


def test_dead_worker_shows_neither_pid_nor_memory() -> None:
    host = Host(workers=1).begin().run(10)
    pid = host.slot("w0").pid
    host.starts_fail.add("w0")
    host.kill("w0", 1)
    host.run(0.1)

    slot = slot_of(picture(host, rss_bytes={pid: 5}), "w0")

    assert (slot["state"], slot["pid"], slot["rss_bytes"], slot["uptime_s"]) == ("backoff", None, None, None)


def test_speed_is_audio_over_the_time_it_took() -> None:
    host = Host(workers=1).begin("a", "b").run(60)

    slot = slot_of(picture(host), "w0")

    assert (slot["done"], slot["audio_s_done"], slot["realtime_factor"]) == (2, 20.0, 2.0)


def test_drain_shows_the_time_that_is_left_and_drained_shows_none() -> None:
    host = Host(workers=1).begin("a", takes_s=20).run(8)
    host.drain(within_s=100)
    host.run(4)

    draining = picture(host)["supervisor"]
    assert (draining["state"], draining["drain_deadline_s"]) == ("draining", 96.0)

    host.run(60)
    drained = picture(host)["supervisor"]
    assert (drained["state"], drained["drain_deadline_s"]) == ("drained", None)


def test_queue_is_shown_as_the_broker_last_told_it() -> None:
    host = Host(workers=1).begin("a", "b", "c", takes_s=60).run(12)
    host.broker.say(m.QueueState(7, None, 1))

    assert picture(host)["queue"] == {"waiting": 7, "in_flight": None, "ready": 1}


def test_troubles_have_an_age_and_end_with_the_broker_that_told_them() -> None:
    host = Host(workers=1).begin().run(10)
    host.broker.say(m.Trouble("table", "AccessDenied"))
    host.run(20)

    told = picture(host)["supervisor"]
    host.kill("broker", 1)
    after = picture(host)["supervisor"]

    assert told["troubles"] == {"table": "AccessDenied"}
    assert 15 <= told["troubles_s"]["table"] <= 25
    assert (told["health"], told["degraded"]) == ("degraded", ["table: AccessDenied"])
    assert after["troubles"] == {}


CPU_MACHINE = m.Devices((), nvidia_pci=False, problem="libnvidia-ml.so.1 can't be loaded", failed=True)
BROKEN_DRIVER = m.Devices((), nvidia_pci=True, problem="the NVIDIA driver is not loaded", failed=True)


@pytest.mark.parametrize(
    ("wanted", "devices", "problem"),
    [
        ("auto", CPU_MACHINE, ""),
        ("auto", BROKEN_DRIVER, "the NVIDIA driver is not loaded"),
        ("cuda", CPU_MACHINE, "libnvidia-ml.so.1 can't be loaded"),
        ("cpu", BROKEN_DRIVER, ""),
    ],
)
def test_a_missing_driver_is_a_problem_only_where_a_gpu_is_wanted(
    wanted: str, devices: m.Devices, problem: str
) -> None:
    """Every CPU-only machine was told to install the NVIDIA driver."""
    host = Host(workers=1).begin().run(10)
    host.post(MessageReceived("gpuwatch", devices))

    taken = picture(host, wanted_device=wanted)

    assert taken["supervisor"]["devices_problem"] == problem
    assert taken["supervisor"]["health"] == ("degraded" if problem else "ok")


def test_a_status_names_what_computes_and_where() -> None:
    more = {"version": "1.2", "model": "small", "compute_type": "float16"}

    taken = picture(Host(workers=1), host_name="gpu-7", **more)["supervisor"]

    assert {key: taken[key] for key in (*more, "host")} == {**more, "host": "gpu-7"}


def test_a_crash_says_how_long_ago_it_was() -> None:
    crash = {"slot": "w0", "at_unix_s": 1_799_999_990.0}

    (shown,) = picture(Host(workers=1), crashes=[crash])["crashes"]

    assert shown["ago_s"] == 10.0


def test_a_slot_that_never_started_has_waited_no_longer_than_the_service_is_up() -> None:
    """Its age was that of the machine: a model's fetch looked like a start of many days."""
    slot = slot_of(picture(Host(workers=1), started_at_s=990.0), "w0")

    assert (slot["has_started"], slot["state_s"]) == (False, 10.0)


def test_the_broker_shows_how_long_it_has_said_nothing() -> None:
    host = Host(workers=1).begin().run(10)
    host.broker.say(m.QueueState(7, None, 1))
    taken = picture(host, now_s=host.now_s + 45)

    assert slot_of(taken, "broker")["silent_s"] == 45.0
    assert slot_of(taken, "w0")["silent_s"] is None
    assert taken["supervisor"]["degraded"] == ["broker has said nothing for 45 s"]
