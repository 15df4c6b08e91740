"""Who has which job, how far it is, and what a worker's death costs it."""

from __future__ import annotations

import pytest

from supervisor.contract.wire import messages as m
from supervisor.pool.state.jobs import OUTSIDE_KILLS_MOST, Death, JobEntry, JobTable, Stage
from tests.pool.puppet_children import card


def given(*job_ids: str, slot: str = "w0") -> JobTable:
    jobs = JobTable()
    for job_id in job_ids:
        jobs.give(jobs.ready(card(job_id)), slot, 5.0)
    return jobs


def give_back(jobs: JobTable, job_id: str) -> JobEntry:
    """The job is with the worker again, after a death."""
    entry = jobs.entries[job_id]
    assert entry.stage is Stage.WAITING
    jobs.give(entry, "w0", 6.0)
    return entry


@pytest.mark.parametrize("death", [Death.CRASH, Death.STALL])
def test_first_death_makes_a_suspect_and_two_more_alone_end_it(death: Death) -> None:
    jobs = given("a")

    assert jobs.take_back("w0", death) == []
    entry = give_back(jobs, "a")
    assert (entry.suspect, entry.crashes_alone) == (True, 0)

    assert jobs.take_back("w0", death) == []
    assert give_back(jobs, "a").crashes_alone == 1

    (fail,) = jobs.take_back("w0", death)
    assert fail == m.Fail(
        "a",
        m.Failure.CRASH,
        f"its worker died 3 times on this recording (last: {death.value})",
        attempt=1,
    )
    assert (entry.stage, entry.pending) == (Stage.ENDING, fail)


def test_deaths_in_company_never_add_up() -> None:
    jobs = given("a", "b")
    for _ in range(20):
        assert jobs.take_back("w0", Death.CRASH) == []
        for job_id in ("a", "b"):
            assert give_back(jobs, job_id).crashes_alone == 0


def test_death_by_order_changes_nothing_but_the_place() -> None:
    jobs = given("a")
    for _ in range(20):
        assert jobs.take_back("w0", Death.ORDERED) == []
        entry = give_back(jobs, "a")
    assert (entry.suspect, entry.crashes_alone, entry.outside_kills) == (False, 0, 0)


def test_kills_from_outside_are_free_up_to_ten_and_count_as_crashes_from_then_on() -> None:
    jobs = given("a")
    for _ in range(OUTSIDE_KILLS_MOST):
        assert jobs.take_back("w0", Death.KILLED_OUTSIDE) == []
        assert not give_back(jobs, "a").suspect

    assert jobs.take_back("w0", Death.KILLED_OUTSIDE) == []
    assert give_back(jobs, "a").suspect
    assert jobs.take_back("w0", Death.KILLED_OUTSIDE) == []
    give_back(jobs, "a")
    assert len(jobs.take_back("w0", Death.KILLED_OUTSIDE)) == 1


def test_kill_from_outside_of_a_suspect_is_free_as_well() -> None:
    jobs = given("a")
    jobs.take_back("w0", Death.CRASH)
    give_back(jobs, "a")

    jobs.take_back("w0", Death.KILLED_OUTSIDE)

    assert jobs.entries["a"].crashes_alone == 0


def test_only_the_dead_workers_jobs_are_taken_back() -> None:
    jobs = given("a")
    jobs.give(jobs.ready(card("b")), "w1", 5.0)

    jobs.take_back("w0", Death.CRASH)

    assert [entry.card.job_id for entry in jobs.waiting()] == ["a"]
    assert [entry.card.job_id for entry in jobs.given_to("w1")] == ["b"]


@pytest.mark.parametrize(
    "word", [m.Commit("a"), m.Fail("a", m.Failure.REJECTED, "x"), m.Release("a", "drain")]
)
def test_what_the_broker_was_told_stands_whatever_becomes_of_the_worker(word: m.ToBroker) -> None:
    jobs = given("a")
    jobs.end(jobs.entries["a"], word)

    assert jobs.take_back("w0", Death.CRASH) == []

    assert jobs.entries["a"].pending == word
    assert jobs.waiting() == jobs.given_to("w0") == []


def test_suspect_is_told_to_run_alone() -> None:
    jobs = given("a")
    jobs.take_back("w0", Death.CRASH)

    assert jobs.give(jobs.entries["a"], "w1", 7.0) == m.Job(card("a"), alone=True)
    assert jobs.give(jobs.ready(card("b")), "w2", 7.0) == m.Job(card("b"), alone=False)


def test_progress_counts_from_the_worker_that_has_the_job_and_from_no_other() -> None:
    jobs = given("a")
    half = m.Progress("a", "transcribing", 30.0, 60.0)

    jobs.progress("w1", half, 100.0)
    assert jobs.entries["a"].progress_ratio == 0.0
    jobs.progress("w0", half, 100.0)
    assert jobs.entries["a"].progress_ratio == 0.5
    jobs.progress("w0", m.Progress("unknown", "transcribing", 1.0, 1.0), 100.0)
    assert set(jobs.entries) == {"a"}


@pytest.mark.parametrize(
    ("phase", "done_s", "audio_s", "ratio"),
    [
        ("decoding", 30.0, 60.0, 0.0),
        ("listening", 30.0, 60.0, 0.0),
        ("transcribing", 0.0, 0.0, 0.0),
        ("transcribing", 90.0, 60.0, 1.0),
        ("writing", 60.0, 60.0, 1.0),
    ],
)
def test_progress_is_a_share_of_the_transcription(
    phase: str, done_s: float, audio_s: float, ratio: float
) -> None:
    jobs = given("a")

    jobs.progress("w0", m.Progress("a", phase, done_s, audio_s), 100.0)

    assert jobs.entries["a"].progress_ratio == ratio
    assert jobs.entries["a"].phase_ratio == (min(1.0, done_s / audio_s) if audio_s else 0.0)


def test_progress_begins_anew_with_the_next_worker() -> None:
    jobs = given("a")
    jobs.progress("w0", m.Progress("a", "transcribing", 30.0, 60.0), 100.0)
    jobs.take_back("w0", Death.CRASH)

    jobs.give(jobs.entries["a"], "w1", 9.0)

    assert (jobs.entries["a"].progress_ratio, jobs.entries["a"].given_at_s) == (0.0, 9.0)


def test_job_that_comes_staged_waits_for_nothing_but_its_commit() -> None:
    jobs = JobTable()
    entry = jobs.ready(card("a", staged=True))

    assert (entry.stage, entry.pending, jobs.waiting()) == (Stage.STAGED, m.Commit("a", attempt=1), [])
    assert entry.progress_ratio == 1.0


def test_job_met_again_keeps_its_place_and_its_charges() -> None:
    jobs = given("a")
    jobs.entries["a"].suspect = True

    again = jobs.ready(card("a", takes_s=99))

    assert (again.stage, again.slot, again.suspect) == (Stage.GIVEN, "w0", True)
    assert again.card.audio_bytes == 99


def test_samples_of_jobs_that_workers_have_are_counted_by_what_was_decoded() -> None:
    jobs = given("a")
    jobs.progress("w0", m.Progress("a", "decoding", 12.0, 0.0), 100.0)  # no length is known before the end
    assert jobs.samples_bytes() == 12 * 32_000

    jobs.progress("w0", m.Progress("a", "transcribing", 5.0, 60.0), 100.0)
    assert jobs.samples_bytes() == 60 * 32_000

    jobs.take_back("w0", Death.CRASH)
    assert jobs.samples_bytes() == 0


def test_job_that_was_asked_back_may_be_asked_back_from_its_next_slot_too() -> None:
    jobs = given("a")
    jobs.entries["a"].requested_back_at_s = 5.0

    jobs.give(jobs.entries["a"], "w1", 9.0)

    assert jobs.entries["a"].requested_back_at_s is None
