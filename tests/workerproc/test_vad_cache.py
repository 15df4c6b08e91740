"""What listening told of a recording is used by whoever works on just that, and by nobody else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from supervisor.contract import job_folder
from workerproc.checkpoints import vad_cache
from workerproc.checkpoints.checkpoint import WorkIdentity
from workerproc.checkpoints.split_parts import SplitParts
from workerproc.checkpoints.vad_cache import VadCache

WORK = WorkIdentity(100, "sha", "tiny.en", {"beam_size": "5"}, {"threads": "1"})
FOUND = VadCache(
    [{"start": 0, "end": 32_000}, {"start": 40_000, "end": 50_000}],
    [],
    "en",
    -4.123456789012345,
    ("left out",),
)


def never() -> WorkIdentity:
    raise AssertionError("the audio was read for nothing")


def test_findings_are_those_of_one_audio_engine_and_set_of_options(tmp_path: Path) -> None:
    assert vad_cache.read(tmp_path, never) is None
    vad_cache.write(tmp_path, WORK, FOUND)

    assert vad_cache.read(tmp_path, lambda: WORK) == FOUND
    for other in ({"audio_sha256": "x"}, {"options": {"beam_size": "2"}}, {"engine": {"threads": "2"}}):
        assert vad_cache.read(tmp_path, lambda other=other: dataclasses.replace(WORK, **other)) is None  # type: ignore[misc]


@pytest.mark.parametrize(
    "change", [('"language"', '"x"'), ("32000", '"x"'), ("[0, ", "[9999999, "), ("{", "[")]
)
def test_findings_that_make_no_sense_are_none(tmp_path: Path, change: tuple[str, str]) -> None:
    vad_cache.write(tmp_path, WORK, FOUND)
    path = tmp_path / job_folder.VAD_CACHE
    path.write_text(path.read_text().replace(*change))

    assert vad_cache.read(tmp_path, lambda: WORK) is None


def test_one_asking_is_answered_by_one(tmp_path: Path) -> None:
    one, other = SplitParts(tmp_path, WORK, 2), SplitParts(tmp_path, WORK, 2)
    assert not one.answer(9)

    other.ask(0)
    other.ask(0)

    assert one.answer(2)
    assert not one.answer(2)


def test_worker_gives_a_part_only_to_one_that_has_fewer_with_it(tmp_path: Path) -> None:
    parts = SplitParts(tmp_path, WORK, 3)
    parts.ask(1)

    assert not parts.answer(1)
    assert not parts.answer(2)
    assert parts.answer(3)
