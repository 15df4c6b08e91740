"""One suite for records and objects: in memory, on SQLite with folders, on moto and ministack."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supervisor.broker.ports.errors import JobRejected, TryLater
from supervisor.broker.ports.ports import (
    AllOf,
    AnyOf,
    Applied,
    Below,
    Change,
    Equals,
    Missing,
    ObjectFacts,
    Present,
    RecordKey,
    Refused,
)
from tests.broker.ports_of_all import Ports

KEY = RecordKey("user", "rec")


def test_missing_record_is_created_by_its_first_change(ports: Ports) -> None:
    assert ports.records.get(KEY) is None

    answer = ports.records.update(KEY, Change(Missing("remState"), {"status": "x", "language": "en"}))

    expected = {"PK": "user", "SK": "rec", "status": "x", "language": "en"}
    assert answer == Applied(expected)
    assert ports.records.get(KEY) == expected


def test_refused_change_changes_nothing_and_shows_the_record(ports: Ports) -> None:
    ports.records.update(KEY, Change(Missing("a"), {"a": 1}))

    answer = ports.records.update(KEY, Change(Missing("a"), {"a": 2}))

    assert answer == Refused({"PK": "user", "SK": "rec", "a": 1})
    assert ports.records.update(RecordKey("user", "none"), Change(Present("a"), {"a": 2})) == Refused({})


def test_values_come_back_as_they_went_in(ports: Ports) -> None:
    values = {"n": 7, "f": 301.25, "t": "grüße 🎧", "m": {"bucket": "b", "n": 1.5}, "yes": True}

    ports.records.update(KEY, Change(Missing("n"), values))

    assert ports.records.get(KEY) == {"PK": "user", "SK": "rec", **values}


def test_put_if_missing_increment_and_remove_do_what_they_say(ports: Ports) -> None:
    ports.records.update(KEY, Change(Missing("a"), {"a": 1, "gone": "x"}))

    answer = ports.records.update(
        KEY, Change(Equals("a", 1), {"b": 2}, {"a": 9, "c": 3}, {"count": 2}, ("gone", "never-there"))
    )

    expected = {"PK": "user", "SK": "rec", "a": 1, "b": 2, "c": 3, "count": 2}
    assert answer == Applied(expected)


@pytest.mark.parametrize(
    ("item", "holds"),
    [
        ({"state": "CLAIMED", "lease": 5}, True),
        ({"state": "CLAIMED", "lease": 50}, False),
        ({"state": "CLAIMED", "lease": 50, "owner": "us"}, True),
        ({"state": "DONE", "lease": 5}, False),
        ({"other": 1}, True),
    ],
)
def test_nested_conditions_mean_the_same_everywhere(ports: Ports, item: dict[str, Any], holds: bool) -> None:
    may_go = AnyOf((Missing("lease"), Below("lease", 10.5), Equals("owner", "us")))
    condition = AnyOf(
        (Missing("state"), AllOf((AnyOf((Equals("state", "CLAIMED"), Equals("state", "X"))), may_go)))
    )
    ports.records.update(KEY, Change(Missing("seen"), item))

    answer = ports.records.update(KEY, Change(condition, {"seen": 1}))

    assert isinstance(answer, Applied) is holds


def test_of_many_claims_at_once_exactly_one_is_applied(ports: Ports) -> None:
    answers: list[object] = []
    start = threading.Barrier(6)

    def claim(number: int) -> None:
        start.wait()
        answers.append(ports.records.update(KEY, Change(Missing("token"), {"token": f"t{number}"})))

    threads = [threading.Thread(target=claim, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(isinstance(answer, Applied) for answer in answers) == 1
    assert len(answers) == 6


def test_object_comes_back_whole(ports: Ports, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(os.urandom(300_000))
    seen: list[ObjectFacts] = []

    ports.objects.put(ports.bucket, "a/b c+ü.wav", source, "audio/wav")
    facts = ports.objects.fetch(ports.bucket, "a/b c+ü.wav", target, seen.append)

    assert target.read_bytes() == source.read_bytes()
    assert seen == [facts]
    assert facts.size_bytes == 300_000
    assert facts.etag


def test_a_look_tells_of_the_object_what_a_fetch_tells(ports: Ports, tmp_path: Path) -> None:
    for name, data in (("some", b"x" * 100), ("empty", b"")):
        (tmp_path / name).write_bytes(data)
        ports.objects.put(ports.bucket, f"a/{name}", tmp_path / name, "audio/wav")
        fetched = ports.objects.fetch(ports.bucket, f"a/{name}", tmp_path / f"{name}-out", lambda facts: None)

        assert ports.objects.look(ports.bucket, f"a/{name}") == fetched
    assert ports.objects.look(ports.bucket, "a/nothing") is None
    assert ports.objects.look(ports.bucket, "a") is None


def test_a_look_sees_that_other_bytes_have_the_name_now(ports: Ports, tmp_path: Path) -> None:
    found = []
    for data in (b"first", b"other"):
        (tmp_path / "in").write_bytes(data)
        ports.objects.put(ports.bucket, "k", tmp_path / "in", "audio/wav")
        found.append(ports.objects.look(ports.bucket, "k"))

    assert found[0] != found[1]


def test_put_again_replaces(ports: Ports, tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "in").write_text(text)
        ports.objects.put(ports.bucket, "k", tmp_path / "in", "text/plain")

    ports.objects.fetch(ports.bucket, "k", tmp_path / "out", lambda size_bytes: None)

    assert (tmp_path / "out").read_text() == "second"


def test_deleted_object_is_gone_and_deleting_it_again_is_no_error(ports: Ports, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("x")
    for key in ("c/u/r/2", "c/u/r/1", "c/u/r-other/1", "c/u/else"):
        ports.objects.put(ports.bucket, key, tmp_path / "in", "text/plain")
    assert ports.objects.names(ports.bucket, "c/u/r/") == ["c/u/r/1", "c/u/r/2"]

    for key in ("c/u/r/1", "c/u/r/1", "c/u/r/2", "c/never/there"):
        ports.objects.delete(ports.bucket, key)

    assert ports.objects.names(ports.bucket, "c/u/r/") == []
    assert ports.objects.names(ports.bucket, "nothing/") == []
    assert len(ports.objects.names(ports.bucket, "c/")) == 2


def test_missing_object_can_never_become_a_job(ports: Ports, tmp_path: Path) -> None:
    with pytest.raises(JobRejected, match="no object 'nowhere"):
        ports.objects.fetch(ports.bucket, "nowhere.wav", tmp_path / "out", lambda size_bytes: None)


def test_refused_admission_leaves_no_file(ports: Ports, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x" * 100)
    ports.objects.put(ports.bucket, "k", tmp_path / "in", "text/plain")

    with pytest.raises(TryLater, match="full"):
        ports.objects.fetch(ports.bucket, "k", tmp_path / "out", _refuse(TryLater("spool", "full")))

    assert not (tmp_path / "out").exists()


def _refuse(error: Exception) -> Callable[[ObjectFacts], None]:
    def refuse(facts: ObjectFacts) -> None:
        raise error

    return refuse


def test_folder_that_vanished_is_the_spools_trouble(ports: Ports, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x" * 100)
    ports.objects.put(ports.bucket, "k", tmp_path / "in", "text/plain")

    with pytest.raises(TryLater) as caught:
        ports.objects.fetch(ports.bucket, "k", tmp_path / "gone" / "out", lambda size_bytes: None)

    assert caught.value.where == "spool"
