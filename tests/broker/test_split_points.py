"""Where a recording was cut stands in its record, whatever is permitted, and reaches whoever carries on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from supervisor.broker.in_flight import split_points
from supervisor.broker.ports.job_request import Source
from supervisor.broker.rules import record_rules
from supervisor.broker.rules.record_rules import Cuts, RecordHold, Result
from supervisor.contract import job_folder
from tests.broker.model import World, assert_once, new_world
from tests.broker.model_supervisor import Plan

CUTS = Cuts("0123abcd", "1440000 2893312")
LONG = Plan(work_s=200.0, checkpoint_s=10.0, wanted=1)


def cut_it(world: World, shares: bool) -> None:
    """A host whose worker cuts the recording; it dies for ever once the record knows that."""
    host = world.host(LONG)
    assert host.dispatcher is not None
    host.dispatcher._context.shares = shares
    world.send()
    world.run(lambda: "rec-1" in host.supervisor.jobs)
    split_points.write(CUTS, Path(host.supervisor.jobs["rec-1"].card.folder))  # writes it as a worker does
    world.run(lambda: record_rules.cuts_of(world.item()) == CUTS)
    host.dies()
    host.is_gone = True


@pytest.mark.parametrize("shares", [True, False])
def test_cuts_are_in_the_record_and_in_the_folder_of_the_next_host(tmp_path: Path, shares: bool) -> None:
    """With the checkpoint's pointer; where none may be kept, with the next renewal."""
    with new_world(tmp_path) as world:
        cut_it(world, shares)
        other = world.host(LONG)
        world.run(lambda: "rec-1" in other.supervisor.jobs)

        assert split_points.read(Path(other.supervisor.jobs["rec-1"].card.folder)) == CUTS

        world.run(world.is_quiet)
        assert_once(world)
        assert record_rules.cuts_of(world.item()) == CUTS


def test_recording_that_is_done_in_one_piece_has_no_cuts_of_an_earlier_transcript() -> None:
    hold, source = RecordHold("token", "owner"), Source("raw", "a.wav")
    change = record_rules.complete("t.json", hold, Result("en", 1.0, "abc"), source, 0.0)

    assert "remCuts" in change.remove
    assert "remCuts" not in change.put


@pytest.mark.parametrize("odd", ["text", {}, {"of": 1, "at": "1"}, {"of": "x", "at": [1]}])
def test_odd_cuts_of_a_record_are_none(odd: object) -> None:
    assert record_rules.cuts_of({"remCuts": odd}) is None


@pytest.mark.parametrize(
    "odd",
    [
        "",
        "[1]",
        '{"of": "x"}',
        '{"of": "x", "at": "1, 2"}',
        json.dumps({"of": "x", "at": "1 " * 9_000 + "1"}),
    ],
)
def test_odd_file_or_one_too_large_for_a_record_is_none(tmp_path: Path, odd: str) -> None:
    assert split_points.read(tmp_path) is None

    (tmp_path / job_folder.SPLIT_POINTS).write_text(odd)

    assert split_points.read(tmp_path) is None
