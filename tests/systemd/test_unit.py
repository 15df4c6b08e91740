"""The unit file under a real systemd, with the real model: each promise that it makes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.end_to_end.running_service import wait_for
from tests.systemd.unit import NAME, SAMPLES, STATE, Unit

# Each test starts a service, most of them twice, and each start loads a model.
pytestmark = [pytest.mark.slow, pytest.mark.systemd, pytest.mark.timeout(300)]


def test_service_is_active_only_once_a_worker_is_ready(unit: Unit) -> None:
    unit.machine.run("systemctl", "start", "--no-block", NAME)
    seen = []

    def active() -> bool:
        state = unit.get("ActiveState")
        seen.append((state, any(slot["state"] == "ready" for slot in unit.workers())))
        return state == "active"

    wait_for(active, "an active service")

    # The worker was asked after systemd: who is active has a ready one, and before it there was none.
    assert ("activating", False) in seen
    assert seen[-1] == ("active", True)
    assert unit.get("StatusText") == "running: 1 of 1 workers ready, 0 jobs"


def test_loading_longer_than_the_start_timeout_is_no_failure(unit: Unit) -> None:
    """TimeoutStartSec is for a supervisor that says nothing: one that loads asks for more time."""
    unit.drop_in("TimeoutStartSec=3")
    unit.set_environment(WHISPER_MODEL="base")  # not here, and no network to fetch it by

    unit.machine.run("systemctl", "start", "--no-block", NAME)
    wait_for(lambda: ((unit.status() or {}).get("supervisor") or {}).get("uptime_s", 0) > 8, "8 s of life")

    assert unit.show("ActiveState", "NRestarts") == {"ActiveState": "activating", "NRestarts": "0"}
    assert "not available" in unit.get("StatusText")
    unit.stop()
    assert unit.show("Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}


def test_root_shell_finds_the_service_and_submits_to_it(unit: Unit) -> None:
    unit.start()

    shown = unit.command("status")
    done = unit.command("submit", f"{SAMPLES}/harbour.wav", "--wait", "--format", "txt")

    assert shown.returncode == 0, shown.stderr
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 5
    # Whoever wrote them: the service must be able to read, and remove, everything in its state.
    owners = {path.stat().st_uid for path in unit.machine.path(STATE).rglob("*")}
    assert owners == {unit.machine.path(STATE).stat().st_uid}
    assert owners != {0}


def test_children_can_not_speak_to_systemd(unit: Unit) -> None:
    """systemd #25961: these names leak to children, which then seem to be the service."""
    unit.start()

    main = unit.main_pid()
    seen = {pid: Path(f"/proc/{pid}/environ").read_bytes() for pid in unit.processes()}
    leaking = [pid for pid, names in seen.items() if re.search(rb"NOTIFY_SOCKET|WATCHDOG_|LISTEN_", names)]

    assert len(seen) == 4  # supervisor, broker, gpuwatch, worker
    assert [_pid_inside(pid) for pid in leaking] == [main]


def test_watchdog_replaces_a_supervisor_that_stands_still(unit: Unit) -> None:
    unit.drop_in("WatchdogSec=3")
    unit.start()
    job = unit.submit("long.wav")
    unit.wait_in_mid_job()
    before, was = unit.processes(), unit.main_pid()

    unit.kill("STOP")
    unit.wait_ready_after(was)

    assert unit.restarts() == 1
    assert not set(before) & set(unit.processes())
    wait_for(lambda: "Watchdog timeout" in unit.journal(), "systemd's word in the journal")
    unit.wait_done_once(job)


def test_watchdog_leaves_a_working_service_alone(unit: Unit) -> None:
    unit.drop_in("WatchdogSec=2")
    unit.start()
    was = unit.main_pid()

    job = unit.submit("long.wav")
    unit.wait_done_once(job)

    assert unit.main_pid() == was
    assert unit.restarts() == 0


def test_stop_in_mid_job_finishes_or_gives_back_and_is_a_success(unit: Unit) -> None:
    unit.start()
    job = unit.submit("long.wav")
    unit.wait_in_mid_job()

    unit.stop()

    ended = unit.show("ActiveState", "Result", "ExecMainStatus", "NRestarts")
    assert ended == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0", "NRestarts": "0"}
    assert unit.processes() == {}
    if unit.transcript(job) is None:
        assert unit.sender().left() == 1
        unit.start()
    unit.wait_done_once(job)


def test_killed_main_process_comes_back_with_no_orphan_and_the_job_is_done_once(unit: Unit) -> None:
    unit.start()
    job = unit.submit("long.wav")
    unit.wait_in_mid_job()
    before, was = unit.processes(), unit.main_pid()

    unit.kill("KILL")
    wait_for(lambda: not set(before) & set(unit.processes()), f"the end of {before}", 3)
    unit.wait_ready_after(was)

    assert unit.restarts() == 1
    assert len(unit.processes()) == 4
    unit.wait_done_once(job)


def test_wrong_settings_end_the_service_and_are_not_tried_again(unit: Unit) -> None:
    unit.set_config('[devices]\ndevice = "cpu"\ncpu_slots = -1\n\n[worker]\nbeats = 1\n')

    started = unit.machine.run("systemctl", "start", NAME, check=False)

    assert started.returncode != 0
    ended = unit.show("ActiveState", "SubState", "ExecMainStatus", "NRestarts")
    # `auto-restart` would be the substate of one that is tried again.
    assert ended == {"ActiveState": "failed", "SubState": "failed", "ExecMainStatus": "78", "NRestarts": "0"}
    wait_for(lambda: all(key in unit.journal() for key in ("cpu_slots", "worker.beats")), "both mistakes")


def test_reload_takes_good_settings_and_refuses_wrong_ones(unit: Unit) -> None:
    unit.start()
    was = unit.main_pid()

    unit.set_config("[devices]\ncpu_slots = 1\n\n[supervisor]\ndrain_s = -5\n")
    refused = unit.machine.run("systemctl", "reload", NAME, check=False)
    unit.set_config("[devices]\ncpu_slots = 1\ncpu_threads = 2\n")
    taken = unit.machine.run("systemctl", "reload", NAME, check=False)

    assert refused.returncode != 0
    wait_for(lambda: "drain_s" in unit.journal(), "the mistake in the journal")
    assert taken.returncode == 0, unit.journal()[-2000:]
    assert unit.show("ActiveState", "MainPID") == {"ActiveState": "active", "MainPID": str(was)}


def test_unit_file_is_accepted_in_silence_and_its_walls_stand(unit: Unit, say: list[str]) -> None:
    verified = unit.machine.run("systemd-analyze", "verify", NAME, check=False)
    judged = unit.machine.run("systemd-analyze", "security", "--no-pager", NAME, check=False).stdout

    figure = re.search(r"exposure level for \S+: ([\d.]+) (\w+)", judged)

    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    assert figure, judged[-500:]
    version = unit.machine.run("systemctl", "--version").stdout.splitlines()[0]
    say.append(f"{version}; systemd-analyze security: {figure.group(1)} {figure.group(2)} (0 best, 10 worst)")
    assert float(figure.group(1)) < 3.0


def test_what_would_break_cuda_is_off(unit: Unit) -> None:
    off = unit.show("PrivateDevices", "MemoryDenyWriteExecute", "ProcSubset", "PrivateUsers")
    allowed = unit.show("DevicePolicy", "DeviceAllow")

    assert off == {
        "PrivateDevices": "no",
        "MemoryDenyWriteExecute": "no",
        "ProcSubset": "all",
        "PrivateUsers": "no",
    }
    assert allowed["DevicePolicy"] != "closed" or "char-nvidia*" in allowed["DeviceAllow"]


def test_worker_lives_behind_the_walls(unit: Unit) -> None:
    """Not what the file says but what the kernel does, asked of the worker's own process."""
    unit.start()

    (worker,) = unit.worker_pids()
    facts = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{worker}/status").read_text(encoding="ascii").splitlines()
        if ":\t" in line
    )

    assert facts["NoNewPrivs"] == "1"
    assert facts["Seccomp"] == "2"
    assert int(facts["CapBnd"], 16) == 0
    assert facts["Uid"].split()[0] != "0"
    writable = os.stat(f"/proc/{worker}/root/tmp").st_ino != unit.machine.path("/tmp").stat().st_ino
    assert writable  # a /tmp of its own


def _pid_inside(pid: int) -> int:
    """Give a process's pid as the machine counts."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    return int(next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1])
