"""The status as text: everything known is shown, nothing unknown breaks it, it fits 100 columns."""

from __future__ import annotations

import itertools
import json
from typing import Any, Callable

import pytest

from supervisor.cli.text.status_text import WIDTH, status_text

Make = Callable[..., dict[str, Any]]


def test_a_healthy_service_is_told_in_full(status_of: Make, worker: Make) -> None:
    job = {"id": "rec-1", "attempt": 2, "progress_ratio": 0.5, "audio_s": 71.4, "started_unix_s": 1.0}

    text = status_text(status_of(slots=[worker(jobs=[job])]))

    lines = text.splitlines()
    assert lines[0] == "rem-supervisor running · pid 4242 · up 1m15s · backend local · profile rem"
    assert lines[3].split() == ["cpu0", "ready", "4243", "1m10s", "0", "210M", "7", "1", "8.4x", "cpu"]
    assert "rec-1  cpu0    2  [############............]  50 %   1:11" in lines
    assert "queue   3 waiting · 1 in flight · 2 fetched" in lines
    assert "totals  7 done · 1 failed · 0 returned to queue · 2 crashed" in lines
    assert "degraded" not in text


def test_a_gpu_shows_memory_heat_and_load(status_of: Make, worker: Make) -> None:
    device = {
        "uuid": "GPU-1",
        "name": "NVIDIA L4",
        "memory_used_bytes": 3 * 1024**3,
        "memory_total_bytes": 23 * 1024**3,
        "utilization_ratio": 0.88,
        "temperature_c": 67.0,
        "health": "xid 63",
    }

    text = status_text(status_of(slots=[worker(name="gpu0", device=device)]))

    assert "NVIDIA L4 xid 63 3.0G/23G 67C 88%" in text


def test_a_held_slot_says_why_below_its_line(status_of: Make, worker: Make) -> None:
    held = worker(state="held", reason="device: GPU-1 fell off the bus, reboot the machine", pid=None)

    lines = status_text(status_of(slots=[held])).splitlines()

    assert lines[0] == (
        "rem-supervisor degraded: cpu0 is held: device: GPU-1 fell off the bus, reboot the machine"
    )
    assert lines[1].startswith("pid 4242 · up 1m15s")
    assert lines[5] == "    device: GPU-1 fell off the bus, reboot the machine"


def test_each_further_fault_has_a_line_of_its_own_at_the_head(status_of: Make, worker: Make) -> None:
    outages = {"troubles": {"table": "AccessDenied"}, "troubles_s": {"table": 95.0}}
    supervisor = {**status_of()["supervisor"], **outages}

    lines = status_text(status_of(supervisor=supervisor, slots=[worker(state="held")])).splitlines()

    assert lines[:2] == ["rem-supervisor degraded: cpu0 is held", "degraded: table: AccessDenied"]
    assert lines[-1] == "problem: table (for 1m35s): AccessDenied"


def test_a_normal_start_is_called_starting(status_of: Make, worker: Make) -> None:
    loading = worker(state="starting", state_s=2.0, failures=0)

    assert status_text(status_of(slots=[loading])).startswith("rem-supervisor starting · pid 4242")


def test_a_fault_during_a_drain_leaves_the_drain_in_sight(status_of: Make, worker: Make) -> None:
    drained = {"state": "drained", "pid": 1, "uptime_s": 3.0}

    text = status_text(status_of(supervisor=drained, slots=[worker(state="held")]))

    assert text.startswith("rem-supervisor drained, degraded: cpu0 is held")


def test_the_head_says_what_computes_and_where(status_of: Make) -> None:
    more = {"model": "small", "compute_type": "float16", "version": "0.1.0", "host": "gpu-7"}
    supervisor = {**status_of()["supervisor"], **more}

    lines = status_text(status_of(supervisor=supervisor)).splitlines()

    assert lines[0].endswith("model small")
    assert lines[1] == "compute type float16 · version 0.1.0 · host gpu-7"
    assert max(map(len, lines)) <= WIDTH


def test_the_newest_crash_is_shown_with_its_record(status_of: Make) -> None:
    """README said that `status` shows it; only --json did."""
    path = "/var/lib/rem-supervisor/crashes/1800000000.000-gpu0.json"
    crash = {"slot": "gpu0", "ended": "killed by SIGKILL", "ago_s": 130.0, "jobs": ["a", "b"], "xids": [79]}
    older = {"slot": "gpu1", "ended": "exit code 1", "ago_s": 900.0}

    lines = status_text(status_of(crashes=[{**crash, "path": path}, older])).splitlines()

    assert lines[-2:] == [
        "last crash: gpu0, 2m10s ago: killed by SIGKILL; XID 79; jobs: a, b",
        f"  record: {path}",
    ]


def test_a_drain_shows_how_long_it_may_take(status_of: Make) -> None:
    supervisor = {"state": "draining", "drain_deadline_s": 95.0, "pid": 1, "uptime_s": 3.0}

    assert "draining (deadline in 1m35s)" in status_text(status_of(supervisor=supervisor))


def test_a_notice_is_shown_with_what_it_leaves(status_of: Make) -> None:
    notice = {"kind": "spot", "action": "stop", "deadline_s": 95.0, "drill": False, "withdrawn": False}
    drained = {"state": "drained", "reason": "spot stop at 2026-11-22T13:00:00Z", "notice": notice}

    lines = status_text(status_of(supervisor=drained)).splitlines()

    assert lines[1:3] == ["Reason: spot stop at 2026-11-22T13:00:00Z", "Notice: spot stop, 1m35s left"]


def test_a_notice_that_is_over_says_so_and_a_strange_one_breaks_nothing(status_of: Make) -> None:
    over = {"state": "running", "notice": {"kind": "asg", "action": "terminate", "withdrawn": True}}
    drill = {"state": "running", "notice": {"kind": "spot", "action": "stop", "drill": True}}

    assert "Notice: asg terminate, withdrawn" in status_text(status_of(supervisor=over))
    assert "Notice: spot stop, - left (drill)" in status_text(status_of(supervisor=drill))
    for strange in ([], "soon", 7, None, {"kind": 1, "deadline_s": "x"}):
        assert status_text(status_of(supervisor={"state": "running", "notice": strange}))


def test_what_does_not_answer_outside_is_told(status_of: Make) -> None:
    supervisor = {"state": "running", "troubles": {"queue": "throttled"}}

    assert "problem: queue: throttled" in status_text(status_of(supervisor=supervisor))


def test_text_from_the_queue_cannot_steer_the_terminal(status_of: Make, worker: Make) -> None:
    job = {"id": "\x1b[2J\r\nrec", "attempt": 1}

    text = status_text(status_of(slots=[worker(jobs=[job], state="held", reason="\x1b]0;x\x07")]))

    assert "\x1b" not in text
    assert "\r" not in text


def test_paint_changes_colours_and_nothing_else(status_of: Make, worker: Make) -> None:
    status = status_of(slots=[worker(), worker(name="cpu1", state="held", reason="crash-loop")])

    painted = status_text(status, lambda text, style: f"<{style}>{text}</{style}>")

    assert "<good>ready</good>" in painted
    assert "<bad>held</bad>" in painted
    stripped = painted
    for style in ("good", "warn", "bad", "faint", "bold"):
        stripped = stripped.replace(f"<{style}>", "").replace(f"</{style}>", "")
    assert stripped == status_text(status)


def test_even_the_fullest_status_fits_its_columns(status_of: Make, worker: Make) -> None:
    device = {
        "uuid": "GPU-" + "a" * 36,
        "name": "NVIDIA RTX 6000 Ada Generation " * 3,
        "memory_used_bytes": 10**12,
    }
    before = {"phase": "listening", "phase_ratio": 1.0}
    job = {"id": "j" * 200, "attempt": 12, "progress_ratio": 1.0, "audio_s": 43_200.0, **before}
    slot = worker(
        name="mig-" + "0" * 40,
        state="backoff",
        reason="why " * 100,
        pid=4_194_304,
        uptime_s=10**8,
        restarts=99_999,
        rss_bytes=10**13,
        done=10**7,
        failed=10**6,
        realtime_factor=1234.5,
        device=device,
        jobs=[job],
    )

    facts = {"model": "m" * 300, "host": "h" * 64, "version": "1.2.3", "backend": "aws", "profile": "fast"}
    supervisor = {"state": "running", "troubles": {"q": "t" * 300}, "pid": 1, "uptime_s": 10**8, **facts}
    crash = {"slot": "s" * 40, "ended": "e" * 300, "ago_s": 10**8, "jobs": ["j" * 200]}
    text = status_text(status_of(slots=[slot] * 12, supervisor=supervisor, crashes=[crash]))

    assert max(map(len, text.splitlines())) <= WIDTH


ODD_VALUES: list[Any] = [None, "", "text", -1, 0, 1.5, True, [], {}, [None], ["text"], {"a": 1}, 10**30]


@pytest.mark.parametrize("odd", ODD_VALUES, ids=repr)
def test_no_missing_or_odd_value_breaks_the_table(status_of: Make, worker: Make, odd: Any) -> None:
    before = {"phase": "listening", "phase_ratio": 0.5}
    job = {"id": "j", "attempt": 1, "progress_ratio": 0.1, "audio_s": 3.0, **before}
    full = status_of(slots=[worker(jobs=[job])])
    paths = [(key,) for key in full]
    paths += [(key, sub) for key in ("supervisor", "queue", "totals") for sub in full[key]]
    slot_keys = [("slots", 0, key) for key in full["slots"][0]]
    job_keys = [("slots", 0, "jobs", 0, key) for key in job]
    device_keys = [
        ("slots", 0, "device", key) for key in ("name", "memory_used_bytes", "temperature_c", "health")
    ]

    for path in itertools.chain(paths, slot_keys, job_keys, device_keys):
        status = json.loads(json.dumps(full))
        target = status
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = odd

        assert status_text(status).startswith("rem-supervisor")
        target.pop(path[-1])
        assert status_text(status).startswith("rem-supervisor")


def test_what_nobody_wants_in_production_is_said_loudly(status_of: Make) -> None:
    status = status_of()
    status["supervisor"].update(compute="cpu", fake_gpus=4, devices_problem="NVML error 999. Start it anew")

    lines = status_text(status).splitlines()

    assert lines[0] == "rem-supervisor degraded: GPUs: NVML error 999. Start it anew"
    assert lines[3].startswith("WARNING: 4 simulated GPUs")
    assert lines[4].startswith("WARNING: CPU inference is forced")
    assert lines[5] == "devices: NVML error 999. Start it anew"


def test_a_held_slot_says_for_how_long(status_of: Make, worker: Make) -> None:
    text = status_text(status_of(slots=[worker(state="held", reason="XID 79", state_s=75.0)]))

    assert "    for 1m15s: XID 79" in text.splitlines()


def test_a_gpu_says_what_slows_it_down_and_that_nothing_is_known_of_it(status_of: Make, worker: Make) -> None:
    slow = {"uuid": "GPU-1", "name": "L4", "power_w": 71.6, "throttle": ["power cap"], "health": "ok"}
    dark = {"uuid": "GPU-2", "name": "L4", "health": "unknown"}
    sick = {"uuid": "GPU-3", "name": "L4", "power_w": 20.0, "health": "sick"}
    slots = [worker(name=f"gpu{n}", device=device) for n, device in enumerate((slow, dark, sick))]

    text = status_text(status_of(slots=slots))

    assert "L4 72W power cap" in text
    assert "L4 health unknown" in text
    assert "L4 unhealthy 20W" in text  # before the figures: the end of a long line is cut off


def test_what_to_correct_in_the_settings_is_shown_to_its_end(status_of: Make) -> None:
    said = "table rem-x has the keys userId and recordingId; rem-supervisor needs PK and SK (both strings). "
    said += "Set DYNAMODB_TABLE to REM's table."
    supervisor = {"state": "running", "troubles": {"settings": said}, "troubles_s": {"settings": 3.0}}

    shown = status_text(status_of(supervisor=supervisor))

    assert f"settings (for 3s): {said}" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 100
