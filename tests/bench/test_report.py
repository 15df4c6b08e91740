"""A benchmark replaces its own part of RESULTS.md and nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def report() -> ModuleType:
    spec = importlib.util.spec_from_file_location("report", REPOSITORY / "bench" / "report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_part_between_its_markers_is_replaced_and_the_rest_stays(report: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    path.write_text("# A\n\n<!-- begin: x -->\nold\n<!-- end: x -->\n\n## B\n")

    report.write("x", report.table([["one", "two"], ["1", "2"]]), path)
    report.write("y", "other", path)

    table = "| one | two |\n| --- | --- |\n| 1 | 2 |"
    x = f"<!-- begin: x -->\n\n{table}\n\n<!-- end: x -->"
    y = "<!-- begin: y -->\n\nother\n\n<!-- end: y -->"
    assert path.read_text() == f"# A\n\n{x}\n\n## B\n\n{y}\n"


def test_part_whose_end_is_missing_is_not_guessed(report: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    path.write_text("<!-- begin: x -->\nold\n")

    with pytest.raises(ValueError, match="has no <!-- end: x -->"):
        report.write("x", "new", path)
    assert path.read_text() == "<!-- begin: x -->\nold\n"
