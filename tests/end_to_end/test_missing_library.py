"""A CUDA library that is missing, as a worker meets it: the first encode aborts the process."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.driven_child import log_lines, on, slot, wait_state
from tests.end_to_end.running_service import SAMPLES, running, wait_for
from tests.end_to_end.senders import LocalSender, finished
from tests.fake_nvml.build import SOURCE, FakeNvml, compiler

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def no_cudnn(tmp_path: Path) -> Path:
    """Build what takes the place of CTranslate2's encoder; see no_cudnn.c."""
    found, source = compiler(), SOURCE.with_name("no_cudnn.c")
    assert found is not None  # the fake driver was built before
    for name, more in (("no_cudnn.so", ()), ("encoder.so", ("-DENCODER",))):
        built = tmp_path / name
        subprocess.run([found, "-shared", "-fPIC", *more, "-o", built, source, "-ldl"], check=True)
    return tmp_path / "no_cudnn.so"


def test_a_worker_that_lacks_cudnn_is_held_with_the_cure_and_its_neighbour_works(
    tmp_path: Path, nvml: FakeNvml, no_cudnn: Path
) -> None:
    """No exception, no exit code: words on stderr and SIGABRT, and again at each new start."""
    nvml.set({"count": 2})
    sender = LocalSender(tmp_path / "state" / "local")
    lacking = {"LD_PRELOAD": str(no_cudnn), "CT2_LACKS_CUDNN": nvml.uuid(1)}
    with running(tmp_path / "state", **on(nvml, **lacking)) as service:
        held = wait_state(service, "gpu1", "held")
        service.wait_ready(1)
        job = sender.send(SAMPLES / "harbour.wav")
        wait_for(lambda: finished(sender, job), "a recording done on the other GPU")

        text = " ".join(service.command("status").stdout.split())
        assert "SIGABRT: the library libcudnn_ops.so.9.1.0 is missing" in held["reason"]
        assert "pip install 'rem-supervisor[cuda]'" in text
        assert (held["hold"], held["restarts"], held["pid"]) == ("settings", 0, None)
        assert slot(service, "gpu0")["restarts"] == 0
        assert (service.status() or {})["totals"]["crashed"] == 1
        wait_for(lambda: log_lines(service, "child process exited unexpectedly"), "the line about its death")
        assert len(log_lines(service, "child process exited unexpectedly")) == 1

        # Nothing was installed: the same again, and the command says so.
        assert service.command("release", "gpu1").returncode == 1
        wait_for(lambda: len(log_lines(service, "child process exited unexpectedly")) == 2, "a second life")
        assert "libcudnn_ops" in wait_state(service, "gpu1", "held")["reason"]
