"""What a message's body becomes: jobs, or a reason that a person understands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.broker.ports.job_request import JobRequest, Source
from supervisor.broker.rules.envelope import EnvelopePolicy, is_usable_id, parse
from supervisor.contract.job_options import Options, changed
from tests.broker.harness import rem_message

POLICY = EnvelopePolicy("raw", "default-user")


def test_rem_message_becomes_one_job_with_all_its_names() -> None:
    parsed = parse(json.dumps(rem_message()), POLICY)

    assert parsed.rejected == ()
    assert parsed.jobs == (
        JobRequest(
            "rec-1",
            "user-9",
            "dev-7",
            Source("raw", "raw/dev-7/2026/11/22/dev-7_rec-1_end.wav"),
            "2026-11-22T13:00:00Z",
            "2026-11-22T13:05:00Z",
        ),
    )


def test_options_are_taken_along_and_one_that_makes_no_sense_is_named() -> None:
    asked = {"task": "translate", "vad_parameters": {"threshold": 0.3}}

    (job,) = parse(json.dumps({**rem_message(), "options": asked}), POLICY).jobs
    assert json.loads(job.options) == asked

    for odd, words in (
        ({"beam_size": 0}, "options.beam_size"),
        ({"beem": 1}, "options.beem"),
        ({"vad_parameters": {"treshold": 1}}, "treshold"),
        ({"temperature": "hot"}, "options.temperature"),
        ([1], "no object"),
    ):
        parsed = parse(json.dumps({**rem_message(), "options": odd}), POLICY)
        assert parsed.jobs == ()
        assert words in parsed.rejected[0].reason
        assert parsed.rejected[0].recording_id == "rec-1"


def test_what_a_message_lacks_comes_from_settings_and_key() -> None:
    message = rem_message(key="raw/cam/2026/01/02/cam_T1_T2.mp3")
    for name in ("userId", "deviceId", "startedAt", "endedAt"):
        del message[name]

    (job,) = parse(json.dumps(message), POLICY).jobs

    assert (job.user_id, job.device_id, job.started_at, job.ended_at) == ("default-user", "cam", "T1", "T2")


@pytest.mark.parametrize("mark", ["\ufeff", "\u00ef\u00bb\u00bf"], ids=["as Unicode", "as Latin-1"])
def test_byte_order_mark_is_no_part_of_the_message(mark: str) -> None:
    parsed = parse(mark + json.dumps(rem_message("bom")), POLICY)

    assert [job.recording_id for job in parsed.jobs] == ["bom"]


@pytest.mark.parametrize(
    "message",
    [
        rem_message(options={"\ud83d": 1}),
        rem_message(options={"vad_parameters": {"\ud83d": 1}}),
        {"Records": [{"eventName": "\ud83d", "s3": {}}]},
        {"source": "aws.s3", "detail-type": "\ud83d", "detail": {}},
    ],
    ids=["option", "parameter", "event", "detail type"],
)
def test_reason_that_quotes_half_a_character_can_be_written_down(message: Any) -> None:
    """A record and a log line hold UTF-8: a lone surrogate would raise there, with each delivery anew."""
    parsed = parse(json.dumps(message), POLICY)

    reasons = [*(found.reason for found in parsed.rejected), *parsed.ignored]
    assert len(reasons) == 1
    assert reasons[0].encode("utf-8")


@pytest.mark.parametrize("name", ["ObjectSynced:Create", "s3:ObjectSynced:Create"])
def test_object_that_another_zone_of_ceph_put_there_is_a_job(name: str) -> None:
    stored = {"bucket": {"name": "raw"}, "object": {"key": "raw/x.wav"}}

    parsed = parse(json.dumps({"Records": [{"eventName": name, "s3": stored}]}), POLICY)

    assert len(parsed.jobs) == 1


@pytest.mark.parametrize("key", ["raw/x/", "raw/x_%24folder%24"])
@pytest.mark.parametrize("size", [0, "0", None])
def test_mark_of_a_folder_is_no_recording_whoever_wrote_it(key: str, size: Any) -> None:
    stored = {"bucket": {"name": "raw"}, "object": {"key": key, "size": size}}

    parsed = parse(json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": stored}]}), POLICY)

    assert parsed.jobs == parsed.rejected == ()
    assert "the mark of a folder" in parsed.ignored[0]


@pytest.mark.parametrize("lacking", [None, ""])
def test_field_that_is_null_or_empty_is_one_that_is_lacking(lacking: Any) -> None:
    names = ("userId", "deviceId", "startedAt", "endedAt", "language", "options", "force")
    message = rem_message(
        key="raw/cam/2026/01/02/cam_T1_T2.mp3", **{name: lacking for name in names if name != "options"}
    )
    message["options"] = None

    (job,) = parse(json.dumps(message), POLICY).jobs

    assert (job.user_id, job.device_id, job.started_at, job.ended_at) == ("default-user", "cam", "T1", "T2")


def test_version_that_a_message_names_is_the_one_to_be_read() -> None:
    (named,) = parse(json.dumps(rem_message(versionId="v-1")), POLICY).jobs
    (none,) = parse(json.dumps(rem_message(versionId=None)), POLICY).jobs
    (unversioned,) = parse(json.dumps(rem_message(versionId="null")), POLICY).jobs

    assert [job.source.version for job in (named, none, unversioned)] == ["v-1", "", ""]


@pytest.mark.parametrize(
    "options", [{"hotwords": None}, {"vad_parameters": None}, {"vad_parameters": {"threshold": None}}]
)
def test_option_that_is_null_costs_no_recording_and_changes_nothing(options: Any) -> None:
    (job,) = parse(json.dumps(rem_message(options=options)), POLICY).jobs

    assert changed(Options(hotwords="REM"), job.options) == Options(hotwords="REM")


def test_option_of_a_null_language_asks_for_one_to_be_detected() -> None:
    (job,) = parse(json.dumps(rem_message(options={"language": None})), POLICY).jobs

    assert changed(Options(language="de"), job.options).language is None


def test_emoji_that_was_cut_in_two_in_an_option_costs_no_recording() -> None:
    (job,) = parse(json.dumps(rem_message(options={"initial_prompt": "hello \ud83d world"})), POLICY).jobs

    assert json.loads(job.options) == {"initial_prompt": "hello \ufffd world"}


CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"  # not part of the project; CI may have it


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no recorded cases here: {CASES} is absent")
@pytest.mark.parametrize(
    "name",
    ["msg-event-name-with-s3-prefix", "msg-null-user", "msg-surrogate-prompt", "msg-with-bom"],
)
def test_message_that_was_read_too_narrowly_once_is_a_job(name: str) -> None:
    body = (CASES / f"{name}.json").read_text(encoding="utf-8")

    parsed = parse(body, EnvelopePolicy("rem-raw-audio", "default-user"))

    assert len(parsed.jobs) == 1
    assert parsed.jobs[0].user_id == "default-user"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "not JSON"),
        ("hello", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1, 2]", "not an object"),
        ("{}", "lacks recordingId, bucket, key"),
        (json.dumps(rem_message(key="")), "lacks key"),
        (json.dumps(rem_message(recordingId="../../etc")), "recordingId is not usable"),
        (json.dumps(rem_message(recordingId=7)), "recordingId is not usable"),
        (json.dumps(rem_message(userId="a/b")), "userId is not usable"),
        (json.dumps(rem_message(deviceId="..")), "deviceId is not usable"),
        (json.dumps(rem_message(recordingId="\ud800")), "recordingId is not usable"),
        (json.dumps(rem_message(key="a\x00b")), "control characters"),
        (json.dumps(rem_message(key="k" * 1_025)), "1 to 1024 bytes"),
        (json.dumps(rem_message(bucket="elsewhere")), "reads from raw only"),
        (json.dumps(rem_message(bucket=["raw"])), "reads from raw only"),
        (json.dumps(rem_message(language="en; rm -rf /")), "language"),
        (json.dumps({"Records": []}), "no list"),
        (json.dumps(rem_message(startedAt="x" * 300_000)), "larger than 256 KiB"),
    ],
)
def test_bad_message_gets_one_reason_for_people(body: str, says: str) -> None:
    parsed = parse(body, POLICY)

    assert parsed.jobs == ()
    assert len(parsed.rejected) == 1
    assert says in parsed.rejected[0].reason


def test_rejected_message_keeps_its_ids_where_a_record_can_be_found_by_them() -> None:
    (found,) = parse(json.dumps(rem_message(bucket="elsewhere")), POLICY).rejected

    assert (found.recording_id, found.user_id, found.key) == ("rec-1", "user-9", "")


@pytest.mark.parametrize(
    ("changed", "is_about_its_audio"),
    [
        ({"language": "german"}, True),
        ({"bucket": "elsewhere"}, False),
        ({"key": ""}, False),
        ({"key": 7}, False),
    ],
)
def test_rejected_message_is_about_a_recording_only_if_it_names_audio_that_we_read(
    changed: dict[str, Any], is_about_its_audio: bool
) -> None:
    message = rem_message(**changed)

    (found,) = parse(json.dumps(message), POLICY).rejected

    assert found.key == (message["key"] if is_about_its_audio else "")


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_NAMES = st.sampled_from(
    ["recordingId", "bucket", "key", "userId", "deviceId", "Records", "s3", "object", "Event"]
)


@given(st.dictionaries(_NAMES, _JSON) | _JSON)
def test_nothing_a_queue_can_carry_raises(body: Any) -> None:
    parsed = parse(json.dumps(body), POLICY)

    for job in parsed.jobs:
        assert all(is_usable_id(name) for name in (job.recording_id, job.user_id, job.device_id))


@given(st.text(max_size=220))
def test_usable_ids_are_file_names(text: str) -> None:
    if is_usable_id(text):
        assert "/" not in text
        assert text not in (".", "..")
        assert len(text.encode()) <= 240
