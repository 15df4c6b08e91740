"""What a dead broker, or a whole dead service, leaves to the next one: real processes on both backends."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from supervisor.broker.ports.ports import Change, Present, RecordKey
from supervisor.contract import clock
from supervisor.contract.wire.messages import (
    Adopted,
    Commit,
    Done,
    Ending,
    Fail,
    Failure,
    Ready,
    Release,
)
from tests.broker.harness import stage, until
from tests.broker.worlds import USER, World

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("moment", ["ready", "staged"])
def test_heir_of_a_killed_broker_goes_on_with_the_same_attempt(world: World, job: Any, moment: str) -> None:
    with world.broker() as broker:
        card = broker.take_one()
        if moment == "staged":
            stage(card)
        broker.kill()

    with world.broker() as heir:
        again = heir.hear(Ready).card
        assert heir.hear(Adopted).job_ids == ("rec-1",)
        assert again == dataclasses.replace(card, staged=moment == "staged")
        assert (Path(again.folder) / "audio").stat().st_size == 10_000
        if moment == "ready":
            stage(again)
        heir.say(Commit("rec-1"))
        assert heir.hear(Done).ending is Ending.DONE

    assert world.record()["remAttempt"] == 1
    world.wait_until_empty()


def test_heir_finishes_a_commit_by_itself_wherever_it_was_cut_off(
    world: World, job: Any, tmp_path: Path
) -> None:
    with world.broker() as broker:
        card = broker.take_one()
        stage(card, "Kept.")
        broker.say(Commit("rec-1"))
        (lease,) = (Path(world.settings.state_dir) / "leases").glob("*.json")
        until(lambda: not lease.exists() or "committing" in lease.read_text(), "the commit's beginning")
        broker.kill()

    with world.broker() as heir:
        heir.hear(Adopted)
        world.wait_until_empty()

    assert world.record()["remState"] == "DONE"
    assert world.record()["remAttempt"] == 1
    assert world.text_of("transcripts/user-9/dev-7/rec-1.txt", tmp_path) == "Kept."


@pytest.mark.parametrize(
    "late",
    [
        Commit("rec-1", attempt=7),
        Fail("rec-1", Failure.REJECTED, "late", attempt=7),
        Release("rec-1", "late", attempt=7),
    ],
    ids=lambda late: type(late).__name__,
)
def test_late_word_on_another_attempt_changes_nothing(world: World, job: Any, late: Any) -> None:
    with world.broker() as broker:
        card = broker.take_one()

        broker.say(late)
        broker.logged("ignoring late message of an earlier attempt")
        stage(card)
        broker.say(Commit("rec-1", card.attempt))

        assert broker.hear(Done).ending is Ending.DONE
    assert world.record()["remAttempt"] == 1


def test_heir_finishes_what_died_after_the_fence(world: World, job: Any, tmp_path: Path) -> None:
    """The exact moment, made by hand: record fenced and lease in its commit, nothing published."""
    with world.broker() as broker:
        stage(broker.take_one(), "Kept.")
        broker.kill()
    (lease,) = (Path(world.settings.state_dir) / "leases").glob("*.json")
    lease.write_text(lease.read_text().replace('"ready"', '"committing"'))
    fence = Change(Present("remToken"), {"remState": "PUBLISHING"})
    world.records.update(RecordKey(USER, "rec-1"), fence)

    with world.broker() as heir:
        assert heir.hear(Adopted).job_ids == ("rec-1",)
        assert heir.hear(Done) == Done("rec-1", Ending.DONE, "", 1.5)

    assert world.record()["remAttempt"] == 1
    assert world.text_of("transcripts/user-9/dev-7/rec-1.txt", tmp_path) == "Kept."
    world.wait_until_empty()


@pytest.mark.parametrize("phase", ["ready", "committing", "ending"])
def test_heir_begins_anew_what_it_finds_without_its_files(world: World, job: Any, phase: str) -> None:
    """A chaos run found a job announced whose folder its last broker had removed already."""
    with world.broker() as broker:
        card = broker.take_one()
        broker.kill()
    (lease,) = (Path(world.settings.state_dir) / "leases").glob("*.json")
    lease.write_text(lease.read_text().replace('"ready"', f'"{phase}"'))
    shutil.rmtree(card.folder)

    with world.broker() as heir:
        assert heir.hear(Adopted).job_ids == ()
        again = heir.hear(Ready).card
        assert heir.finish(again).ending is Ending.DONE

    assert again.attempt == 2
    world.wait_until_empty()


def test_everything_is_given_back_within_two_seconds_of_the_supervisors_death(world: World, job: Any) -> None:
    with world.broker() as broker:
        broker.take_one()
        began_s = clock.now_s()
        broker.hang_up()
        assert broker.ended() == 0
        took_s = clock.now_s() - began_s

    assert took_s < 2.5
    (message,) = until(lambda: world.queue.receive(1, 30, 0), "the message, visible again")
    assert message.receive_count == 2
    item = world.record()
    assert item["remReleases"] == 1
    assert not {"remState", "remToken", "remOwner", "remLeaseUnix"} & set(item)


def test_new_service_takes_over_at_once_what_supervisor_and_broker_left_by_dying_together(
    world: World, job: Any
) -> None:
    """Its lease is forgotten (as after a reboot): the queue brings it, the record's owner is ourselves."""
    short = world.with_lease(4)
    with world.broker(short) as broker:
        broker.take_one()
        broker.kill()
    for lease in (Path(world.settings.state_dir) / "leases").glob("*.json"):
        lease.unlink()

    with world.broker() as heir:
        assert heir.hear(Adopted).job_ids == ()
        assert list((Path(world.settings.state_dir) / "spool").iterdir()) == []
        card = heir.take_one()  # after the lease's 4 s, not after the record's 180 s
        heir.finish(card)

    assert card.attempt == 2
    assert world.record()["remState"] == "DONE"
