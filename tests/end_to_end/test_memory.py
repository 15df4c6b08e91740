"""Too little memory to load a model: down the ladder, then held with what would fit; never a broken model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.driven_child import slot, wait_state
from tests.end_to_end.running_service import running
from tests.end_to_end.service_with_test_workers import TIGHT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CONFIG = """
[transcription]
compute_type = "float32"
[devices]
device = "cpu"
cpu_slots = 1
"""


def test_model_that_does_not_fit_is_tried_smaller_once_and_then_held(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    with running(tmp_path / "state", TIGHT) as service:
        held = wait_state(service, "cpu0", "held")

        shown = slot(service, "cpu0")

    assert "not enough memory to load model tiny.en as int8" in held["reason"]
    assert "or more memory" in held["reason"]
    assert shown["memory"] == "memory ran out: computing as int8, 1 fresh start"
    assert shown["restarts"] == 1
