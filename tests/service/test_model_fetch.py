"""What the model fetch says is taken as it comes: progress, a folder, a failure, or nonsense."""

from __future__ import annotations

import json
import logging

import pytest

from supervisor.service.model_fetch import ModelFetch


def line(**event: object) -> str:
    return json.dumps(event)


def test_folder_that_was_found_ends_the_fetch() -> None:
    fetch = ModelFetch("base")

    fetch.hear(line(event="ready", path="/models/base", source="cache"))

    assert (fetch.path, fetch.ended(0)) == ("/models/base", None)


def test_progress_is_logged_each_tenth_and_not_more(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    fetch = ModelFetch("base")

    for done in range(1001):
        fetch.hear(line(event="progress", done_bytes=done, total_bytes=1000))

    told = [record.percent for record in caplog.records]  # type: ignore[attr-defined]  # a fact of the line
    assert told == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]


@pytest.mark.parametrize(
    "nonsense",
    [
        "downloading...",
        "",
        "[1, 2]",
        "null",
        "[" * 5000,
        line(event="progress"),
        line(event="progress", done_bytes="many", total_bytes=10),
        line(event="progress", done_bytes=1, total_bytes=0),
        line(event="something new"),
        line(no_event=True),
    ],
)
def test_nonsense_changes_nothing(nonsense: str) -> None:
    fetch = ModelFetch("base")

    fetch.hear(nonsense)

    assert (fetch.path, fetch.failure) == ("", "")


def test_failure_is_kept_in_the_words_of_the_child() -> None:
    fetch = ModelFetch("bse")
    fetch.hear(line(event="failed", reason="no model 'bse'", cure="Write base"))

    fetch.ended(1)

    assert fetch.failure == "no model 'bse'. Write base"


def test_end_without_an_answer_is_a_failure_that_says_how_it_ended() -> None:
    fetch = ModelFetch("base")

    fetch.ended(-9)

    assert "killed by SIGKILL" in fetch.failure


def test_tries_are_5_s_apart_at_first_and_5_minutes_at_most() -> None:
    fetch = ModelFetch("base")

    waits_s = [fetch.ended(1) for _ in range(9)]

    assert waits_s == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    for _ in range(2000):
        assert fetch.ended(1) == 300


def test_fetch_that_only_a_person_can_cure_is_not_tried_again_until_somebody_asks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A repository that the hub does not know was asked for again and again, for ever."""
    fetch = ModelFetch("owner/nothing")
    fetch.hear(line(event="failed", reason="no such repository", cure="Correct it", final=True))

    again_s = fetch.ended(1)

    assert again_s is None
    assert fetch.path == ""
    assert [record.getMessage() for record in caplog.records] == ["model not available"]
    assert (fetch.ask_again(), fetch.ask_again()) == (True, False)


def test_fetch_that_time_may_cure_needs_nobody_to_ask() -> None:
    fetch = ModelFetch("base")
    fetch.hear(line(event="failed", reason="no route", cure="", final=False))

    assert fetch.ended(1) == 5
    assert not fetch.ask_again()


def test_a_fetch_that_cannot_even_start_says_why() -> None:
    fetch = ModelFetch("base")

    fetch.hear("Traceback (most recent call last):")
    fetch.hear("ModuleNotFoundError: No module named 'huggingface_hub'")
    fetch.ended(1)

    assert "exit 1 (failed): ModuleNotFoundError: No module named 'huggingface_hub'" in fetch.failure


def test_status_shows_how_far_a_download_is() -> None:
    fetch = ModelFetch("base")
    fetch.hear('{"event": "progress", "done_bytes": 40, "total_bytes": 100}')

    assert (fetch.percent, fetch.total_bytes) == (40, 100)
