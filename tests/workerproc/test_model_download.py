"""A model's name becomes a folder: without the network where it can, once where it can't."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

from supervisor.contract.exits import Exit
from tests.workerproc import loopback_hub
from tests.workerproc.loopback_hub import Hub
from tests.workerproc.process import LIMIT_S, REPOSITORY, model_path
from workerproc.process import models

pytestmark = pytest.mark.slow

BASE = "Systran/faster-whisper-base"
WEIGHTS = bytes(range(256)) * 8_000
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b'{"a": 1}',
    "vocabulary.txt": b"a\nb\n",
    "model.bin": WEIGHTS,
    "README.md": b"not asked for",
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with loopback_hub.running() as hub:
        hub.repositories[BASE] = FILES
        yield hub


class Fetch:
    """`fetch` as a process with its own cache."""

    def __init__(self, home: Path, endpoint: str) -> None:
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(home),
            "HF_HOME": str(home / "hf"),
            "HF_ENDPOINT": endpoint,
            "HF_HUB_ETAG_TIMEOUT": "5",
            "HF_HUB_DOWNLOAD_TIMEOUT": "5",
            "NO_PROXY": "127.0.0.1",
        }
        self.home = home

    def start(self, name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "workerproc", "fetch", name],
            env=self.environment,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, name: str) -> tuple[int, list[dict[str, Any]]]:
        process = self.start(name)
        out, err = process.communicate(timeout=LIMIT_S)
        lines = [json.loads(line) for line in out.splitlines()]
        assert lines, err
        return process.returncode, lines


@pytest.fixture
def fetch(tmp_path: Path, hub: Hub) -> Fetch:
    return Fetch(tmp_path, hub.url)


def ready(result: tuple[int, list[dict[str, Any]]]) -> dict[str, Any]:
    code, lines = result
    assert (code, lines[-1]["event"]) == (Exit.OK, "ready"), lines
    return lines[-1]


def failed(result: tuple[int, list[dict[str, Any]]]) -> dict[str, Any]:
    code, lines = result
    assert (code, lines[-1]["event"]) == (Exit.FAILED, "failed"), lines
    assert lines[-1]["reason"]
    assert lines[-1]["cure"]
    return lines[-1]


def test_cold_model_is_downloaded_once_with_progress_and_then_never_asked_for_again(
    fetch: Fetch, hub: Hub
) -> None:
    cold = fetch("base")
    hub_was_asked_count = len(hub.requests)
    cached = ready(fetch("base"))

    first = ready(cold)
    assert first["source"] == "hub"
    assert (Path(first["path"]) / "model.bin").read_bytes() == WEIGHTS
    assert not (Path(first["path"]) / "README.md").exists()
    progress = [line for line in cold[1] if line["event"] == "progress"]
    assert progress[-1]["done_bytes"] == progress[-1]["total_bytes"] == sum(map(len, FILES.values())) - 13
    assert hub_was_asked_count > 0
    assert (cached["source"], cached["path"]) == ("cache", first["path"])
    assert len(hub.requests) == hub_was_asked_count


def test_cached_model_is_found_while_the_hub_is_down_and_another_one_fails_clearly(tmp_path: Path) -> None:
    with loopback_hub.running() as hub:
        hub.repositories[BASE] = FILES
        fetch = Fetch(tmp_path, hub.url)
        ready(fetch("base"))

    assert ready(fetch("base"))["source"] == "cache"
    answer = failed(fetch("small"))
    assert "model small is not available: it is not on this host" in answer["reason"]
    assert hub.url in answer["reason"]
    assert "HF_ENDPOINT" in answer["cure"]


def test_broken_connection_is_carried_on_from_where_it_broke(fetch: Fetch, hub: Hub) -> None:
    weights = WEIGHTS * 12  # huggingface_hub keeps what came in steps of 10 MB
    hub.repositories[BASE] = {**FILES, "model.bin": weights}
    hub.cuts_bytes = [21_000_000]

    # huggingface_hub 2 carries on by itself, 1 (Python 3.9) when it is asked again, as the supervisor does.
    fetch("base")
    answer = ready(fetch("base"))

    assert (Path(answer["path"]) / "model.bin").read_bytes() == weights
    assert len(hub.ranges) == 1


def test_broken_download_is_not_taken_for_a_model(fetch: Fetch, hub: Hub) -> None:
    hub.cuts_bytes = [100_000, *[0] * 20]

    failed(fetch("base"))
    model_files = list((fetch.home / "hf").rglob("model.bin"))
    hub.cuts_bytes = []
    again = ready(fetch("base"))

    assert model_files == []
    assert again["source"] == "hub"
    assert (Path(again["path"]) / "model.bin").read_bytes() == WEIGHTS


def test_draft_of_a_killed_download_is_cleared_away_once_nobody_writes_it(fetch: Fetch, hub: Hub) -> None:
    blobs = fetch.home / "hf" / "hub" / "models--Systran--faster-whisper-base" / "blobs"
    blobs.mkdir(parents=True)
    old, fresh = blobs / "aa.01234567.incomplete", blobs / "bb.01234567.incomplete"
    old.write_bytes(b"x")
    fresh.write_bytes(b"x")
    os.utime(old, (1, 1))

    ready(fetch("base"))

    assert (old.exists(), fresh.exists()) == (False, True)


def test_folder_that_lacks_the_weights_in_the_cache_is_fetched_anew(fetch: Fetch, hub: Hub) -> None:
    first = ready(fetch("base"))
    (Path(first["path"]) / "model.bin").resolve().unlink()

    again = ready(fetch("base"))

    assert again["source"] == "hub"
    assert (Path(again["path"]) / "model.bin").read_bytes() == WEIGHTS


def test_two_fetchers_at_once_download_the_weights_once(fetch: Fetch, hub: Hub) -> None:
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(fetch("base"))) for _ in range(2)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)

    assert sorted(ready(result)["source"] for result in results) == ["cache", "hub"]
    weights = [line for line in hub.requests if line.startswith("GET") and line.endswith("/model.bin")]
    assert len(weights) == 1


def test_fetch_whose_reader_is_gone_does_not_download_on(fetch: Fetch, hub: Hub) -> None:
    process = fetch.start("base")
    assert process.stdout is not None
    process.stdout.close()

    code = process.wait(LIMIT_S)

    assert process.stderr is not None
    process.stderr.close()
    assert code == Exit.ORPHANED


@pytest.mark.parametrize(
    ("name", "reason", "hub_is_asked"),
    [
        ("bse", "no model is called 'bse'", False),
        ("owner/unknown", "has no repository owner/unknown", True),
        ("./models/mine", "there is no model folder models/mine", False),
        ("/no/such/folder", "there is no model folder /no/such/folder", False),
        ("a/b/c", "there is no model folder a/b/c", False),
        ("../up", "there is no model folder ../up", False),
        ("", "no model is called ''", False),
    ],
)
def test_wrong_name_gets_a_reason_and_a_cure(
    fetch: Fetch, hub: Hub, name: str, reason: str, hub_is_asked: bool
) -> None:
    answer = failed(fetch(name))

    assert reason in answer["reason"]
    assert bool(hub.requests) == hub_is_asked


def test_repository_that_is_no_model_of_ours_is_named_as_such(fetch: Fetch, hub: Hub) -> None:
    hub.repositories["owner/pytorch"] = {"config.json": b"{}", "pytorch_model.bin": b"x"}

    answer = failed(fetch("owner/pytorch"))

    assert "owner/pytorch is not a faster-whisper model: it lacks model.bin" in answer["reason"]


def test_packaged_model_needs_no_hub(fetch: Fetch, hub: Hub) -> None:
    answer = ready(fetch("tiny.en"))

    assert (answer["source"], answer["path"]) == ("package", model_path())
    assert hub.requests == []


def test_folder_is_taken_as_it_is_and_checked(fetch: Fetch, hub: Hub) -> None:
    empty = fetch.home / "empty"
    empty.mkdir()

    answer = ready(fetch(model_path()))
    refused = failed(fetch(str(empty)))

    assert (answer["source"], answer["path"]) == ("folder", model_path())
    assert "it lacks model.bin" in refused["reason"]
    assert hub.requests == []


def test_name_is_not_mistaken_for_a_folder_that_happens_to_be_there(fetch: Fetch, hub: Hub) -> None:
    (fetch.home / "base").mkdir()

    assert ready(fetch("base"))["source"] == "hub"


def test_cache_that_can_not_be_written_is_named(fetch: Fetch, hub: Hub) -> None:
    (fetch.home / "hf").write_text("a file where a folder should be")

    answer = failed(fetch("base"))

    assert "can't be stored in" in answer["reason"]
    assert "HF_HOME" in answer["cure"]


@pytest.mark.parametrize("missing", ["model.bin", "config.json", "tokenizer.json", "vocabulary.txt"])
def test_each_missing_file_makes_a_folder_no_model(tmp_path: Path, missing: str) -> None:
    for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt"):
        (tmp_path / name).write_bytes(b"" if name == missing else b"x")

    assert [missing.split(".")[0] in text for text in models.missing_files(tmp_path)] == [True]


def test_package_is_found_without_being_imported() -> None:
    sys.modules.pop(models.PACKAGE, None)

    found: Optional[Path] = models.packaged("tiny.en")

    assert found is not None
    assert models.packaged("base") is None
    assert models.PACKAGE not in sys.modules
