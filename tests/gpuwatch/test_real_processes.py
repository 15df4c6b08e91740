"""The doctor's questions on a fake driver, and gpuwatch on NVIDIA's own library without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Optional

import pytest

from tests.fake_nvml.build import FakeNvml, build
from tests.gpuwatch.process import LIMIT_S, TOP, Gpuwatch

pytestmark = pytest.mark.slow


@pytest.fixture
def nvml(tmp_path: Path) -> FakeNvml:
    return FakeNvml(tmp_path / "driver", build(tmp_path))


def test_the_doctors_check_names_each_gpu_and_what_is_wrong_with_it(nvml: FakeNvml) -> None:
    nvml.set({"gpu0.recovery": 1, "gpu1.mig": "MIG-aa"})
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TOP), **nvml.environ()}

    done = subprocess.run(
        [sys.executable, "-m", "supervisor.gpuwatch", "check"], env=environ, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip

    *found, _ = map(json.loads, done.stdout.splitlines())
    lines = {line["check"]: line for line in found}
    assert lines["gpus"]["detail"].startswith("2 usable")
    assert lines["gpu0"]["state"] == "fail"
    assert f"nvidia-smi --gpu-reset -i {nvml.uuid(0)}" in lines["gpu0"]["cure"]
    assert lines["gpu1 mig0"]["state"] == "ok"
    assert "24.0 GiB" in lines["gpu1 mig0"]["detail"]


def real_library() -> Optional[Path]:
    """Find NVIDIA's own library, unpacked for a trial: REM_REAL_NVML names its folder."""
    folder = os.environ.get("REM_REAL_NVML", "")
    found = Path(folder) / "libnvidia-ml.so.1"
    return found if folder and found.exists() else None


def test_the_real_library_without_a_driver_says_so() -> None:
    library = real_library()
    if library is None:
        pytest.skip(
            "set REM_REAL_NVML to the folder of NVIDIA's libnvidia-ml.so.1 (Debian: libnvidia-ml1, non-free)"
        )
    watch = Gpuwatch({"LD_LIBRARY_PATH": str(library.parent)})
    try:
        told = watch.tells_devices()
    finally:
        watch.link.close()
        watch.process.wait(LIMIT_S)

    assert told.failed
    assert "NVML error 9" in told.problem
    assert "modprobe nvidia" in told.problem
