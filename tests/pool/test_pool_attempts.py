"""A recording that is claimed anew is another attempt: late words of the earlier one change nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from supervisor.contract.wire import messages as m
from supervisor.pool.state.jobs import Stage
from tests.pool.puppet_children import card
from tests.pool.simulated_host import Host


def worked_on_again() -> Host:
    """A host whose job `a` was lost and came again as attempt 2, which its worker has."""
    host = Host(workers=1).begin("a", takes_s=1000).run(10)
    host.broker.say(m.Lost("a", "its lease ran out"))
    again = host.leases["a"] = replace(card("a", 1000), attempt=2)
    host.broker.say(m.Ready(again))
    return host


def test_stop_names_the_attempt_and_the_later_one_is_given_out() -> None:
    host = worked_on_again()

    told = [one for one in host.worker("w0").heard if isinstance(one, (m.Job, m.StopJob))]

    assert [(type(one), getattr(one, "attempt", 0) or one.card.attempt) for one in told] == [
        (m.Job, 1),
        (m.StopJob, 1),
        (m.Job, 2),
    ]


@pytest.mark.parametrize(
    "late",
    [
        m.Staged("a", 10.0, 5.0, attempt=1),
        m.Failed("a", m.Failure.FAILURE, "late", attempt=1),
        m.Stopped("a", attempt=1),
        m.Parts("a", 3, attempt=1),
        m.Checkpoint("a", 5.0, attempt=1),
        m.Beat("working", 9, (m.Progress("a", "writing", 9.0, 9.0, attempt=1),)),
        m.Helped("a", attempt=1),
    ],
    ids=lambda late: type(late).__name__,
)
def test_late_word_of_an_earlier_attempt_changes_nothing(late: Any) -> None:
    host = worked_on_again()
    entry = host.pool.jobs.entries["a"]
    before = replace(entry)
    said_to_broker = len(host.broker.heard)

    host.worker("w0").say(late)

    assert host.pool.jobs.entries["a"] == before
    assert entry.stage is Stage.GIVEN
    assert host.broker.heard[said_to_broker:] == []


def test_words_of_the_present_attempt_count() -> None:
    host = worked_on_again()
    host.staged.add("a")

    host.worker("w0").say(m.Staged("a", 10.0, 5.0, attempt=2))

    assert m.Commit("a", attempt=2) in host.broker.heard


def test_job_that_is_claimed_anew_without_a_word_of_its_loss_is_stopped_and_given_again() -> None:
    host = Host(workers=1).begin("a", takes_s=1000).run(10)
    again = host.leases["a"] = replace(card("a", 1000), attempt=2)

    host.broker.say(m.Ready(again))

    assert m.StopJob("a", "it was claimed anew", attempt=1) in host.worker("w0").heard
    assert host.pool.jobs.entries["a"].card.attempt == 2


def test_ready_that_is_said_again_by_a_brokers_heir_leaves_the_job_with_its_worker() -> None:
    host = Host(workers=1).begin("a", takes_s=1000).run(10)

    host.broker.say(m.Ready(host.leases["a"]))

    assert not any(isinstance(one, m.StopJob) for one in host.worker("w0").heard)
    assert host.has("w0") == ["a"]
