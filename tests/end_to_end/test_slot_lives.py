"""Workers that crash, hang, refuse or never get ready, and what a person then sees.

A `sitecustomize.py` on the service's PYTHONPATH makes real workers misbehave: Python runs
it first in every process; it acts only in workers (they alone have a slot in their settings).
"""

from __future__ import annotations

import json
import os
import signal
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.running_service import (
    REPOSITORY,
    SAMPLES,
    Service,
    is_alive,
    running,
    wait_for,
)
from tests.end_to_end.senders import LocalSender, finished
from tests.end_to_end.service_with_test_workers import HELD, NULL, go
from tests.workerproc.recordings import two_windows

pytestmark = pytest.mark.slow
IN_WORKER = 'import os\nif \'"slot"\' in os.environ.get("REM_CHILD_SETTINGS", ""):\n'


def misbehaving(folder: Path, code: str) -> dict[str, str]:
    """Give the environment in which every worker runs `code` before anything else."""
    folder.mkdir(exist_ok=True)
    body = IN_WORKER + textwrap.indent(textwrap.dedent(code), "    ")
    (folder / "sitecustomize.py").write_text(body, encoding="utf-8")
    return {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{folder}"}


def quick_settings(folder: Path, text: str) -> None:
    (folder / "config.toml").write_text(text, encoding="utf-8")


def crashes(service: Service) -> list[dict[str, Any]]:
    return list((service.status() or {}).get("crashes", []))


def test_crash_leaves_one_record_with_all_that_is_known(tmp_path: Path) -> None:
    sender = LocalSender(tmp_path / "s" / "local")
    with running(tmp_path / "s", slots=1) as service:
        service.wait_ready(1)
        job = sender.send(two_windows(tmp_path))
        slot = wait_for(service.busy_slot, "a worker at work")

        os.kill(slot["pid"], signal.SIGSEGV)
        record = wait_for(lambda: next(iter(crashes(service)), None), "a crash record")
        wait_for(lambda: finished(sender, job), "the job in the next worker")

    assert (record["slot"], record["pid"], record["death"]) == (slot["name"], slot["pid"], "crash")
    assert "SIGSEGV" in record["ended"]
    assert record["jobs"] == [job]
    kept = [json.loads(path.read_text()) for path in (tmp_path / "s" / "crashes").glob("*.json")]
    assert [one["pid"] for one in kept] == [slot["pid"]]
    assert "worker ready" in " ".join(kept[0]["last_lines"])


def test_worker_that_dies_at_once_is_held_with_the_reason_and_released_by_hand(tmp_path: Path) -> None:
    environ = misbehaving(tmp_path / "site", 'os.write(2, b"cannot even begin\\n")\nos._exit(9)')
    quick_settings(tmp_path, "[supervisor]\nhold_after = 2\n[devices]\ncpu_slots = 1\n")
    with running(tmp_path / "s", NULL, **environ) as service:
        held = wait_for(lambda: [one for one in service.slots() if one["state"] == "held"], "a held slot")
        degraded = service.command("status")
        (tmp_path / "site" / "sitecustomize.py").unlink()
        released = service.command("release", "cpu0")
        service.wait_ready(1)

    assert "2 failed lives in a row" in held[0]["reason"]
    assert "exit 9" in held[0]["reason"]
    assert degraded.returncode == 4
    assert released.returncode == 0
    assert "cannot even begin" in service.log


def test_model_that_is_no_model_is_said_once_and_not_tried_in_a_loop(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with running(tmp_path / "s", WHISPER_MODEL=str(tmp_path / "model")) as service:
        held = wait_for(lambda: [one for one in service.slots() if one["state"] == "held"], "held slots")

    assert all("model" in one["reason"] for one in held)
    assert all(one["restarts"] == 0 for one in held)


def test_worker_that_holds_the_interpreters_lock_is_found_dumped_and_replaced(tmp_path: Path) -> None:
    """PyDLL calls keep the GIL: no thread of the worker can move, no Python handler can run."""
    os.mkfifo(tmp_path / "go")  # its reader waits until the test opens it too: the first worker alone
    code = f"""
        import threading
        def seize():
            open({str(tmp_path / "go")!r}).close()
            import ctypes
            ctypes.PyDLL(None).sleep(600)
        threading.Thread(target=seize, daemon=True).start()
    """
    environ = misbehaving(tmp_path / "site", code)
    quick_settings(tmp_path, "[supervisor]\nsilence_s = 5\n[devices]\ncpu_slots = 1\n")
    sender = LocalSender(tmp_path / "s" / "local")
    with running(tmp_path / "s", **environ) as service:
        service.wait_ready(1)
        first = service.pid_of("cpu0")
        job = sender.send(two_windows(tmp_path))
        wait_for(service.busy_slot, "a worker at work")

        os.close(os.open(tmp_path / "go", os.O_WRONLY | os.O_NONBLOCK))

        wait_for(lambda: finished(sender, job), "the job in the next worker")
        record = crashes(service)[0]

    assert (record["pid"], record["death"]) == (first, "stall")
    assert "silent for 5 s" in service.log
    stacks = Path(record["stacks_path"]).read_text(encoding="utf-8")
    assert "seize" in stacks, "the dump names the function that held the lock"
    assert record["stacks_path"] in service.log


def test_worker_that_ignores_every_word_is_killed_before_the_deadline(tmp_path: Path) -> None:
    """It neither reads its link nor heeds SIGTERM: stopped, as far as anybody can see."""
    sender = LocalSender(tmp_path / "s" / "local")
    quick_settings(tmp_path, "[supervisor]\ndrain_s = 8\n[devices]\ncpu_slots = 1\n")
    with running(tmp_path / "s", HELD) as service:
        service.wait_ready(1)
        sender.send(SAMPLES / "lighthouse.ogg")
        slot = wait_for(service.busy_slot, "a worker at work")
        os.kill(slot["pid"], signal.SIGSTOP)

        code = service.stop()

    assert code == 0
    assert not is_alive(slot["pid"])
    assert sender.left() == 1, "the recording was given back"


def test_stop_interrupts_start_up(tmp_path: Path) -> None:
    environ = misbehaving(tmp_path / "site", "import signal\nsignal.pause()")
    with running(tmp_path / "s", **environ) as service:
        wait_for(lambda: [one for one in service.slots() if one["state"] == "starting"], "a starting worker")

        code = service.stop()

    assert code == 0


def test_stop_interrupts_back_off(tmp_path: Path) -> None:
    environ = misbehaving(tmp_path / "site", "os._exit(9)")
    quick_settings(tmp_path, "[supervisor]\nhold_after = 1000\n")
    with running(tmp_path / "s", **environ) as service:
        wait_for(lambda: [one for one in service.slots() if one["state"] == "backoff"], "a slot in back-off")

        code = service.stop()

    assert code == 0


def leaves_an_orphan(tmp_path: Path, environment: str) -> str:
    """Worker code that starts, once, a process with the place's lock in a session of its own."""
    return f"""
        marker = {str(tmp_path / "orphan")!r}
        if not os.path.exists(marker):
            import fcntl, subprocess, sys
            fds = [int(n) for n in os.listdir("/proc/self/fd")]
            held = [n for n in fds if ".lock" in os.path.realpath(f"/proc/self/fd/{{n}}")]
            words = [sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"]
            child = subprocess.Popen(words, start_new_session=True, pass_fds=held, env={environment})
            open(marker, "w").write(str(child.pid))
    """


def test_grandchild_that_outlives_its_worker_or_supervisor_is_ended_wherever_it_went(tmp_path: Path) -> None:
    """No signal to the group finds it: its mark does, in this life and in the next."""
    environ = misbehaving(tmp_path / "site", leaves_an_orphan(tmp_path, "None"))
    quick_settings(tmp_path, "[devices]\ncpu_slots = 1\n")
    with running(tmp_path / "s", NULL, **environ) as service:
        service.wait_ready(1)
        first = int((tmp_path / "orphan").read_text())
        (tmp_path / "orphan").unlink()
        os.kill(service.pid_of("cpu0"), signal.SIGKILL)
        wait_for(lambda: not is_alive(first), "the end of what the worker left")
        service.wait_ready(1)
        second = int((tmp_path / "orphan").read_text())
        service.process.kill()
        service.process.wait()
        assert is_alive(second)

    with running(tmp_path / "s", NULL, **environ) as service:
        wait_for(lambda: not is_alive(second), "the end of what the former life left")
        service.wait_ready(1)


def test_grandchild_that_hides_keeps_the_place_and_is_named(tmp_path: Path) -> None:
    """Double fork with a session and an environment of its own: only its lock tells of it."""
    environ = misbehaving(tmp_path / "site", leaves_an_orphan(tmp_path, "{}"))
    quick_settings(tmp_path, "[devices]\ncpu_slots = 1\n")
    with running(tmp_path / "s", NULL, **environ) as service:
        service.wait_ready(1)
        orphan = int((tmp_path / "orphan").read_text())
        try:
            os.kill(service.pid_of("cpu0"), signal.SIGKILL)
            slot = wait_for(
                lambda: next((one for one in service.slots() if "taken by pid" in one["reason"]), None),
                "a slot that says who has its place",
            )
        finally:
            os.kill(orphan, signal.SIGKILL)
        service.wait_ready(1)

    assert slot["state"] in ("backoff", "held")


def test_all_workers_killed_at_once_come_back_and_no_job_is_lost(tmp_path: Path) -> None:
    sender = LocalSender(tmp_path / "s" / "local")
    with running(tmp_path / "s", HELD, slots=2) as service:
        service.wait_ready(2)
        jobs = [sender.send(SAMPLES / "soup.mp3") for _ in range(3)]
        wait_for(lambda: sum(len(one["jobs"]) for one in service.slots()) >= 2, "two workers at work")

        for one in service.slots():
            os.kill(one["pid"], signal.SIGKILL)
        go(service)

        for job in jobs:
            record = wait_for(lambda job=job: finished(sender, job), "a finished recording")
            assert record["remAttempt"] == 1


def test_eight_workers_are_gone_a_moment_after_their_supervisor(tmp_path: Path) -> None:
    quick_settings(tmp_path, "[devices]\ncpu_slots = 8\n[supervisor]\nloading_most = 8\n")
    with running(tmp_path / "s") as service:
        pids = wait_for(lambda: found if len(found := service.pids()) == 11 else None, "eight on their way")

        service.process.kill()
        service.process.wait()

        wait_for(lambda: not [pid for pid in pids if is_alive(pid)], "the end of all of them")
    assert len(pids) == 11  # supervisor, broker, gpuwatch and eight workers
