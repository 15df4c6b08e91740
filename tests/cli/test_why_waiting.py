"""`submit --wait` says why nothing happens: it printed "queued" and nothing more."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from supervisor.cli.main import _in_words
from supervisor.cli.text.why_waiting import LEAVE, same_but_for_figures, why_waiting

Make = Callable[..., dict[str, Any]]


def test_a_held_slot_is_named_with_its_reason(status_of: Make, worker: Make) -> None:
    held = worker(state="held", reason="model base is not available")

    assert why_waiting(status_of(slots=[held])) == (
        "No worker is ready (cpu0 held: model base is not available). Waiting; Ctrl-C leaves the jobs queued."
    )


def test_a_model_on_its_way_is_named(status_of: Make, worker: Make) -> None:
    waiting = [worker(state="stopped", reason=f"waiting for the model: {n} %") for n in (3, 14)]

    told = [why_waiting(status_of(slots=[slot])) for slot in waiting]

    assert told[0] == f"No worker is ready (cpu0: waiting for the model: 3 %). {LEAVE}"
    assert same_but_for_figures(told[0]) == same_but_for_figures(told[1])


def test_the_first_seconds_of_a_start_are_not_worth_a_word(status_of: Make, worker: Make) -> None:
    loading = {"state": "starting", "failures": 0, "reason": ""}

    assert why_waiting(status_of(slots=[worker(**loading, state_s=3.0)])) == ""
    assert why_waiting(status_of(slots=[worker(**loading, state_s=20.0)])) == (
        f"No worker is ready (cpu0 starting). {LEAVE}"
    )


def test_a_drained_service_says_how_to_go_on(status_of: Make) -> None:
    drained = {"state": "drained", "reason": "drained by operator"}

    assert why_waiting(status_of(supervisor=drained)) == (
        "The service is drained (drained by operator) and accepts no jobs until rem-supervisor resume. "
        f"{LEAVE}"
    )


@pytest.mark.parametrize("where", ["table", "settings"])
def test_what_does_not_answer_is_named_though_workers_are_ready(status_of: Make, where: str) -> None:
    """Of settings that AWS refuses (another table in the service than in this shell) nothing was said."""
    outages = {"troubles": {where: "AccessDenied"}, "troubles_s": {where: 60.0}}
    supervisor = {**status_of()["supervisor"], **outages}

    assert why_waiting(status_of(supervisor=supervisor)) == f"{where}: AccessDenied. {LEAVE}"


@pytest.mark.parametrize("slots", [["ready"], ["ready", "held"], ["ready", "backoff"]])
def test_where_one_worker_is_ready_recordings_get_on(status_of: Make, worker: Make, slots: list[str]) -> None:
    workers = [worker(name=f"cpu{n}", state=state) for n, state in enumerate(slots)]

    assert why_waiting(status_of(slots=workers)) == ""


@pytest.mark.parametrize("odd", [None, [], {}, "x", {"supervisor": []}, {"supervisor": {"state": 3}}])
def test_a_status_that_makes_no_sense_says_nothing_wrong(odd: Any) -> None:
    assert isinstance(why_waiting(odd), str)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileExistsError(17, "File exists", "bad.toml"), "bad.toml: File exists"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("all gone"), "all gone"),
        (OSError(18, "Invalid cross-device link", "a", None, "b"), "a -> b: Invalid cross-device link"),
        (
            FileNotFoundError(2, "No such file or directory", b"a\xff.wav"),
            "a\udcff.wav: No such file or directory",
        ),
    ],
)
def test_a_systems_error_is_told_without_its_number(error: OSError, words: str) -> None:
    assert _in_words(error) == words
