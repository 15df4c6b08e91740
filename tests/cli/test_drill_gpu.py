"""`drill gpu`: what it writes for gpuwatch, and whom it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest

from supervisor.cli import main
from supervisor.cli.arguments import RECOVERY_ACTIONS
from supervisor.gpuwatch.xid import ACTIONS

Make = Callable[..., dict[str, Any]]
Answering = Callable[[dict[str, Any]], list[dict[str, Any]]]


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REM_STATE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def simulated(answering: Answering, status_of: Make, worker: Make, state_dir: Path) -> None:
    """A service with two simulated GPUs, which answers one request."""
    slots = [worker(name=f"gpu{n}", device={"uuid": f"GPU-{n}", "index": n}) for n in range(2)]
    status = status_of(slots=slots)
    status["supervisor"]["fake_gpus"] = 2
    answering({"ok": True, "status": status})


def written(state_dir: Path) -> dict[str, Any]:
    return dict(json.loads((state_dir / "fake-gpus.json").read_text()))


@pytest.mark.usefixtures("simulated")
@pytest.mark.parametrize(
    ("before", "words", "after"),
    [
        ({}, ("--xid", "79"), {"xids": [79]}),
        ({"xids": [79]}, ("--xid", "31"), {"xids": [79, 31]}),
        ({"lost": True}, ("--recovery-action", "gpu-reset"), {"lost": True, "recovery_action": "gpu-reset"}),
        ({}, ("--held-bytes", "5", "--lost"), {"held_bytes": 5, "lost": True}),
        (
            {"lost": True, "xids": [79]},
            ("--heal",),
            {"xids": [79], "healed": 1},
        ),  # told once: the list only grows
        ({"lost": True}, ("--heal",), {}),
    ],
)
def test_a_fault_is_added_to_what_the_gpu_does(
    state_dir: Path, before: dict[str, Any], words: tuple[str, ...], after: dict[str, Any]
) -> None:
    (state_dir / "fake-gpus.json").write_text(json.dumps({"0": {"lost": True}, "1": before}))

    assert main.main(["drill", "gpu", "gpu1", *words]) == 0

    assert written(state_dir) == {"0": {"lost": True}, "1": after}


@pytest.mark.usefixtures("simulated")
def test_a_hang_has_an_end(state_dir: Path) -> None:
    assert main.main(["drill", "gpu", "gpu0", "--hang", "60"]) == 0

    assert written(state_dir)["0"]["hang_until_unix_s"] > 1_700_000_000


@pytest.mark.usefixtures("simulated")
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("gpu9", "--xid", "1"), "there is no slot 'gpu9' with a simulated GPU; known slots: gpu0, gpu1"),
        (("broker", "--lost"), "there is no slot 'broker' with a simulated GPU"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], why: str
) -> None:
    assert main.main(["drill", "gpu", *words]) == 1
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("gpu",), "name the slot whose GPU is to fail: drill gpu SLOT --xid 79"),
        (("gpu", "gpu0"), "name a fault"),
        (("spot", "gpu0"), "takes no slot"),
        (("asg", "gpu0"), "takes no slot"),
    ],
)
def test_a_drill_that_lacks_a_word_or_has_one_too_many_is_a_mistake_in_usage(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], why: str
) -> None:
    """`drill gpu` spoke of a slot None, and `drill spot gpu0` drained all slots."""
    assert main.main(["drill", *words]) == 2

    assert why in capsys.readouterr().err


@pytest.mark.usefixtures("simulated")
def test_a_drill_says_in_words_what_the_gpu_does(capsys: pytest.CaptureFixture[str]) -> None:
    main.main(["drill", "gpu", "gpu1", "--xid", "79", "--held-bytes", "5"])
    told = capsys.readouterr().out

    assert told.startswith("Simulated GPU 1 of gpu1 reports XID 79, keeps 5 bytes allocated.\n")


def test_an_action_that_no_driver_wants_is_refused_and_all_others_are_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.main(["drill", "gpu", "gpu0", "--recovery-action", "reboot"]) == 2

    assert "gpu-reset" in capsys.readouterr().err
    assert set(RECOVERY_ACTIONS) - {"unknown"} <= set(ACTIONS.values())


def test_real_gpus_do_not_fail_on_demand(
    answering: Answering, status_of: Make, capsys: pytest.CaptureFixture[str], state_dir: Path
) -> None:
    answering({"ok": True, "status": status_of()})

    assert main.main(["drill", "gpu", "gpu0", "--xid", "79"]) == 1
    assert "only simulated GPUs can fail on demand" in capsys.readouterr().err
    assert not (state_dir / "fake-gpus.json").exists()
