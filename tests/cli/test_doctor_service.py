"""The doctor and the service that runs here: its own state, its own settings, its own processes."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import psutil
import pytest

from supervisor.cli.doctor import process_checks as processes
from supervisor.cli.doctor import service_checks as service
from supervisor.contract import codec
from supervisor.contract.wire import framing
from supervisor.settings.load import Loaded
from supervisor.settings.schema import DevicesSettings, Settings, TranscriptionSettings

Make = Callable[..., dict[str, Any]]
Talk = Callable[[Callable[[socket.socket], None]], Path]


@pytest.fixture
def service_with(supervisor_that: Talk) -> Callable[[dict[str, Any], Settings], None]:
    """Start a peer that has this status and these settings."""

    def start(status: dict[str, Any], own: Settings) -> None:
        replies = {
            "status": {"ok": True, "status": status},
            "settings": {
                "ok": True,
                "settings": codec.to_plain(own),
                "origins": {"transcription.model": "config.toml"},
            },
        }

        def talk(caller: socket.socket) -> None:
            lines: list[bytes] = []
            splitter = framing.LineSplitter()
            while not lines:
                lines = splitter.feed(caller.recv(65_536))
            caller.sendall(framing.encode_line(replies[framing.decode_line(lines[0])["do"]]))

        supervisor_that(talk)

    return start


def test_without_a_service_the_place_of_its_socket_is_told(state_dir: Path) -> None:
    running = service.ask_service(str(state_dir), {})

    (found,) = service.of_service(running, str(state_dir), {})

    assert (found.state, running.pid) == ("ok", 0)
    assert "not running; its socket would be" in found.detail


def test_a_service_that_is_well_is_named_by_its_pid(status_of: Make) -> None:
    (found,) = service.of_status(status_of())

    assert (found.state, found.detail) == ("ok", "running, pid 4242")


def test_whoever_may_not_ask_is_not_told_to_restart_the_service(state_dir: Path) -> None:
    running = service.RunningService(failure="Permission denied: ... Use sudo.", is_forbidden=True)

    (found,) = service.of_service(running, str(state_dir), {})

    assert (found.state, found.detail, found.cure) == ("fail", running.failure, "")


def test_a_service_that_talks_nonsense_is_a_failure(state_dir: Path, supervisor_that: Talk) -> None:
    supervisor_that(lambda caller: caller.sendall(b"no\n"))

    (found,) = service.of_service(service.ask_service(str(state_dir), {}), str(state_dir), {})

    assert found.state == "fail"


def states(status: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one.state, one.detail, one.cure) for one in service.of_status(status)]


def test_a_held_slot_is_a_failure_with_what_to_do(status_of: Make, worker: Make) -> None:
    """The doctor found nothing that would go wrong while all slots were held."""
    slots = [worker(), worker(name="gpu1", state="held", reason="XID 79. Reboot")]

    (found,) = states(status_of(slots=slots))

    assert found == (
        "fail",
        "gpu1 is held: XID 79. Reboot",
        "Fix the cause, then run rem-supervisor release gpu1",
    )


def test_slots_that_share_a_reason_are_one_failure(status_of: Make, worker: Make) -> None:
    """Where the model could not be fetched, eight GPUs told the same six lines eight times."""
    slots = [worker(name=f"gpu{n}", state="held", reason="no model") for n in range(3)]

    (found,) = states(status_of(slots=slots))

    assert found[1] == "gpu0, gpu1, gpu2 are held: no model"
    assert found[2] == "Fix the cause, then run rem-supervisor release for each of them: gpu0, gpu1, gpu2"


def test_a_slot_that_somebody_drained_is_a_warning(status_of: Make, worker: Make) -> None:
    """The service "runs", with one of two GPUs at rest since yesterday's drain."""
    slots = [worker(), worker(name="gpu1", state="stopped", reason="drained by operator", has_started=True)]

    running, drained = states(status_of(slots=slots))

    assert running[:2] == ("ok", "running, pid 4242")
    assert drained == (
        "warn",
        "gpu1 is stopped: drained by operator",
        "rem-supervisor resume gpu1 starts it again",
    )


def test_a_drained_service_is_a_warning_that_says_how_to_go_on(status_of: Make) -> None:
    supervisor = {**status_of()["supervisor"], "state": "drained", "reason": "drained by operator"}

    (found,) = states(status_of(supervisor=supervisor, slots=[]))

    assert found == (
        "warn",
        "drained, pid 4242; accepts no jobs: drained by operator",
        "rem-supervisor resume accepts jobs again",
    )


def test_what_does_not_answer_the_service_is_a_failure(status_of: Make) -> None:
    outages = {"troubles": {"table": "AccessDenied"}, "troubles_s": {"table": 60.0}}
    supervisor = {**status_of()["supervisor"], **outages}

    assert [found[:2] for found in states(status_of(supervisor=supervisor))] == [
        ("fail", "table: AccessDenied")
    ]


def test_a_service_that_starts_is_no_failure(status_of: Make, worker: Make) -> None:
    loading = worker(state="starting", state_s=2.0, failures=0)

    assert [found[0] for found in states(status_of(slots=[loading]))] == ["warn"]


def test_the_running_services_settings_are_judged_and_differences_named(
    service_with: Callable[..., None], status_of: Make, state_dir: Path
) -> None:
    """It judged the shell's settings, whatever the service had been started with."""
    own = Settings(state_dir=str(state_dir), transcription=TranscriptionSettings(model="small"))
    shell = Loaded(
        dataclasses.replace(own, transcription=TranscriptionSettings(model="base")),
        {"transcription.model": "environment"},
        {"AWS_PROFILE": "work"},
    )
    service_with(status_of(), own)

    running = service.ask_service(str(state_dir), {})
    judged = running.loaded(shell)
    (found,) = service.of_differences(running, shell)

    assert judged is not None
    assert (judged.settings, judged.aws_environment) == (own, {"AWS_PROFILE": "work"})
    assert (
        "transcription.model is 'small' (config.toml) in the service and 'base' (environment) in this shell"
        in found.detail
    )
    assert (found.check, found.state) == ("settings", "warn")


def test_equal_settings_are_no_finding(
    service_with: Callable[..., None], status_of: Make, state_dir: Path
) -> None:
    own = Settings(state_dir=str(state_dir))
    service_with(status_of(), own)

    running = service.ask_service(str(state_dir), {})

    assert list(service.of_differences(running, Loaded(own, {}, {}))) == []


def test_flags_of_run_are_no_difference(
    service_with: Callable[..., None], status_of: Make, state_dir: Path
) -> None:
    own = Settings(state_dir=str(state_dir), devices=DevicesSettings(fake_gpus=3, compute="cpu"))
    service_with(status_of(), own)
    asked = service.ask_service(str(state_dir), {})
    running = dataclasses.replace(asked, origins={"devices.fake_gpus": "flag"})

    assert list(service.of_differences(running, Loaded(Settings(state_dir=str(state_dir)), {}, {}))) == []


def test_a_supervisor_that_tells_no_settings_leaves_the_shells(
    answering: Callable[[dict[str, Any]], Any], status_of: Make, state_dir: Path
) -> None:
    answering({"ok": True, "status": status_of()})
    shell = Loaded(Settings(state_dir=str(state_dir)), {}, {})

    running = service.ask_service(str(state_dir), {})

    assert (running.loaded(shell), list(service.of_differences(running, shell))) == (shell, [])


def test_processes_are_counted_with_their_memory_and_descriptors() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        found = list(processes.of_processes(os.getpid()))
        child.communicate(b"\n", timeout=30)

    assert [one.state for one in found] == ["ok"]
    assert "resident" in found[0].detail
    if hasattr(psutil.Process(), "rlimit"):
        assert "file descriptors open" in found[0].detail


def test_a_stopped_process_is_a_failure_that_says_how_to_continue_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
        found = list(processes.of_processes(child.pid))
        child.send_signal(signal.SIGCONT)
        child.communicate(b"\n", timeout=30)

    assert found[0].state == "fail"
    assert found[0].cure == f"Continue it: kill -CONT {child.pid}"


def test_a_process_that_is_gone_is_said_to_be() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(30)

    assert [one.state for one in processes.of_processes(gone.pid)] == ["warn"]


def test_memory_for_one_worker_is_compared_with_what_is_there() -> None:
    assert processes.of_memory(0).state == "ok"
    assert processes.of_memory(2**60).state == "warn"


def test_no_stray_worker_is_found_where_there_is_none() -> None:
    assert [one for one in processes.of_strays() if str(os.getpid()) in one.detail] == []


def test_processes_that_hide_their_descriptors_are_counted_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The supervisor and the broker hide what they hold from other processes of their user."""

    def hidden(_self: psutil.Process) -> int:
        raise psutil.AccessDenied()

    monkeypatch.setattr(psutil.Process, "num_fds", hidden)

    (found,) = processes.of_processes(os.getpid())

    assert (found.state, "resident" in found.detail, "descriptors" in found.detail) == ("ok", True, False)
