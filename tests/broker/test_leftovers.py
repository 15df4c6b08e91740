"""A result outlives its lease: when the message comes again, only the commit is missing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from supervisor.broker.in_flight.spool import Spool
from supervisor.broker.ports.errors import ResultBroken
from supervisor.broker.ports.ports import Change, Present, RecordKey
from supervisor.broker.rules.record_rules import DONE, PUBLISHING, RecordHold, fence, free
from supervisor.contract import clock
from supervisor.contract.job_folder import AUDIO
from supervisor.contract.wire.messages import (
    Adopted,
    Commit,
    Done,
    Ending,
    JobCard,
    Lost,
    Ready,
    Wanted,
)
from tests.broker.harness import BrokerProcess, stage, term, until
from tests.broker.impatient_broker import IMPATIENT
from tests.broker.worlds import USER, World

KEY = RecordKey(USER, "rec-1")


def staged_by_a_dead_service(world: World) -> JobCard:
    """Let a job be staged, then let broker and supervisor die and the lease run out."""
    with world.broker() as broker:
        card = broker.take_one()
        stage(card, "From the first life.")
    for path in (Path(world.settings.state_dir) / "leases").glob("*.json"):
        saved = json.loads(path.read_text().splitlines()[-1])
        world.queue.release(saved["handle"], 0.0)
        path.write_text(json.dumps({**saved, "deadline_at_s": clock.now_s() - 1.0}) + "\n")
    return card


def committed_as_found(broker: BrokerProcess, attempt: int) -> None:
    """Expect the job to come staged, and let it be published."""
    assert broker.hear(Adopted) == Adopted(())
    broker.say(Wanted(1))
    card = broker.hear(Ready).card
    assert (card.staged, card.attempt) == (True, attempt)
    broker.say(Commit(card.job_id))
    assert broker.hear(Done).ending is Ending.DONE


@pytest.mark.slow
@pytest.mark.parametrize("state", ["CLAIMED", "PUBLISHING", "freed"])
def test_result_of_a_dead_life_is_published_when_its_message_comes_again(
    world: World, job: dict[str, Any], tmp_path: Path, state: str
) -> None:
    card = staged_by_a_dead_service(world)
    item = world.record()
    hold = RecordHold(item["remToken"], item["remOwner"])
    if state == PUBLISHING:
        world.records.update(KEY, fence(hold, term(clock.wall_unix_s())))
    elif state == "freed":
        world.records.update(KEY, free(hold, "remReleases", "drain"))

    with world.broker() as broker:
        committed_as_found(broker, card.attempt)
        spool = Path(world.settings.state_dir) / "spool"
        until(lambda: not list(spool.iterdir()), "the job's files removed")

    after = world.record()
    assert (after["remState"], after["remAttempt"]) == (DONE, 1)
    assert world.text_of("transcripts/user-9/dev-7/rec-1.txt", tmp_path) == "From the first life."
    world.wait_until_empty()


@pytest.mark.slow
def test_result_that_somebody_has_overtaken_is_thrown_away(world: World, job: dict[str, Any]) -> None:
    staged_by_a_dead_service(world)
    world.records.update(KEY, Change(Present("remState"), increment={"remAttempt": 1}))

    with world.broker() as broker:
        card = broker.take_one()

        assert (card.staged, card.attempt) == (False, 3)


@pytest.mark.slow
def test_lost_lease_leaves_the_result_for_the_next_delivery(
    world: World, job: dict[str, Any], tmp_path: Path
) -> None:
    with world.broker(world.with_lease(4), IMPATIENT) as broker:
        card = broker.take_one()
        stage(card)
        # Nobody says Keep: the lease runs out, the queue brings the message again.
        broker.hear(Lost)
        assert not (Path(card.folder) / AUDIO).exists()
        broker.say(Wanted(1))
        again = broker.hear(Ready).card
        assert (again.staged, again.attempt) == (True, 1)
        broker.say(Commit(again.job_id))
        assert broker.hear(Done).ending is Ending.DONE


@pytest.mark.slow
def test_message_that_came_too_often_has_failed_for_good(world: World, job: dict[str, Any]) -> None:
    settings = dataclasses.replace(
        world.settings, queue=dataclasses.replace(world.settings.queue, max_receives=2)
    )
    for _ in range(2):
        (message,) = until(lambda: world.queue.receive(1, 30.0, 0.0), "a message")
        world.queue.release(message.handle, 0.0)

    with world.broker(settings) as broker:
        broker.say(Wanted(1))
        until(lambda: world.record().get("status") == "FAILED", "a failed record")

        assert (
            world.record()["remReason"]
            == "It was delivered 3 times; the most allowed is 2 (queue.max_receives)."
        )
        world.wait_until_empty()


def test_only_a_whole_result_is_left_lying(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**6, 10**6)
    for key in (KEY, RecordKey(USER, "rec-2")):
        folder = spool.empty(key)
        (folder / AUDIO).write_bytes(b"RIFF")
        spool.admit(key, 400_000)
    stage(JobCard("rec-1", 1, str(spool.folder(KEY)), 4, "rec-1", USER, "dev-7"))

    spool.keep_if_staged(KEY)
    spool.keep_if_staged(RecordKey(USER, "rec-2"))

    assert spool.kept_attempt(KEY) == 1
    assert not spool.folder(RecordKey(USER, "rec-2")).exists()
    spool.admit(RecordKey(USER, "rec-3"), 1_000_000)  # both gave their room back
    with pytest.raises(ResultBroken):
        spool.staged(KEY, 2)


def test_no_more_results_are_left_lying_than_a_thousand(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**9, 10**6)
    for number in range(1_003):
        key = RecordKey(USER, f"rec-{number}")
        (spool.empty(key) / "staged.json").write_text("{}")
        spool.keep_if_staged(key)

    assert len(list(tmp_path.iterdir())) == 1_000
    assert not spool.folder(RecordKey(USER, "rec-2")).exists()
