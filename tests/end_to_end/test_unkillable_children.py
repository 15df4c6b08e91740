"""Processes that not even SIGKILL ends: a watch is left behind, a worker's device is not used again."""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.end_to_end import debugger
from tests.end_to_end.child_stage import Nursery, Play
from tests.end_to_end.driven_child import log_lines, on, slot, wait_state
from tests.end_to_end.running_service import Service, is_alive, running, wait_for
from tests.end_to_end.service_with_test_workers import NULL, NULL_AND_IMPATIENT
from tests.fake_nvml.build import FakeNvml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def watch_of(service: Service) -> dict[str, Any]:
    return service.slots("gpuwatch")[0]


def test_a_hanging_watch_that_does_not_die_is_left_behind_reported_and_reaped_when_it_ends(
    tmp_path: Path, nvml: FakeNvml
) -> None:
    nvml.set({"count": 1})
    with running(tmp_path / "state", NULL_AND_IMPATIENT, **on(nvml)) as service:
        service.wait_ready(1)
        worker, stuck = slot(service, "gpu0")["pid"], service.pid_of("gpuwatch")
        with debugger.holding(stuck):
            nvml.set({"delay.*": 600_000})
            wait_for(lambda: log_lines(service, "operator attention needed"), "the alarm")
            nvml.set({"delay.*": None})
            wait_for(lambda: watch_of(service)["state"] == "ready", "the next watch")

            alarm = log_lines(service, "operator attention needed")[0]
            assert (alarm["slot"], alarm["what"]) == (
                "gpuwatch", f"pid {stuck} does not die after SIGKILL and is left behind",
            )  # fmt: skip
            assert f"problem: gpuwatch: pid {stuck} hangs in the driver" in service.command("status").stdout
            assert watch_of(service)["pid"] not in (stuck, None)
            wait_for(lambda: slot(service, "gpu0")["device"]["health"] == "ok", "its figures")
            assert Path(f"/proc/{stuck}").exists()

        wait_for(lambda: not Path(f"/proc/{stuck}").exists(), "the stuck one reaped")
        wait_for(lambda: not (service.status() or {})["supervisor"]["troubles"], "no trouble any more")
        assert slot(service, "gpu0")["pid"] == worker, "a worker was disturbed"
        assert is_alive(worker)


def test_a_worker_that_does_not_die_is_reported_with_its_device_and_the_others_go_on(
    tmp_path: Path, nvml: FakeNvml
) -> None:
    nvml.set({"count": 2})
    with running(tmp_path / "state", NULL, **on(nvml)) as service:
        service.wait_ready(2)
        stuck, other = slot(service, "gpu0")["pid"], slot(service, "gpu1")["pid"]
        with debugger.holding(stuck):
            nvml.set({"gpu0.recovery": 1})
            alarm = wait_for(lambda: log_lines(service, "operator attention needed"), "the alarm")[0]

            text = f"pid {stuck} does not die after SIGKILL; its device is not used again"
            assert (alarm["slot"], alarm["device_uuid"], alarm["what"]) == ("gpu0", nvml.uuid(0), text)
            told = slot(service, "gpu0")
            assert (told["state"], told["pid"]) == ("killing", stuck)
            assert text in told["reason"]
            assert "driver recovery action: gpu-reset" in told["reason"]
            assert wait_state(service, "gpu1", "ready")["pid"] == other

            assert service.stop() == 1
            assert f"left behind, would not die: gpu0 (pid {stuck} on {nvml.uuid(0)})" in service.log


def test_a_dead_child_that_a_debugger_holds_costs_no_turns_of_the_loop(
    play: Callable[[Play], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pidfd is readable for as long as it is held; the loop turned as fast as it could."""
    asked: list[int] = []
    waitid = os.waitid

    def counted(*args: Any) -> Any:
        asked.append(args[1])
        return waitid(*args)

    async def story(nursery: Nursery) -> None:
        child = nursery.start("rest()")
        with debugger.holding(child.pid):
            child.signal(signal.SIGKILL)
            monkeypatch.setattr(os, "waitid", counted)
            turns = itertools.count()
            await nursery.until(lambda: next(turns) == 100)
            assert 1 <= len(asked) < 100
            assert not nursery.listener.died_with
        assert await nursery.until_dead() == -signal.SIGKILL

    play(story)
