"""The file names and the format of `cuts.json` that broker and worker share."""

from __future__ import annotations

import json

import pytest

from supervisor.contract import job_folder
from supervisor.contract.job_folder import SplitPointsFile


def test_split_points_are_read_as_they_were_written() -> None:
    content = SplitPointsFile("a" * 64, "1440000 2893312")

    assert job_folder.read_split_points(job_folder.write_split_points(content)) == content


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        {},
        {"of": "x"},
        {"of": 1, "at": "1"},
        {"of": "x", "at": [1]},
        {"of": "x", "at": ""},
        {"of": "x", "at": "1, 2"},
        {"of": "x", "at": "1 "},
        {"of": "x", "at": "1" * 13},
        {"of": "x" * 65, "at": "1"},
        {"of": "x", "at": "1 " * 9_000 + "1"},
    ],
)
def test_invalid_split_points_are_none(plain: object) -> None:
    assert job_folder.read_split_points(json.dumps(plain).encode()) is None


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[" * 10_000])
def test_split_points_that_are_not_json_are_none(data: bytes) -> None:
    assert job_folder.read_split_points(data) is None
