"""A model of a single device's own comes from the hub, as the settings' model does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.driven_child import on, slot, wait_state
from tests.end_to_end.running_service import SAMPLES, running, wait_for
from tests.end_to_end.senders import LocalSender, finished, transcript_of
from tests.fake_nvml.build import FakeNvml
from tests.workerproc import loopback_hub
from tests.workerproc.loopback_hub import Hub
from workerproc.process import models

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

OWN = "somebody/whisper-of-gpu1"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with loopback_hub.running() as hub:
        yield hub


def test_a_devices_own_model_is_fetched_once_while_the_other_slots_work(
    tmp_path: Path, nvml: FakeNvml, hub: Hub
) -> None:
    nvml.set({"count": 2})
    (tmp_path / "config.toml").write_text(f'[devices.model]\n1 = "{OWN}"\n', encoding="utf-8")
    sender = LocalSender(tmp_path / "state" / "local")
    names = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"}
    with running(tmp_path / "state", **on(nvml, **names)) as service:
        service.wait_ready(1)
        waiting = wait_state(service, "gpu1", "held")  # the hub does not know it yet
        first = sender.send(SAMPLES / "harbour.wav")
        by_all = transcript_of(sender, wait_for(lambda: finished(sender, first), "a recording on gpu0"))
        packaged = models.packaged("tiny.en")
        assert packaged is not None
        hub.repositories[OWN] = {
            path.name: path.read_bytes() for path in packaged.iterdir() if path.is_file()
        }

        asked = service.command("release", "gpu1")
        wait_state(service, "gpu1", "ready")
        service.command("drain", "gpu0")
        wait_state(service, "gpu0", "stopped")
        second = sender.send(SAMPLES / "harbour.wav")
        by_own = transcript_of(sender, wait_for(lambda: finished(sender, second), "a recording on gpu1"))

        assert f"has no repository {OWN}" in waiting["reason"]
        assert f"looking for model {OWN} again" in asked.stdout
        assert (by_all["whisperModel"], by_own["whisperModel"]) == ("tiny.en", OWN)
        assert by_own["fullText"] == by_all["fullText"]
        assert slot(service, "gpu1")["restarts"] == 0
    weights = [line for line in hub.requests if line.startswith("GET") and line.endswith("/model.bin")]
    assert len(weights) == 1
