"""The protocol dies at every call, before and after it takes effect; redelivery must end it once.

The ports are the real embedded ones behind a fuse: the n-th call of a good job's life
raises instead of being made, or is made and then raises (the answer is lost).
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import pytest

from supervisor.broker.backends.local_objects import LocalObjects
from supervisor.broker.backends.local_queue import LocalRecords, open_database
from supervisor.broker.ports.errors import LeaseLost, TryLater
from supervisor.broker.ports.job_request import JobRequest, Source
from supervisor.broker.ports.ports import Change, Present
from supervisor.broker.rules.record_rules import RecordHold, Result
from supervisor.broker.rules.refusal import Busy, Finished
from supervisor.broker.rules.retry_policy import RetryDecision
from supervisor.broker.work import commit
from supervisor.broker.work.commit import Claimed, CommitWork, MessageLease
from supervisor.contract import clock

REQUEST = JobRequest("rec-1", "user-9", "dev-7", Source("raw", "a.wav"))
CALLS_OF_A_GOOD_JOB = 5  # claim, fence, text, JSON, complete


LEASE_S = 60.0
IN_TIME = MessageLease(lambda: clock.now_s() + LEASE_S, LEASE_S)  # just received, whenever it is asked


class Fuse:
    """Lets calls through until the n-th one; that one fails before or after its effect."""

    def __init__(self, at: int, after: bool) -> None:
        self.left = at
        self._after = after

    def call(self, call: Callable[[], Any]) -> Any:
        self.left -= 1
        if self.left != 0:
            return call()
        if self._after:
            call()
        raise TryLater("table", "died here")


class FusedRecords:
    def __init__(self, inner: LocalRecords, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def unix_s(self) -> float:
        return self._inner.unix_s()

    def get(self, key: Any) -> Any:
        return self._fuse.call(lambda: self._inner.get(key))

    def update(self, key: Any, change: Any) -> Any:
        return self._fuse.call(lambda: self._inner.update(key, change))


class FusedObjects:
    def __init__(self, inner: LocalObjects, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse
        self.put_count = 0

    def fetch(self, *what: Any) -> Any:
        return self._fuse.call(lambda: self._inner.fetch(*what))

    def look(self, *what: Any) -> Any:
        return self._fuse.call(lambda: self._inner.look(*what))

    def put(self, *what: Any) -> None:
        self.put_count += 1
        self._fuse.call(lambda: self._inner.put(*what))


@dataclass
class World:
    """What outlives every death: the table, the objects, the spool."""

    records: LocalRecords
    objects: LocalObjects
    folder: Path

    def work(self, hold: RecordHold, attempt: int, text: str = "Hello.") -> CommitWork:
        spool = self.folder / f"spool-{text}"
        spool.mkdir(exist_ok=True)
        (spool / "transcript.txt").write_text(text)
        (spool / "transcript.json").write_text(json.dumps({"fullText": text}))
        return CommitWork(
            REQUEST, hold, attempt, REQUEST.source, spool, Result("en", 1.5, f"sha-{text}"), "transcripts"
        )

    def item(self) -> dict[str, Any]:
        return self.records.get(REQUEST.record_key) or {}

    def text(self) -> str:
        return self.objects.path_of("transcripts", REQUEST.transcript_key("txt")).read_text()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(LocalRecords(open_database(tmp_path)), LocalObjects(tmp_path / "objects"), tmp_path)


def live(world: World, fuse: Fuse, hold: RecordHold) -> bool:
    """One life of a job up to its first error; True where it got through."""
    records, objects = FusedRecords(world.records, fuse), FusedObjects(world.objects, fuse)
    try:
        claimed = commit.claim(records, objects, REQUEST, hold, IN_TIME)
        if isinstance(claimed, Finished):
            return True
        assert isinstance(claimed, Claimed)
        commit.publish(records, objects, world.work(hold, claimed.attempt), IN_TIME)
    except TryLater:
        return False
    return True


DEATHS = list(itertools.product(range(1, CALLS_OF_A_GOOD_JOB + 1), (False, True)))
DEATHS_WITH_TOKEN = [death for death in DEATHS if death[0] > 1]


def test_a_good_job_makes_exactly_the_calls_that_are_killed_below(world: World) -> None:
    fuse = Fuse(at=1_000, after=False)

    assert live(world, fuse, RecordHold("t1", "me"))

    assert 1_000 - fuse.left == CALLS_OF_A_GOOD_JOB


@pytest.mark.parametrize(("at", "after"), DEATHS)
def test_redelivery_to_an_heir_ends_in_one_complete_transcript(world: World, at: int, after: bool) -> None:
    assert not live(world, Fuse(at, after), RecordHold("t1", "me"))

    assert live(world, Fuse(1_000, False), RecordHold("t2", "me"))

    assert_done(world)


@pytest.mark.parametrize(("at", "after"), DEATHS_WITH_TOKEN)
def test_the_same_commit_again_ends_in_one_complete_transcript(world: World, at: int, after: bool) -> None:
    """The heir of a broker that died in a commit repeats it with the same token."""
    hold = RecordHold("t1", "me")
    assert not live(world, Fuse(at, after), hold)

    commit.publish(world.records, world.objects, world.work(hold, 1), IN_TIME)

    assert_done(world)
    assert world.item()["remAttempt"] == 1


def assert_done(world: World) -> None:
    item = world.item()
    assert (item["status"], item["remState"]) == ("TRANSCRIBED", "DONE")
    assert item["transcriptS3Key"] == "transcripts/user-9/dev-7/rec-1.json"
    assert not {"remToken", "remOwner", "remLeaseUnix"} & set(item)
    assert world.text() == "Hello."


def test_zombie_writes_nothing_once_another_has_the_record(world: World) -> None:
    zombie, peer = RecordHold("t1", "host-a"), RecordHold("t2", "host-a")
    commit.claim(world.records, world.objects, REQUEST, zombie, IN_TIME)
    commit.claim(world.records, world.objects, REQUEST, peer, IN_TIME)
    objects = FusedObjects(world.objects, Fuse(1_000, False))

    with pytest.raises(LeaseLost):
        commit.publish(world.records, objects, world.work(zombie, 1, "Zombie."), IN_TIME)

    assert objects.put_count == 0
    assert world.item()["remToken"] == "t2"


def test_zombie_returning_after_its_peer_is_done_writes_nothing(world: World) -> None:
    zombie, peer = RecordHold("t1", "host-a"), RecordHold("t2", "host-a")
    commit.claim(world.records, world.objects, REQUEST, zombie, IN_TIME)
    commit.claim(world.records, world.objects, REQUEST, peer, IN_TIME)
    commit.publish(world.records, world.objects, world.work(peer, 2), IN_TIME)

    with pytest.raises(LeaseLost):
        commit.publish(world.records, world.objects, world.work(zombie, 1, "Zombie."), IN_TIME)

    assert_done(world)


def test_no_commit_begins_on_a_lease_that_is_about_to_end(world: World) -> None:
    hold = RecordHold("t1", "me")
    commit.claim(world.records, world.objects, REQUEST, hold, IN_TIME)

    with pytest.raises(TryLater, match="about to end"):
        commit.publish(
            world.records,
            world.objects,
            world.work(hold, 1),
            MessageLease(lambda: clock.now_s() + 2.9, LEASE_S),
        )

    assert world.item()["remState"] == "CLAIMED"


def test_another_host_waits_for_the_rest_of_the_lease(world: World) -> None:
    commit.claim(world.records, world.objects, REQUEST, RecordHold("t1", "host-a"), IN_TIME)

    found = commit.claim(world.records, world.objects, REQUEST, RecordHold("t2", "host-b"), IN_TIME)

    assert isinstance(found, Busy)
    assert LEASE_S - 2 <= found.after_s <= LEASE_S  # its message is back then, and the record free
    assert world.item()["remAttempt"] == 1


def test_finished_recording_gets_its_status_back_and_is_not_done_again(world: World) -> None:
    """REM's dispatcher sets TRANSCRIBING on every S3 event, duplicates too."""
    live(world, Fuse(1_000, False), RecordHold("t1", "me"))
    world.records.update(REQUEST.record_key, Change(Present("status"), {"status": "TRANSCRIBING"}))

    found = commit.claim(world.records, world.objects, REQUEST, RecordHold("t2", "me"), IN_TIME)

    assert found == Finished()
    assert_done(world)


def test_forced_or_changed_audio_is_transcribed_anew(world: World) -> None:
    live(world, Fuse(1_000, False), RecordHold("t1", "me"))
    forced = JobRequest("rec-1", "user-9", "dev-7", REQUEST.source, force=True)

    assert commit.claim(world.records, world.objects, forced, RecordHold("t2", "me"), IN_TIME) == Claimed(
        attempt=2, failures=0, is_again=True
    )


def test_freeing_twice_counts_once_and_leaves_the_record_to_anybody(world: World) -> None:
    hold = RecordHold("t1", "host-a")
    commit.claim(world.records, world.objects, REQUEST, hold, IN_TIME)

    for _ in range(2):
        commit.write_end(
            world.records,
            REQUEST.record_key,
            hold,
            RetryDecision(False, "drain", "remReleases"),
            REQUEST.source,
        )

    assert world.item()["remReleases"] == 1
    assert commit.claim(
        world.records, world.objects, REQUEST, RecordHold("t2", "host-b"), IN_TIME
    ) == Claimed(attempt=2, failures=0, last_reason="drain")


def test_giving_up_is_not_ours_to_say_once_another_has_the_record(world: World) -> None:
    commit.claim(world.records, world.objects, REQUEST, RecordHold("t1", "host-a"), IN_TIME)
    commit.claim(world.records, world.objects, REQUEST, RecordHold("t2", "host-a"), IN_TIME)

    with pytest.raises(LeaseLost):
        commit.write_end(
            world.records,
            REQUEST.record_key,
            RecordHold("t1", "host-a"),
            RetryDecision(True, "Bad."),
            REQUEST.source,
        )


class WatchedObjects:
    """Writes down which objects are put, in order, and does something after the first."""

    def __init__(self, inner: LocalObjects, after_first: Callable[[], None] = lambda: None) -> None:
        self._inner, self._after_first = inner, after_first
        self.puts: list[str] = []

    def put(self, bucket: str, key: str, source: Path, content_type: str) -> None:
        self._inner.put(bucket, key, source, content_type)
        self.puts.append(key)
        if len(self.puts) == 1:
            self._after_first()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_text_is_there_before_the_json_that_readers_follow_to_it(world: World) -> None:
    hold, objects = RecordHold("t1", "me"), WatchedObjects(world.objects)
    commit.claim(world.records, world.objects, REQUEST, hold, IN_TIME)

    commit.publish(world.records, objects, world.work(hold, 1), IN_TIME)

    assert objects.puts == [REQUEST.transcript_key("txt"), REQUEST.transcript_key("json")]


def test_lease_that_ends_between_text_and_json_ends_the_commit(world: World) -> None:
    """The upload of the text was slow: by now somebody else may be at it."""
    left_s = [LEASE_S]
    ending = MessageLease(lambda: clock.now_s() + left_s[0], LEASE_S)
    hold, objects = RecordHold("t1", "me"), WatchedObjects(world.objects, lambda: left_s.__setitem__(0, 1.0))
    commit.claim(world.records, world.objects, REQUEST, hold, IN_TIME)

    with pytest.raises(TryLater, match="about to end"):
        commit.publish(world.records, objects, world.work(hold, 1), ending)

    assert objects.puts == [REQUEST.transcript_key("txt")]
    assert world.item()["remState"] == "PUBLISHING"


@pytest.mark.parametrize(
    ("asked", "is_taken"),
    [
        (Source("raw", "a.wav", "", "e1"), True),
        (Source("raw", "a.wav"), True),
        (Source("raw", "a.wav", "", "e2"), False),
        (Source("raw", "b.wav"), False),
    ],
)
def test_result_in_the_spool_is_published_for_its_own_audio_only(
    world: World, asked: Source, is_taken: bool
) -> None:
    """Other audio under the same recordingId would have got the transcript of the first."""
    first = JobRequest("rec-1", "user-9", "dev-7", Source("raw", "a.wav", "", "e1"))
    commit.claim(world.records, world.objects, first, RecordHold("t1", "me"), IN_TIME)
    before = world.item()

    request = JobRequest("rec-1", "user-9", "dev-7", asked)
    taken = commit.take_over(world.records, request, RecordHold("t2", "me"), 1, IN_TIME)

    assert (taken is not None) is is_taken
    assert is_taken or world.item() == before
