"""Cuts that were made once are those of everybody who works on the same audio with the same options."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from supervisor.broker.in_flight import split_points as brokers
from supervisor.contract import job_folder
from workerproc.checkpoints import split_file, split_points
from workerproc.checkpoints.checkpoint import WorkIdentity
from workerproc.checkpoints.split_points import Stretch

WORK = WorkIdentity(100, "sha", "tiny.en", {"beam_size": "5"}, {"threads": "1"})
AT = [1_440_000, 2_893_312]
SPEECH: list[Stretch] = [{"start": 0, "end": 2_000_000}, {"start": 2_100_000, "end": 5_000_000}]


def never() -> WorkIdentity:
    raise AssertionError("the audio was read for nothing")


def test_cuts_are_read_for_the_same_audio_and_options_only(tmp_path: Path) -> None:
    assert split_file.read(tmp_path, never) is None
    split_file.write(tmp_path, WORK, AT)

    assert split_file.read(tmp_path, lambda: WORK) == AT
    other_engine = dataclasses.replace(WORK, engine={}, model="base")
    assert split_file.read(tmp_path, lambda: other_engine) == AT
    for other in ({"audio_sha256": "x"}, {"options": {"beam_size": "2"}}):
        assert split_file.read(tmp_path, lambda other=other: dataclasses.replace(WORK, **other)) is None  # type: ignore[misc]


def test_broker_understands_the_file_up_to_its_largest(tmp_path: Path) -> None:
    most = [12 * 3600 * 16_000 * 3 - n for n in range(split_file.CUTS_MOST, 0, -1)]

    split_file.write(tmp_path, WORK, most)

    found = brokers.read(tmp_path)
    assert found is not None
    (tmp_path / job_folder.SPLIT_POINTS).unlink()
    brokers.write(found, tmp_path)
    assert split_file.read(tmp_path, lambda: WORK) == most


def test_more_cuts_than_a_record_should_hold_are_not_kept(tmp_path: Path) -> None:
    split_file.write(tmp_path, WORK, range(1, split_file.CUTS_MOST + 2))
    split_file.write(tmp_path, WORK, [])
    assert not list(tmp_path.iterdir())

    split_file.forget(tmp_path)
    split_file.write(tmp_path, WORK, AT)
    split_file.forget(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("odd", ["", "[]", '{"of": 1, "at": 2}', '{"at": "1"}', "null"])
def test_file_that_makes_no_sense_is_none(tmp_path: Path, odd: str) -> None:
    (tmp_path / job_folder.SPLIT_POINTS).write_text(odd)

    assert split_file.read(tmp_path, lambda: WORK) is None


def test_cut_where_they_began_the_parts_are_the_same() -> None:
    parts = split_points.parts(
        SPEECH, [{"start": 1_500_000, "end": 1_520_000}, {"start": 2_000_000, "end": 2_100_000}]
    )
    assert len(parts) > 1

    assert split_points.parts_at(SPEECH, split_points.begins(parts)) == parts
    assert split_points.parts_at(SPEECH, [0]) is None
    assert split_points.parts_at(SPEECH, [9_000_000]) is None


def test_what_was_reached_in_other_parts_is_other_work() -> None:
    one, same, other = (split_file.of_parts(WORK, at) for at in (AT, list(AT), AT[:1]))

    assert one == same
    assert len({str(work.options) for work in (WORK, one, other)}) == 3
