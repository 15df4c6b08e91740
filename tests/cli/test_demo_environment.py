"""Whatever the environment says, the demo speaks to no account and to nobody's service."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from supervisor.cli.demo.demo import SAMPLES, read_samples, start_news
from supervisor.cli.demo.demo_service import MODEL, DemoService, demo_environment
from supervisor.settings.load import ENVIRONMENT, load_settings

HOSTILE = {
    **dict.fromkeys(ENVIRONMENT, "small.en"),
    "AWS_ACCESS_KEY_ID": "id",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_PROFILE": "work",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "REM_SOCKET": "/run/somebody-elses.sock",
    "NOTIFY_SOCKET": "/run/systemd/notify",
    "WATCHDOG_USEC": "30000000",
    "HOME": "/home/me",
    "HF_HOME": "/cache",
}


def test_no_account_no_queue_and_no_service_of_somebody_else_is_named() -> None:
    env = demo_environment(HOSTILE, "/tmp/state")

    assert {name: value for name, value in env.items() if name in ENVIRONMENT} == {
        "WHISPER_MODEL": "small.en",
        "REM_BACKEND": "local",
        "REM_STATE_DIR": "/tmp/state",
    }
    assert {name for name in env if name.startswith("AWS_")} == {"AWS_EC2_METADATA_DISABLED"}
    assert not {"REM_SOCKET", "NOTIFY_SOCKET", "WATCHDOG_USEC"} & set(env)
    assert (env["HOME"], env["HF_HOME"]) == ("/home/me", "/cache")


def test_a_dotenv_in_the_working_folder_is_not_read(tmp_path: Path) -> None:
    Path(".env").write_text("SQS_QUEUE_URL=http://127.0.0.1:9/q\nAWS_PROFILE=work\n", encoding="utf-8")
    (tmp_path / "config.toml").write_text("", encoding="utf-8")

    loaded = load_settings(str(tmp_path / "config.toml"), environ=demo_environment(HOSTILE, str(tmp_path)))

    assert loaded.settings.backend.kind == "local"
    assert loaded.settings.aws.queue_url == ""
    assert loaded.aws_environment == {}


@pytest.mark.parametrize(
    ("named", "used"), [({}, MODEL), ({"WHISPER_MODEL": " "}, MODEL), ({"WHISPER_MODEL": "base"}, "base")]
)
def test_the_model_is_the_packaged_one_unless_one_is_named(named: dict[str, str], used: str) -> None:
    assert demo_environment(named, "/s")["WHISPER_MODEL"] == used


def test_a_models_folder_is_named_in_full_for_the_service_runs_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert demo_environment({"WHISPER_MODEL": "./mine"}, "/s")["WHISPER_MODEL"] == str(tmp_path / "mine")
    assert demo_environment({"WHISPER_MODEL": "owner/name"}, "/s")["WHISPER_MODEL"] == "owner/name"


def test_every_sample_that_is_listed_is_there() -> None:
    samples = read_samples(SAMPLES)

    assert len(samples) >= 3
    assert max(sample.audio_s for sample in samples) > 60
    for sample in samples:
        assert Path(sample.path).stat().st_size > 1_000
    with (SAMPLES / "samples.tsv").open(encoding="utf-8", newline="") as lines:
        assert all(row["text"] for row in csv.DictReader(lines, delimiter="\t"))


def test_what_workers_wait_for_is_told() -> None:
    slots = [
        {"name": "cpu0", "kind": "worker", "state": "starting", "reason": "loading"},
        {"name": "broker", "kind": "broker", "state": "ready", "reason": ""},
        {"name": "cpu1", "kind": "worker", "state": "starting", "reason": "loading"},
        {"name": "cpu2", "kind": "worker", "state": "stopped", "reason": ""},
    ]

    assert start_news({"slots": slots}) == "cpu0, cpu1 starting (loading); cpu2 stopped"
    assert start_news(None) == ""


def test_download_of_the_model_is_read_from_the_status() -> None:
    """It was read from the log by a pattern, and was silent once the log's sentence changed."""
    service = DemoService.__new__(DemoService)
    service._status = None
    assert service.model_news() == ""

    fetch = {"model": "base", "percent": 40, "total_bytes": 145_000_000}
    service._status = {"supervisor": {"model_fetches": [fetch]}}
    assert service.model_news() == "fetching the model: 40 % of 138M"

    service._status = {"supervisor": {"model_fetches": []}}
    assert service.model_news() == ""
