"""The pure rules of failure, time and record, as tables."""

from __future__ import annotations

import dataclasses
from typing import Any, Optional

import pytest

from supervisor.broker.ports.conditions import changed, holds
from supervisor.broker.ports.job_request import JobRequest, Source
from supervisor.broker.ports.ports import (
    Above,
    AllOf,
    AnyOf,
    Below,
    Change,
    Equals,
    Missing,
    ObjectFacts,
    Present,
)
from supervisor.broker.rules import lease_timing, record_rules, refusal
from supervisor.broker.rules.record_rules import RecordHold
from supervisor.broker.rules.refusal import Busy, Finished, GivenUp, Redo, SameName
from supervisor.broker.rules.retry_policy import RetryDecision, decide, decide_forbidden, sentence
from supervisor.contract.wire.messages import Failure
from tests.broker.harness import term

NOW = 1_800_000_000.0
OURS = RecordHold("token-ours", "owner-ours")
REQUEST = JobRequest("rec-1", "user-9", "dev-7", Source("raw", "a.wav"))
FAILED = {
    "remState": "FAILED",
    "remReason": "Not audio.",
    "remSource": {"bucket": "raw", "key": "a.wav", "etag": "e1"},
}
DONE = {"remState": "DONE", "remSource": {"bucket": "raw", "key": "a.wav", "etag": "e1"}}


def held(**more: Any) -> dict[str, Any]:
    return {"remState": "CLAIMED", "remToken": "t", "remOwner": "other", "remLeaseUnix": NOW + 100, **more}


@pytest.mark.parametrize(
    ("failure", "failures", "expected"),
    [
        (Failure.REJECTED, 0, RetryDecision(True, "No.")),
        (Failure.CRASH, 0, RetryDecision(True, "No.", counts="remCrashes")),
        (Failure.FAILURE, 0, RetryDecision(False, "No.", counts="remFailures", after_s=10.0)),
        (Failure.OUT_OF_MEMORY, 1, RetryDecision(False, "No.", counts="remFailures", after_s=30.0)),
        (Failure.STALL, 2, RetryDecision(True, "No. Given up after 3 attempts.", counts="remFailures")),
        (Failure.DEPENDENCY, 9, RetryDecision(False, "No.", after_s=30.0)),
        (Failure.SICK_DEVICE, 9, RetryDecision(False, "No.")),
    ],
)
def test_each_failure_class_ends_as_the_table_says(
    failure: Failure, failures: int, expected: RetryDecision
) -> None:
    assert decide(failure, "No", failures, receive_count=1) == expected


def test_every_failure_class_has_a_verdict() -> None:
    assert all(decide(failure, "x", 0, 1).reason == "x." for failure in Failure)


@pytest.mark.parametrize(("receives", "is_final"), [(1, False), (2, False), (3, True), (9, True)])
def test_forbidden_key_is_given_up_at_the_third_receive(receives: int, is_final: bool) -> None:
    assert decide_forbidden("403", receives).is_final is is_final


def test_reason_is_one_sentence_whatever_was_said() -> None:
    stack = 'Traceback (most recent call last):\n  File "x.py", line 3\nValueError: bad header'

    assert sentence(stack) == "ValueError: bad header."
    assert sentence("") == "It failed without a reason."
    assert sentence("two\nlines\x1b[31m") == "two lines [31m."
    assert len(sentence("x" * 10_000)) <= 501


def test_lease_arithmetic_by_hand() -> None:
    assert lease_timing.extend_at_s(100.0, 60.0, 0.0) == pytest.approx(118.0)
    assert lease_timing.extend_at_s(100.0, 60.0, 1.0) == pytest.approx(122.0)
    assert [lease_timing.is_over(100.0, now_s) for now_s in (99.4, 99.5, 101.0)] == [False, True, True]
    assert [lease_timing.may_fence(100.0, now_s, 60.0) for now_s in (96.9, 97.0)] == [True, False]
    assert [lease_timing.may_fence(100.0, now_s, 4.0) for now_s in (98.9, 99.0)] == [True, False]
    assert [lease_timing.is_kept(100.0, now_s) for now_s in (115.0, 115.1)] == [True, False]
    assert lease_timing.back_off_s(1, 1.0) == 2.0
    assert lease_timing.back_off_s(50, 1.0) == 30.0
    assert lease_timing.record_wait_s(NOW + 50, NOW) == 51.0
    assert lease_timing.record_wait_s(NOW + 50, NOW + 0.6) == 51.0
    assert lease_timing.record_wait_s(NOW - 500, NOW) == 1.0
    assert 30.0 <= lease_timing.give_back_s(1, 0.0) <= lease_timing.give_back_s(99, 1.0) <= 300.0


@pytest.mark.parametrize(
    ("item", "may_claim"),
    [
        ({}, True),
        ({"status": "TRANSCRIBED"}, True),  # REM's status decides nothing
        (held(), False),
        (held(remLeaseUnix=NOW + 0.1), False),
        (held(remLeaseUnix=NOW - 0.1), True),
        (held(remLeaseUnix=NOW + 120), False),  # two leases ahead
        (held(remLeaseUnix=NOW + 121), True),  # no honest clock writes that
        (held(remOwner="owner-ours"), True),  # our own dead life
        (held(remState="PUBLISHING"), False),
        (held(remState="PUBLISHING", remOwner="owner-ours"), True),
        (DONE, False),
        ({"remState": "FAILED"}, False),
    ],
)
def test_claim_is_allowed_exactly_where_nobody_is_at_work(item: dict[str, Any], may_claim: bool) -> None:
    assert holds(record_rules.claim(REQUEST, OURS, term(NOW)).condition, item) is may_claim


@pytest.mark.parametrize(
    ("item", "force", "expected"),
    [
        (DONE, False, SameName()),
        (DONE, True, Redo()),
        ({**DONE, "remSource": {"bucket": "raw", "key": "other.wav"}}, False, Redo()),
        (
            {"remState": "FAILED", "remReason": "Not audio."},
            False,
            Redo(),
        ),  # of which source, it does not say
        ({**FAILED, "remSource": {"bucket": "raw", "key": "a.wav"}}, False, SameName()),
        (FAILED, True, Redo()),
        (held(), False, Busy(101.0)),
    ],
)
def test_refused_claim_says_why(item: dict[str, Any], force: bool, expected: object) -> None:
    request = JobRequest("rec-1", "user-9", "dev-7", Source("raw", "a.wav"), force=force)

    assert refusal.read_refusal(item, request, NOW) == expected


@pytest.mark.parametrize(
    ("event_etag", "etag", "now", "is_new"),
    [
        ("e1", "e1", None, False),  # the record's own event once more: no look is needed
        ("", "e1", "e1", False),
        ("", "e1", "e2", True),  # uploaded anew under the same name
        ("e2", "e1", "e2", True),
        ("e2", "e1", "e1", False),  # events come late and out of order: what lies there counts
        ("e0", "e2", "e2", False),
        ("", "e1", None, False),  # nothing that we may see: as far as the message tells
        ("e2", "e1", None, True),
        ("", "", None, False),
    ],
)
@pytest.mark.parametrize("over", [DONE, FAILED])
def test_what_is_over_is_over_for_the_same_bytes_only(
    over: dict[str, Any], event_etag: str, etag: str, now: Optional[str], is_new: bool
) -> None:
    item = {**over, "remSource": {"bucket": "raw", "key": "a.wav", **({"etag": etag} if etag else {})}}
    request = dataclasses.replace(REQUEST, source=Source("raw", "a.wav", "", event_etag))
    end = Finished() if over is DONE else GivenUp("Not audio.")

    meaning = refusal.read_refusal(item, request, NOW)
    if meaning == SameName():
        meaning = refusal.read_object(item, request, ObjectFacts(5, now) if now else None)

    assert meaning == (Redo() if is_new else end)


def test_failure_for_want_of_the_object_is_over_when_the_object_is_there() -> None:
    item = {**FAILED, "remSource": {"bucket": "raw", "key": "a.wav"}}

    assert refusal.read_object(item, REQUEST, ObjectFacts(5, "e1")) == Redo()
    assert refusal.read_object(item, REQUEST, None) == GivenUp("Not audio.")


def test_new_try_starts_with_no_failures_counted() -> None:
    item = changed(
        {**FAILED, "remFailures": 3, "remCrashes": 1}, record_rules.claim(REQUEST, OURS, term(NOW), True)
    )

    assert not {"remFailures", "remCrashes", "remReason"} & set(item)
    assert item["remState"] == "CLAIMED"


def test_other_services_attributes_survive_a_whole_life() -> None:
    item: dict[str, Any] = {
        "status": "UPLOADED",
        "speakers": {"a": 1},
        "GSI1PK": "dev-7",
        "createdAt": "long ago",
    }
    result = record_rules.Result("en", 1.239, "abc")

    for change in (
        record_rules.claim(REQUEST, OURS, term(NOW)),
        record_rules.renew(OURS, term(NOW + 60)),
        record_rules.fence(OURS, term(NOW + 90)),
        record_rules.complete(REQUEST.transcript_key("json"), OURS, result, REQUEST.source, NOW + 91),
    ):
        assert holds(change.condition, item)
        item = changed(item, change)

    assert item == {
        "status": "TRANSCRIBED",
        "speakers": {"a": 1},
        "GSI1PK": "dev-7",
        "createdAt": "long ago",
        "recordingId": "rec-1",
        "deviceId": "dev-7",
        "s3KeyRaw": "a.wav",
        "transcriptS3Key": "transcripts/user-9/dev-7/rec-1.json",
        "language": "en",
        "durationSeconds": 1.24,
        "updatedAt": "2027-01-15T08:01:31Z",
        "remState": "DONE",
        "remAttempt": 1,
        "remSource": {"bucket": "raw", "key": "a.wav"},
        "remTranscriptSha256": "abc",
    }


@pytest.mark.parametrize("write", [record_rules.renew, record_rules.fence])
def test_a_lost_token_may_write_nothing(write: Any) -> None:
    assert not holds(write(OURS, term(NOW)).condition, held(remToken="somebody else's"))


def test_no_checkpoint_is_named_once_the_record_is_fenced() -> None:
    """It would be removed with the others before, and named for ever after."""
    change = record_rules.point(OURS, record_rules.Pointer("checkpoints/x", "sum", 3.0))

    assert holds(change.condition, held(remToken=OURS.token))
    assert not holds(change.condition, held(remToken=OURS.token, remState="PUBLISHING"))
    assert not holds(change.condition, held(remToken="somebody else's"))


def test_our_own_earlier_try_is_known_by_attempt_and_hash() -> None:
    result = record_rules.Result("en", 1.0, "abc")
    ours = {**DONE, "remAttempt": 2, "remTranscriptSha256": "abc"}

    assert record_rules.was_completed_by(ours, 2, result)
    assert not record_rules.was_completed_by(ours, 3, result)
    assert not record_rules.was_completed_by({**ours, "remTranscriptSha256": "other"}, 2, result)
    assert not record_rules.was_completed_by({**ours, "remState": "FAILED"}, 2, result)


def test_completing_needs_the_fence() -> None:
    result = record_rules.Result("en", 1.0, "abc")
    change = record_rules.complete("t.json", OURS, result, REQUEST.source, NOW)

    assert not holds(change.condition, held(remToken=OURS.token))
    assert holds(change.condition, held(remToken=OURS.token, remState="PUBLISHING"))


def test_rejecting_touches_only_a_record_of_the_same_audio_that_nobody_works_on_or_ended() -> None:
    change = record_rules.reject("bad", "a.wav", NOW)
    own = {"status": "x", "s3KeyRaw": "a.wav"}

    items = ({}, held(**own), {**DONE, **own}, {**own, "s3KeyRaw": "other.wav"}, {"status": "x"}, own)
    assert [holds(change.condition, item) for item in items] == [False] * 5 + [True]


def test_rejecting_decides_nothing() -> None:
    item = changed({"status": "x", "s3KeyRaw": "a.wav"}, record_rules.reject("bad", "a.wav", NOW))

    assert (item["status"], item["remReason"]) == ("FAILED", "bad")
    assert holds(record_rules.claim(REQUEST, OURS, term(NOW)).condition, item)


def test_conditions_mean_what_they_say() -> None:
    item = {"n": 5, "s": "x", "b": True}

    assert holds(AllOf((Present("n"), Missing("m"), Equals("s", "x"), Below("n", 6), Above("n", 4))), item)
    assert holds(AnyOf((Equals("s", "y"), Equals("n", 5))), item)
    assert not any(
        holds(one, item)
        for one in (Below("n", 5), Above("n", 5), Below("m", 9), Above("s", 1), Below("b", 9))
    )


def test_a_change_adds_counts_and_removes() -> None:
    change = Change(Missing("x"), {"a": 1}, {"a": 2, "b": 3, "c": 4}, {"n": 2}, ("d",))

    assert changed({"c": 9, "d": 8, "n": 1}, change) == {"a": 1, "b": 3, "c": 9, "n": 3}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Source("b", "k"), Source("b", "k", "v1", "e1"), True),
        (Source("b", "k", "v1"), Source("b", "k", "v2"), False),
        (Source("b", "k", "", "e1"), Source("b", "k", "", "e2"), False),
        (Source("b", "k", "v1", "e1"), Source("b", "k", "v1", "e2"), True),
        (Source("b", "k"), Source("b", "other"), False),
    ],
)
def test_sources_are_the_same_as_far_as_both_know(one: Source, other: Source, same: bool) -> None:
    assert one.is_same(other) is same
