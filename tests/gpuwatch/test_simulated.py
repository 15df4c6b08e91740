"""Simulated GPUs: told as real ones are, and made to fail by a file."""

from __future__ import annotations

import json
import queue
import threading
from pathlib import Path
from typing import Any, Optional

import pytest

from supervisor.contract.wire.messages import Xid
from supervisor.gpuwatch import simulated
from supervisor.gpuwatch.simulated import IDLE_BYTES, SimulatedGpus


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fake-gpus.json"


def script(path: Path, scripts: Any) -> None:
    path.write_text(json.dumps(scripts))


def nobody(_: Xid) -> None:
    pass


def test_they_are_well_until_told_otherwise(path: Path) -> None:
    report = SimulatedGpus(path, 3, nobody).look()

    assert [gpu.index for gpu in report.gpus] == [0, 1, 2]
    assert {(gpu.health, gpu.recovery_action, gpu.memory_used_bytes) for gpu in report.gpus} == {
        ("ok", "none", IDLE_BYTES)
    }
    assert (report.failed, report.problem) == (False, "")


def test_each_state_directory_has_gpus_of_its_own(tmp_path: Path) -> None:
    uuids = {SimulatedGpus(tmp_path / name / "f.json", 1, nobody).uuid(0) for name in ("a", "b")}

    assert len(uuids) == 2


def test_a_file_makes_them_fail(path: Path) -> None:
    gpus = SimulatedGpus(path, 4, nobody)
    script(
        path,
        {
            "0": {"recovery_action": "gpu-reset"},
            "1": {"lost": True},
            "2": {"held_bytes": 10**9},
            "3": {"recovery_action": "unknown"},
        },
    )

    report = gpus.look()

    assert [gpu.health for gpu in report.gpus] == ["sick", "lost", "ok", "ok"]
    assert report.gpus[0].cure.startswith("Stop the processes that use it, then: sudo nvidia-smi --gpu-reset")
    assert report.gpus[2].memory_used_bytes == IDLE_BYTES + 10**9
    assert report.gpus[3].recovery_action is None
    assert "GPU 1 does not answer" in report.problem


@pytest.mark.parametrize(
    ("told", "action"),
    [
        ({"xids": [31]}, "none"),
        ({"xids": [31, 48]}, "gpu-reset"),
        ({"xids": [48, 79]}, "node-reboot"),
        ({"xids": [79], "healed": 1}, "none"),
        ({"xids": [79, 48], "healed": 1}, "gpu-reset"),
        ({"xids": [79], "recovery_action": "none"}, "none"),
        ({"xids": [79], "recovery_action": "unknown"}, None),
    ],
)
def test_a_simulated_driver_wants_what_its_xids_ask_for_until_they_are_healed(
    path: Path, told: dict[str, Any], action: Optional[str]
) -> None:
    """A drill's XID 79 only restarted the worker: the simulated driver said that nothing was to be done."""
    gpus = SimulatedGpus(path, 1, nobody)
    script(path, {"0": told})

    assert gpus.look().gpus[0].recovery_action == action


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"x": {}}', '{"0": 1}', '{"0": {"xids": "79"}}'])
def test_a_file_that_makes_no_sense_does_nothing(path: Path, text: str) -> None:
    path.write_text(text)

    assert SimulatedGpus(path, 1, nobody).look().gpus[0].health == "ok"


def test_only_xids_that_are_new_are_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "LOOK_FOR_XIDS_EVERY_S", 0.01)
    told: queue.Queue[Xid] = queue.Queue()
    script(path, {"0": {"xids": [13]}})
    gpus = SimulatedGpus(path, 2, told.put)

    script(path, {"0": {"xids": [13, 79]}, "1": {"xids": [31]}})

    found = sorted((told.get(timeout=10) for _ in range(2)), key=lambda xid: xid.xid)
    assert [(one.uuid, one.xid) for one in found] == [(gpus.uuid(1), 31), (gpus.uuid(0), 79)]


def test_a_hang_ends_with_its_time_or_when_it_is_called_off(path: Path) -> None:
    gpus = SimulatedGpus(path, 1, nobody)
    script(path, {"0": {"hang_until_unix_s": 1.0}})
    gpus.look()  # long over
    script(path, {"0": {"hang_until_unix_s": 9e9}})
    looking = threading.Thread(target=gpus.look, daemon=True)
    looking.start()
    looking.join(0.3)
    assert looking.is_alive()

    script(path, {})

    looking.join(10)
    assert not looking.is_alive()
