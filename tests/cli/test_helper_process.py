"""A short-lived child is read to its end, and never outlives the command that started it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from supervisor.cli.client.errors import CommandFailed
from supervisor.cli.client.helper_process import HelperProcess, for_broker, for_engine
from supervisor.settings.load import Loaded
from supervisor.settings.schema import Settings

ROOT = Path(__file__).resolve().parents[2]


def child(tmp_path: Path, program: str, name: str = "errand_child") -> HelperProcess:
    """Start an errand whose program is `program`."""
    (tmp_path / f"{name}.py").write_text(program, encoding="utf-8")
    return HelperProcess(name, ["verb"], {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]})


def test_lines_come_as_they_are_written_and_chatter_is_passed_over(tmp_path: Path) -> None:
    program = 'print(\'{"event": "queued"}\'); print("chatter"); print("[1]"); print(\'{"event": "done"}\')'

    with child(tmp_path, program) as helper:
        lines = list(helper.lines())
        code = helper.finish()

    assert (lines, code) == ([{"event": "queued"}, {"event": "done"}], 0)


def test_waiting_is_interrupted_for_other_things(tmp_path: Path) -> None:
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        (tmp_path / "go").touch()

    program = f"""
import os, threading
while not os.path.exists({str(tmp_path / "go")!r}):
    threading.Event().wait(0.01)
print('{{"event": "done"}}')
"""
    with child(tmp_path, program) as helper:
        assert list(helper.lines(look)) == [{"event": "done"}]

    assert looks >= 1


def test_a_request_reaches_the_child_letter_by_letter(tmp_path: Path) -> None:
    request = {"ids": ["--all", "\udcff.wav", "a\u2028b"], "many": ["x" * 100] * 20_000}
    (tmp_path / "errand_child.py").write_text(
        "import json, sys\nprint(json.dumps(json.load(sys.stdin)['ids']).join(('{\"ids\": ', '}')))",
        encoding="utf-8",
    )
    env = {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]}

    with HelperProcess("errand_child", ["verb"], env, request=request) as helper:
        lines = list(helper.lines())
        helper.finish()

    assert lines == [{"ids": request["ids"]}]


def test_a_failure_is_told_in_the_childs_last_words(tmp_path: Path) -> None:
    with child(tmp_path, "raise SystemExit('the queue is not there')") as helper:
        assert list(helper.lines()) == []
        with pytest.raises(CommandFailed, match="the queue is not there") as caught:
            helper.finish()

    assert caught.value.code == 1


def test_wrong_settings_stay_wrong_settings(tmp_path: Path) -> None:
    with child(tmp_path, "raise SystemExit(78)") as helper:
        list(helper.lines())
        with pytest.raises(CommandFailed, match=r"errand_child verb: exit 78 \(settings wrong\)") as caught:
            helper.finish()

    assert caught.value.code == 78


def test_leaving_the_block_ends_a_child_that_ignores_the_polite_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.cli.client.helper_process.STOP_WITHIN_S", 0.2)
    program = (
        "import signal, threading; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('{}', flush=True); threading.Event().wait()"
    )

    with child(tmp_path, program) as helper:
        assert next(helper.lines()) == {}

    with pytest.raises(ProcessLookupError):
        os.kill(helper.pid, 0)


def test_a_child_is_found_even_where_the_user_has_a_folder_of_that_name(tmp_path: Path) -> None:
    (Path.cwd() / "supervisor").mkdir()
    (Path.cwd() / "supervisor" / "__init__.py").write_text(
        "raise SystemExit('not this one')", encoding="utf-8"
    )

    with HelperProcess("supervisor.gpuwatch", ["dance"], {"PATH": os.environ["PATH"]}) as helper:
        list(helper.lines())
        with pytest.raises(CommandFailed, match=r"python -m supervisor\.gpuwatch"):
            helper.finish()


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux tells children of a parent's death"
)
def test_a_child_goes_with_a_command_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "errand_child.py").write_text(
        "import os, threading\nprint(f'{{\"pid\": {os.getpid()}}}', flush=True)\nthreading.Event().wait()",
        encoding="utf-8",
    )
    parent = f"""
from supervisor.cli.client.helper_process import HelperProcess
with HelperProcess("errand_child", [], {{"PYTHONPATH": {str(tmp_path)!r}}}) as errand:
    for line in errand.lines():
        print(line["pid"], flush=True)
"""
    command = subprocess.Popen(
        [sys.executable, "-c", parent],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert command.stdout is not None
    pid = int(command.stdout.readline())

    command.kill()
    command.communicate(timeout=30)

    assert is_gone(pid)


def is_gone(pid: int) -> bool:
    """Wait for a process that is not our child to end, for at most half a minute; a zombie has ended."""
    for _ in range(300):
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        threading.Event().wait(0.1)
    return False


def test_credentials_go_to_the_broker_alone() -> None:
    environ = {"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "secret", "DATABASE_PASSWORD": "x", "HF_HOME": "/hub"}
    loaded = Loaded(Settings(state_dir="/s"), {}, {"AWS_PROFILE": "work"})

    for_the_broker, for_the_engine = for_broker(loaded, environ), for_engine(environ, offline=True)

    assert for_the_broker["AWS_SECRET_ACCESS_KEY"] == "secret"
    assert for_the_broker["AWS_PROFILE"] == "work"
    assert "secret" not in for_the_engine.values()
    assert "DATABASE_PASSWORD" not in for_the_engine
    assert (for_the_engine["HF_HOME"], for_the_engine["HF_HUB_OFFLINE"]) == ("/hub", "1")
