"""The command as a person types it: exit codes, streams, and how it fails."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable

import pytest

from supervisor.cli.main import main
from supervisor.service.state_dir import StateDir
from supervisor.service.status_file import StatusFile
from tests.support import leftovers

Answering = Callable[[dict[str, Any]], list[dict[str, Any]]]
Make = Callable[..., dict[str, Any]]
VERBS = [
    "run", "demo", "submit", "jobs", "redrive",
    "status", "drain", "resume", "restart", "release", "reload",
    "doctor", "config",
]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0

    told = capsys.readouterr().out
    assert f"rem-supervisor {verb}" in told
    assert "--config" in told
    assert "examples:" in told


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["dance"],
        ["submit"],
        ["restart"],
        ["drain", "--deadline", "soon"],
        ["drain", "--deadline", "-1"],
        ["drain", "--deadline", "nan"],
        ["submit", "a.wav", "--wait", "--format", "docx"],
        ["submit", "a.wav", "--format", "txt"],
        ["submit", "a.wav", "--output", "there"],
        ["redrive"],
        ["redrive", "--all", "job-1"],
        ["status", "--config"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_exit_with_2_and_say_why(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(wrong) == 2

    told = capsys.readouterr()
    assert "rem-supervisor" in told.err
    assert told.out == ""


def test_id_that_begins_with_a_dash_is_told_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    """`redrive -x` said "unrecognized arguments: -x" and no more."""
    assert main(["redrive", "-x"]) == 2
    told = capsys.readouterr().err
    assert main(["redrive", "--help"]) == 0

    assert "unrecognized arguments: -x" in told
    assert "begin with - after --" in told
    assert "begin with - after --" in " ".join(capsys.readouterr().out.split())


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("rem-supervisor 0.")


@pytest.mark.parametrize(
    "verb", [["status"], ["config"], ["jobs"], ["submit", "a.wav"], ["drain"], ["run"]], ids=" ".join
)
def test_wrong_settings_exit_with_78_and_name_every_mistake(
    verb: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("config.toml").write_text("[queue]\nlease_s = 5\nlese_s = 6\n", encoding="utf-8")
    monkeypatch.setenv("SQS_QUEUE_URL", "http://127.0.0.1:9/1/queue")

    assert main(verb) == 78

    lines = capsys.readouterr().err.splitlines()
    for name in ("lease_s", "lese_s", "RAW_AUDIO_BUCKET", "TRANSCRIPTS_BUCKET", "DYNAMODB_TABLE"):
        assert any(name in line for line in lines), f"{name} is missing in {lines}"


def test_a_config_file_that_is_not_there_is_a_settings_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--config", "nowhere.toml"]) == 78
    assert "there is no such file" in capsys.readouterr().err


def test_status_without_a_service_exits_with_3(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 3

    told = capsys.readouterr()
    assert f"no supervisor is running on {state_dir}" in told.err
    assert told.out == ""


def test_status_without_a_service_tells_its_last_words(
    state_dir: Path, status_of: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    (state_dir / "status.json").write_text(json.dumps(status_of()), encoding="utf-8")

    assert main(["status"]) == 3

    told = capsys.readouterr().err
    assert "did not stop cleanly" in told
    assert "running, 7 jobs done" in told


def test_status_after_a_clean_stop_says_how_the_service_ended(
    state_dir: Path, status_of: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """It said "Its last snapshot, 2s ago: stopping" of a service that had long ended well."""
    file = StatusFile(StateDir(str(state_dir)), status_of)
    file.write(1000.0, {"state": "stopped", "exit_code": 0, "reason": "stopped"})

    assert main(["status"]) == 3

    assert "ago with exit code 0, 7 jobs done." in capsys.readouterr().err


def test_status_exits_with_0_when_well_and_4_when_degraded(
    answering: Answering, status_of: Make, worker: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = {"ok": True, "status": status_of()}
    answering(reply)
    assert main(["status"]) == 0

    reply["status"] = status_of(slots=[worker(), worker(name="cpu1", state="held")])
    assert main(["status"]) == 4

    assert "degraded: cpu1 is held" in capsys.readouterr().out


def test_status_as_json_is_what_the_supervisor_sent(
    answering: Answering, status_of: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = status_of(news={"from": "a later version"})
    answering({"ok": True, "status": sent})

    assert main(["status", "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == sent


@pytest.mark.parametrize(
    "reply", [{"ok": True}, {"ok": True, "status": []}, {"ok": True, "status": None}], ids=str
)
def test_a_status_that_is_none_is_an_error_and_no_traceback(
    reply: dict[str, Any], answering: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(reply)

    assert main(["status"]) == 1
    assert "has no status" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "request_sent"),
    [
        ("drain", {"do": "drain", "slots": [], "deadline_s": None}),
        ("drain gpu0 gpu1 --deadline 60", {"do": "drain", "slots": ["gpu0", "gpu1"], "deadline_s": 60.0}),
        ("resume gpu0", {"do": "resume", "slots": ["gpu0"]}),
        ("restart gpu0", {"do": "restart", "slot": "gpu0"}),
        ("release gpu0", {"do": "release", "slot": "gpu0"}),
        ("reload", {"do": "reload"}),
    ],
)
def test_orders_reach_the_supervisor_and_its_answer_the_person(
    typed: str, request_sent: dict[str, Any], answering: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = answering({"ok": True, "text": "as you wish"})

    assert main(typed.split()) == 0

    assert requests == [request_sent]
    assert capsys.readouterr().out == "as you wish\n"


def test_a_refused_order_exits_with_1(answering: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    answering({"ok": False, "error": "gpu0 is not held; its state is ready"})

    assert main(["release", "gpu0"]) == 1
    assert capsys.readouterr().err == "rem-supervisor: gpu0 is not held; its state is ready\n"


def test_config_says_where_each_setting_came_from(
    monkeypatch: pytest.MonkeyPatch, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("config.toml").write_text("[queue]\nlease_s = 90\n", encoding="utf-8")
    Path(".env").write_text("WHISPER_MODEL=small\nLOG_LEVEL=DEBUG\n", encoding="utf-8")
    monkeypatch.setenv("LOG_LEVEL", "WARNING")

    assert main(["config"]) == 0

    told = {
        line.split(" = ")[0]: line.split(" = ")[1].split("   # ")
        for line in capsys.readouterr().out.splitlines()
    }
    assert [part.strip() for part in told["queue.lease_s"]] == ["90", "config.toml"]
    assert [part.strip() for part in told["transcription.model"]] == ['"small"', ".env (WHISPER_MODEL)"]
    assert [part.strip() for part in told["log.level"]] == ['"WARNING"', "environment (LOG_LEVEL)"]
    assert [part.strip() for part in told["queue.read_ahead"]] == ["1", "default"]
    assert [part.strip() for part in told["state_dir"]] == [
        json.dumps(str(state_dir)),
        "environment (REM_STATE_DIR)",
    ]


def test_what_config_prints_is_a_config_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    first = capsys.readouterr().out
    Path("again.toml").write_text(first, encoding="utf-8")

    assert main(["config", "--config", "again.toml"]) == 0

    again = capsys.readouterr().out
    assert [line.split("   #")[0].strip() for line in again.splitlines()] == [
        line.split("   #")[0].strip() for line in first.splitlines()
    ]


def rem_supervisor(*args: str, **options: Any) -> subprocess.Popen[str]:
    """Start the command as its own process."""
    root = str(Path(__file__).resolve().parents[2])
    env = {**os.environ, "PYTHONPATH": root, **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, "-m", "supervisor", *args],
        env=env,
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=leftovers.die_with_tests,
        **options,
    )


def test_a_reader_that_leaves_early_is_no_error_worth_a_word() -> None:
    reader, writer = os.pipe()
    os.close(reader)

    command = rem_supervisor("config", stdout=writer)
    os.close(writer)
    told = command.communicate(timeout=30)[1]

    assert told == ""
    assert command.returncode == 141


def test_ctrl_c_ends_a_waiting_command_quietly(supervisor_that: Callable[[Any], Path]) -> None:
    asked = threading.Event()

    def never_answer(_caller: socket.socket) -> None:
        asked.set()

    supervisor_that(never_answer)
    command = rem_supervisor("status")
    assert asked.wait(30), "the command never came"

    command.send_signal(signal.SIGINT)
    out, told = command.communicate(timeout=30)

    assert (command.returncode, out, told) == (130, "", "")


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colour_is_for_terminals_that_want_it(
    no_color: str, coloured: bool, answering: Answering, status_of: Make
) -> None:
    answering({"ok": True, "status": status_of()})
    keyboard, screen = os.openpty()

    command = rem_supervisor("status", stdout=screen, env={"NO_COLOR": no_color, "TERM": "xterm"})
    command.communicate(timeout=30)
    shown = os.read(keyboard, 65_536).decode()
    os.close(screen)
    os.close(keyboard)

    assert command.returncode == 0
    assert "running" in shown
    assert ("\x1b[32m" in shown) is coloured


def test_in_a_pipe_there_is_no_colour(answering: Answering, status_of: Make) -> None:
    answering({"ok": True, "status": status_of()})

    out = rem_supervisor("status", env={"TERM": "xterm"}).communicate(timeout=30)[0]

    assert "running" in out
    assert "\x1b" not in out


def test_names_that_the_terminal_cannot_show_do_not_end_the_command(
    answering: Answering, status_of: Make
) -> None:
    answering({"ok": True, "status": status_of()})

    command = rem_supervisor("status", env={"PYTHONIOENCODING": "ascii"})
    out, told = command.communicate(timeout=30)

    assert command.returncode == 0, told
    assert "\\xb7" in out


def test_watching_goes_on_until_ctrl_c(answering: Answering, status_of: Make) -> None:
    requests = answering({"ok": True, "status": status_of()})
    command = rem_supervisor("status", "--watch", "--json")
    assert command.stdout is not None

    shown = [json.loads(command.stdout.readline()) for _ in range(2)]
    command.send_signal(signal.SIGINT)
    _, told = command.communicate(timeout=30)

    assert shown == [status_of(), status_of()]
    assert len(requests) >= 2
    assert (command.returncode, told) == (130, "")
