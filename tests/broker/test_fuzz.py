"""Whatever the queue brings: the broker goes on, and no name from outside leaves its folder."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.broker.backends.local_objects import LocalObjects
from supervisor.broker.in_flight.spool import Spool
from supervisor.broker.ports.errors import JobRejected
from supervisor.broker.ports.ports import RecordKey
from supervisor.broker.rules.envelope import MAX_KEY_BYTES, EnvelopePolicy, is_usable_id, parse
from tests.broker.harness import rem_message
from tests.broker.model import new_world
from tests.broker.model_supervisor import Plan
from tests.support.memory_backend import QueueRules

POLICY = EnvelopePolicy("raw", "default-user", ("second",))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
# Names that somebody with bad intentions, or a strange keyboard, would try.
NASTY = st.sampled_from(
    [
        *(
            "..",
            ".",
            "/",
            "folder/",
            "null",
            "../../etc/passwd",
            "a/../../b",
            "\\..\\x",
            "a\0b",
            "a\nb",
            "\u202egnp",
            "\ud800",
        ),
        *("%2e%2e%2f", "~root", "-rf", "$(id)", "'; DROP TABLE records; --", "CON", " ", "__proto__"),
        *("s3://raw/x", "file:///etc/passwd", "raw", "second", "transcripts", "ffconcat", "", "\x7f", "\x85"),
        *("a" * 300, "ü" * 200, "🎧" * 61),
    ]
)
NAMES = NASTY | st.text(max_size=40) | JSON
FIELDS = (
    *("recordingId", "bucket", "key", "userId", "deviceId", "startedAt", "endedAt", "language", "force"),
    *("Records", "Event", "Type", "Message", "source", "detail-type", "detail"),
)

EVENT_NAMES = SCALARS | st.sampled_from(
    [
        "ObjectCreated:Put",
        "s3:ObjectCreated:Put",
        "ObjectRemoved:Delete",
        "s3:ObjectRestore:Completed",
        "s3:TestEvent",
    ]
)


@st.composite
def rem_bodies(draw: Any) -> Any:
    """REM's own message with some fields replaced and some taken away."""
    message = rem_message("rec-1")
    for name in draw(st.lists(st.sampled_from(FIELDS), max_size=4)):
        message[name] = draw(NAMES)
    for name in draw(st.lists(st.sampled_from(FIELDS), max_size=2)):
        message.pop(name, None)
    return message


@st.composite
def notifications(draw: Any) -> Any:
    """S3's own words with anything in the places of names."""
    bucket, key = draw(st.just("raw") | NAMES), draw(st.just("a b+c.wav") | NAMES)
    if draw(st.booleans()) and isinstance(key, str):
        key = quote_plus(key, errors="replace")
    stored = {
        "key": key,
        "versionId": draw(NAMES),
        "eTag": draw(NAMES),
        "sequencer": "0",
        "size": draw(SCALARS),
    }
    record = {"eventName": draw(EVENT_NAMES), "s3": {"bucket": {"name": bucket}, "object": stored}}
    odd = draw(st.lists(JSON, max_size=2))
    return {"Records": [*odd, record] * draw(st.integers(1, 3))}


@st.composite
def events(draw: Any) -> Any:
    detail = {
        "bucket": {"name": draw(st.just("raw") | NAMES)},
        "object": {"key": draw(NAMES), "etag": draw(NAMES)},
    }
    return {"source": "aws.s3", "detail-type": "Object Created", "detail": draw(st.just(detail) | JSON)}


ENVELOPES = rem_bodies() | notifications() | events() | JSON


@st.composite
def bodies(draw: Any) -> str:
    """Any text that a message may have: whole, wrapped, cut, encoded once too often."""
    plain = draw(ENVELOPES)
    if draw(st.integers(0, 3)) == 0:
        plain = {"Type": "Notification", "Message": draw(st.just(json.dumps(plain)) | JSON)}
    text = json.dumps(plain)
    how = draw(st.integers(0, 9))
    if how == 0:
        text = text[: draw(st.integers(0, len(text)))]
    elif how == 1:
        text = base64.b64encode(text.encode()).decode()
    elif how == 2:
        text = draw(st.text(max_size=60))
    return text


@settings(max_examples=400)
@given(bodies())
def test_any_body_becomes_checked_jobs_or_reasons(body: str) -> None:
    parsed = parse(body, POLICY)

    assert (
        parsed.jobs or parsed.rejected or parsed.ignored
    )  # what is none of these would vanish without a word
    for job in parsed.jobs:
        assert job.source.bucket in ("raw", "second")
        assert 1 <= len(job.source.key.encode()) <= MAX_KEY_BYTES
        assert all(is_usable_id(name) for name in (job.recording_id, job.user_id, job.device_id))
        key = job.transcript_key("json")
        assert key.startswith("transcripts/")
        assert key.count("/") == 3
    for rejected in parsed.rejected:
        assert rejected.reason[-1] == "."
        assert len(rejected.reason) < 400
        assert "\n" not in rejected.reason


@settings(max_examples=300)
@given(NAMES.filter(lambda name: isinstance(name, str)), st.text(max_size=20) | NASTY)
def test_no_key_or_id_leaves_its_folder(key: str, other: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        objects, spool = LocalObjects(root / "objects"), Spool(root / "spool", 1_000, 1_000)
        try:
            path = objects.path_of("raw", key)
        except (JobRejected, UnicodeEncodeError):
            path = root / "objects" / "none"
        job = parse(json.dumps(rem_message(key, userId=other)), POLICY).jobs

        assert root / "objects" in path.resolve().parents
        for request in job:
            folder = spool.folder(RecordKey(request.user_id, request.recording_id))
            assert folder.parent == root / "spool"
            assert folder.resolve().parent == root / "spool"


@settings(max_examples=60)
@given(st.lists(bodies(), min_size=1, max_size=6))
def test_broker_takes_any_messages_and_ends_them_all(sent: list[str]) -> None:
    """Good ones among them are transcribed, the rest buried with a reason; nothing goes round for ever."""
    with (
        tempfile.TemporaryDirectory() as name,
        new_world(Path(name), QueueRules(max_receive_count=10)) as world,
    ):
        for body in sent:
            for job in parse(body, EnvelopePolicy("raw", "default-user")).jobs:
                world.objects.stored[job.source.bucket, job.source.key] = b"audio"
            world.queue.send(body, {})
        world.send("good")
        host = world.host(Plan(work_s=1.0, wanted=10))

        world.run(world.is_quiet)

        assert host.lives == 1
        assert world.item("good")["remState"] == "DONE"
        states = {item.get("remState") for item in world.records.items.values()}
        assert states <= {"DONE", "FAILED", None}
        assert all(letter.reason for letter in world.queue.dead_letters)
        assert all(key.startswith("transcripts/") for key in world.transcripts())
