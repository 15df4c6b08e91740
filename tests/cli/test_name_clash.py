"""PyPI's supervisord beside us, under the same import name, is noticed and explained."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.cli.client.name_clash import explain

TOP = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("record", ["supervisor-4.3.0.dist-info", "Supervisor-4.2.5.egg-info"])
def test_supervisords_record_in_any_folder_of_the_path_is_a_clash(tmp_path: Path, record: str) -> None:
    (tmp_path / record).mkdir()

    said = explain(["", str(tmp_path / "absent.zip"), str(tmp_path)])

    assert said is not None
    assert f"is installed in {tmp_path} " in said
    assert "a separate environment" in said


@pytest.mark.parametrize(
    "record",
    ["rem_supervisor-0.1.0.dist-info", "supervisor", "supervisor-stubs-1.0.dist-info", "supervisor.pth"],
)
def test_other_names_are_no_clash(tmp_path: Path, record: str) -> None:
    (tmp_path / record).mkdir()

    assert explain([str(tmp_path)]) is None


def test_this_environment_has_no_clash() -> None:
    assert explain(sys.path) is None


def test_the_command_explains_the_clash_even_where_our_package_is_half_overwritten(tmp_path: Path) -> None:
    """Seen with supervisord 4.3.0 installed after us: its empty `__init__.py` replaced ours, and every
    command ended in "ImportError: cannot import name '__version__'"."""
    shutil.copytree(TOP / "supervisor", tmp_path / "supervisor", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "supervisor" / "__init__.py").write_text("#\n")
    (tmp_path / "supervisor-4.3.0.dist-info").mkdir()

    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from supervisor.cli.main import main; sys.exit(main(['status']))",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("rem-supervisor: PyPI's supervisor 4.3.0 (supervisord) is installed in")
    assert "Traceback" not in done.stderr
