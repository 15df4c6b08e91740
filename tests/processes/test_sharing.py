"""One long recording over two slots, with the whole service: the text of one slot, and no wait for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.processes.rem_service import running, wait_for
from tests.processes.senders import LocalSender, finished, transcript_of
from tests.worker import recordings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LIMIT_S = 200.0
CONFIG = """
[transcription]
profile = "fast"
batch_size = 2
[devices]
device = "cpu"
cpu_slots = {slots}
"""


def transcribed(folder: Path, audio: Path, slots: int) -> tuple[dict[str, Any], str]:
    """Run a service of so many slots on one recording; give its transcript and the service's log."""
    (folder / "config.toml").write_text(CONFIG.format(slots=slots), encoding="utf-8")
    sender = LocalSender(folder / "state" / "local")
    with running(folder / "state") as service:
        service.wait_ready(slots)
        job = sender.send(audio)
        record = wait_for(lambda: finished(sender, job), "the record", LIMIT_S)
        return transcript_of(sender, record), service.log


def test_idle_slot_helps_and_the_text_is_that_of_one_slot(tmp_path: Path) -> None:
    spoken = [recordings.samples_of(clip.path) for clip in recordings.samples()]
    path = recordings.wav(tmp_path / "long.wav", np.concatenate(spoken * 2))
    found = {}
    for slots in (1, 2):
        folder = tmp_path / str(slots)
        folder.mkdir()
        found[slots], told = transcribed(folder, path, slots)
        helped = [line for line in told.splitlines() if '"helped"' in line]
        assert len(helped) == slots - 1, told[-3_000:]

    assert len(found[1]["cuts"]) == 1
    assert found[2]["segments"] == found[1]["segments"]
    assert found[2]["fullText"] == found[1]["fullText"] != ""
