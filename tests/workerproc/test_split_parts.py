"""What the files of a recording's parts promise to a worker that finds them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.workerproc.test_checkpoint import MARK, SEGMENTS, WORK
from workerproc.checkpoints import checkpoint
from workerproc.checkpoints.checkpoint import WorkIdentity
from workerproc.checkpoints.split_parts import SplitParts


def test_part_is_found_as_it_was_put(tmp_path: Path) -> None:
    SplitParts(tmp_path, WORK, 2).put(1, MARK, SEGMENTS[:3], is_done=False)

    parts = SplitParts(tmp_path, WORK, 2)

    found = parts.get(1)
    assert found is not None
    assert (found.mark, found.segments) == (MARK, SEGMENTS[:3])
    assert parts.get(0) is None


@pytest.mark.parametrize("ending", ["json", "done"])
@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(WORK, audio_sha256="cd" * 32),
        dataclasses.replace(WORK, model="base"),
        dataclasses.replace(WORK, options={"beam_size": "1"}),
        dataclasses.replace(WORK, engine={"ctranslate2": "4.9"}),
    ],
    ids=["audio", "model", "options", "engine"],
)
def test_part_of_other_work_is_not_taken_for_this_one(
    tmp_path: Path, other: WorkIdentity, ending: str
) -> None:
    """Folders differ by work; a file of other work in this one's folder is refused by what it says itself."""
    parts = SplitParts(tmp_path, WORK, 1)
    lines = [checkpoint.write_segment(segment) for segment in SEGMENTS[:3]]
    (folder,) = tmp_path.iterdir()
    (folder / f"0000.{ending}").write_bytes(checkpoint.write(other, MARK, lines, ending == "done"))

    assert parts.get(0) is None
