"""How a process notices that it did not run."""

from __future__ import annotations

from typing import Callable

import pytest

from supervisor.contract import clock
from supervisor.service.pause_detector import LATE_S, PULSE_S, PauseDetector


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def set_to(now_s: float) -> None:
        monkeypatch.setattr(clock, "now_s", lambda: now_s)

    set_to(100.0)
    return set_to


def test_a_pause_is_told_in_its_whole_length_and_once(set_clock: Callable[[float], None]) -> None:
    pause_detector = PauseDetector(lambda: None)

    assert pause_detector.missed_s(101.0) == 0.0
    assert pause_detector.missed_s(141.0) == 40.0
    assert pause_detector.missed_s(141.5) == 0.0


def test_what_a_busy_machine_does_to_a_loop_is_no_pause(set_clock: Callable[[float], None]) -> None:
    pause_detector = PauseDetector(lambda: None)

    assert pause_detector.missed_s(100.0 + PULSE_S + LATE_S) == 0.0
    assert pause_detector.missed_s(106.5) == 3.5
