"""The watching process: what it tells, that it leaves, and that a hung driver can't hold it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.contract import codec
from supervisor.contract.exits import Exit
from supervisor.contract.wire import framing, messages
from supervisor.contract.wire.blocking_link import BlockingLink
from supervisor.contract.wire.messages import TO_GPUWATCH, Device, Devices, Look, Up, Xid
from supervisor.gpuwatch import check, pci, watch
from supervisor.gpuwatch.report import GpuReport, devices_of
from tests.support import leftovers

A = Device("GPU-a", "A10", 0)


class Script:
    """A source that gives the sights it was given, the last one for ever."""

    def __init__(self, *sights: GpuReport) -> None:
        self._sights = list(sights)

    def look(self) -> GpuReport:
        return self._sights.pop(0) if len(self._sights) > 1 else self._sights[0]


class HangingDriver:
    """A call into the driver that comes back only when the test lets it."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def look(self) -> GpuReport:
        self.go_on.wait(60)
        return GpuReport((A,))


@pytest.fixture
def link() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    with ours, theirs:
        yield ours, theirs


def linked(side: socket.socket) -> BlockingLink[Look]:
    return BlockingLink(side, TO_GPUWATCH)


def serve(side: socket.socket, source: watch.GpuSource) -> Exit:
    link = linked(side)
    return watch.serve(link, watch.Watch(link, source))


def read(side: socket.socket, count: int) -> list[Any]:
    """Read so many messages, waiting for each."""
    splitter, found = framing.LineSplitter(), []
    while len(found) < count:
        data = side.recv(65_536)
        assert data, "the link ended early"
        found += [messages.read(line, messages.FROM_GPUWATCH) for line in splitter.feed(data)]
    assert len(found) == count
    return found


def test_devices_come_first_and_then_the_word_that_it_is_up(link: Any) -> None:
    ours, theirs = link
    watching = watch.Watch(linked(theirs), Script(GpuReport((A, Device("GPU-b", "T4", 1)))))

    assert watching.look_once() is False

    devices, up = read(ours, 2)
    assert [gpu.uuid for gpu in devices.devices] == ["GPU-a", "GPU-b"]
    assert up == Up("2 GPUs: A10, T4")


def test_only_news_is_told_between_two_regular_reports(link: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = link
    now_s = [100.0]
    monkeypatch.setattr(watch.clock, "now_s", lambda: now_s[0])
    broken = GpuReport((), "NVML error 999 (Unknown Error)", failed=True)
    watching = watch.Watch(linked(theirs), Script(GpuReport((A,)), GpuReport((A,)), GpuReport((A,)), broken))

    watching.look_once()
    now_s[0] += 5
    watching.look_once()
    assert len(read(ours, 2)) == 2  # the first Devices and Up, and nothing of the second look
    now_s[0] += 25
    watching.look_once()
    assert read(ours, 1) == [Devices((A,), pci.has_nvidia_gpu(), looked_at_s=130.0)]
    assert watching.look_once() is True
    failed = Devices((A,), pci.has_nvidia_gpu(), "NVML error 999 (Unknown Error)", True, 130.0)
    assert read(ours, 1) == [failed]


def test_a_driver_that_hangs_is_reported_by_the_other_thread(
    link: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = link
    driver = HangingDriver()
    watching = watch.Watch(linked(theirs), driver)
    looking = threading.Thread(target=watching.look_once)
    monkeypatch.setattr(watch, "FIRST_HANGS_AFTER_S", 0.0)
    looking.start()

    while True:  # until the look has begun
        watching.report_if_stuck()
        if watching._last is not None:
            break
    devices, up = read(ours, 2)
    driver.go_on.set()
    looking.join()

    assert "the NVIDIA driver has not answered" in devices.problem
    assert up.detail.startswith("no GPU: the NVIDIA driver has not answered")
    assert [gpu.uuid for gpu in read(ours, 1)[0].devices] == ["GPU-a"]


def test_the_end_of_the_link_is_noticed_while_the_driver_hangs(link: Any) -> None:
    ours, theirs = link
    driver = HangingDriver()
    codes: list[Exit] = []
    serving = threading.Thread(target=lambda: codes.append(serve(theirs, driver)))
    serving.start()

    ours.close()
    serving.join(20)
    driver.go_on.set()
    for thread in threading.enumerate():
        if thread.name == "nvml":
            thread.join(20)

    assert codes == [Exit.OK]


def test_a_fault_of_ours_ends_the_process_instead_of_leaving_it_deaf(
    link: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty:
        def look(self) -> GpuReport:
            raise ZeroDivisionError("a bug")

    _, theirs = link

    assert serve(theirs, Faulty()) == Exit.FAILED
    assert "ZeroDivisionError: a bug" in caplog.text


@pytest.fixture
def process() -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    """The real process, as the supervisor starts it."""
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    environ = {
        **os.environ, "REM_LINK_FD": str(theirs.fileno()), "REM_PARENT_PID": str(os.getpid()),
        "REM_CHILD_SETTINGS": "{}",
    }  # fmt: skip
    started = subprocess.Popen(
        [sys.executable, "-m", "supervisor.gpuwatch"], pass_fds=[theirs.fileno()], env=environ,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=leftovers.die_with_tests,
    )  # fmt: skip
    theirs.close()
    with ours:
        yield started, ours
    try:
        started.wait(10)
    finally:
        started.kill()
        started.communicate()


@pytest.mark.slow
def test_the_real_process_tells_devices_ignores_signals_and_leaves_with_the_link(process: Any) -> None:
    started, ours = process

    devices, up = read(ours, 2)
    started.send_signal(signal.SIGTERM)
    started.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        started.wait(0.3)
    ours.close()

    assert isinstance(devices, Devices)
    assert isinstance(up, Up)
    assert started.wait(30) == 0
    assert started.stdout.read() == ""


def test_started_by_hand_it_says_who_starts_it() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "REM_LINK_FD"}

    done = subprocess.run(
        [sys.executable, "-m", "supervisor.gpuwatch"], env=environ, capture_output=True, text=True, timeout=30
    )

    assert done.returncode == Exit.USAGE
    assert "rem-supervisor starts it" in done.stderr


def test_the_check_prints_one_json_object_a_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "supervisor.gpuwatch", "check"], capture_output=True, text=True, timeout=60
    )

    *lines, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines
    assert codec.from_plain(Devices, last["devices"])
    assert all(set(line) == {"check", "state", "detail", "cure"} for line in lines)
    assert done.returncode == (1 if any(line["state"] == "fail" for line in lines) else 0)


@pytest.mark.parametrize(
    ("report", "nvidia_pci", "states"),
    [
        (GpuReport((), "no library. Install", failed=True), False, ["ok"]),
        (GpuReport((), "no library. Install", failed=True), True, ["fail"]),
        (GpuReport((A,)), True, ["ok", "ok"]),
        (GpuReport((A,), "GPU 1 does not answer. Reboot"), True, ["warn", "ok"]),
    ],
)
def test_the_check_fails_only_where_a_gpu_is_there_and_none_can_be_used(
    report: GpuReport, nvidia_pci: bool, states: list[str]
) -> None:
    lines = list(check.findings(devices_of(report, {}, nvidia_pci, None)))

    assert [line["state"] for line in lines] == states
    assert all(line["cure"] for line in lines if line["state"] in ("warn", "fail"))


@pytest.mark.parametrize(
    ("vendor", "kind", "is_gpu"),
    [
        ("0x10de", "0x030000", True),
        ("0x10de", "0x030200", True),
        ("0x10DE", "0x030200", True),
        ("0x10de", "0x040300", False),  # the GPU's own audio
        ("0x1002", "0x030000", False),
        ("0x10de", "0x068000", False),  # an NVSwitch
    ],
)
def test_a_gpu_on_the_bus_is_told_from_its_audio_and_from_others(
    tmp_path: Path, vendor: str, kind: str, is_gpu: bool
) -> None:
    for name, values in (("0000:00:00.0", ("0x8086", "0x060000")), ("0000:01:00.0", (vendor, kind))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{values[0]}\n")
        (tmp_path / name / "class").write_text(f"{values[1]}\n")
    (tmp_path / "0000:02:00.0").mkdir()  # without files: gone while we look

    assert pci.has_nvidia_gpu(tmp_path) is is_gpu


def test_a_machine_without_a_pci_bus_has_no_nvidia_gpu(tmp_path: Path) -> None:
    assert pci.has_nvidia_gpu(tmp_path / "absent") is False


def test_an_xid_that_comes_a_thousand_times_is_told_once_in_a_burst(
    link: tuple[socket.socket, socket.socket],
) -> None:
    """Each used to be told: a failing GPU kept the supervisor's loop and its log busy."""
    ours, theirs = link
    watching = watch.Watch(linked(theirs), Script(GpuReport((A,))))
    for n in range(1_000):
        watching.report_xid(Xid("GPU-a", 79 if n % 2 else 31, float(n) / 1_000))
    theirs.shutdown(socket.SHUT_WR)

    told = framing.LineSplitter().feed(b"".join(iter(lambda: ours.recv(65_536), b"")))
    assert [messages.read(line, messages.FROM_GPUWATCH).xid for line in told] == [31, 79]
