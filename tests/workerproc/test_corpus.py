"""Every bad file is rejected with a reason or transcribed; one worker lives through all of them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from supervisor.contract.wire.messages import Failed, Failure, Staged
from tests.workerproc.corpus import CORPUS
from tests.workerproc.process import Worker, card

pytestmark = pytest.mark.slow

AT_MOST_S = 30.0  # a few seconds of audio: what takes longer goes round in circles
# Nobody could transcribe these, so nobody may claim to have.
HOPELESS = (
    *("empty", "one byte", "header alone", "letter named .wav", "web page", "JSON", "PNG", "ELF program"),
    *("zip with a WAV in it", "video without sound", "ffconcat of /etc/hostname", "ffconcat of itself"),
    *("HLS playlist", "HLS playlist of the metadata service", "DASH manifest", "SDP"),
)
# All of these are whole recordings of speech, or begin with one.
SOUND = (
    *("8 kHz", "192 kHz", "stereo", "eight channels", "24 bit", "8 bit", "32-bit float", "video with sound"),
    *("M4A", "WAV cut in the middle", "20,000 empty chunks", "two WAVs end to end"),
)


def test_corpus_is_large_enough_to_mean_something() -> None:
    assert len(CORPUS) >= 40
    assert set(HOPELESS) | set(SOUND) <= set(CORPUS)


@pytest.mark.parametrize("name", CORPUS)
def test_bad_file_is_rejected_with_a_reason_or_transcribed(worker: Worker, tmp_path: Path, name: str) -> None:
    source = tmp_path / "made"
    CORPUS[name](source)
    began_s = time.monotonic()

    ending = worker.do(card(tmp_path / "job", source))

    assert time.monotonic() - began_s < AT_MOST_S
    assert worker.process.poll() is None
    if isinstance(ending, Failed):
        assert ending.failure is Failure.REJECTED, ending
        assert 10 < len(ending.detail) < 300
        assert len(ending.detail.split()) > 2
        assert "\n" not in ending.detail
        assert str(tmp_path) not in ending.detail, "a reason is for people elsewhere too"
        assert name not in SOUND, ending
        assert not (tmp_path / "job" / "staged.json").exists()
        return
    assert isinstance(ending, Staged)
    assert name not in HOPELESS
    document = json.loads((tmp_path / "job" / "transcript.json").read_bytes())
    assert 0 <= document["durationSeconds"] < 600
    assert document["fullText"] == " ".join(part["text"] for part in document["segments"])
    if name in SOUND:
        assert document["fullText"]


def test_worker_is_the_same_and_well_after_all_of_them(worker: Worker, tmp_path: Path) -> None:
    """In one process with the tests above (and alone where they run elsewhere)."""
    for name in ("random bytes", "8 kHz"):
        CORPUS[name](tmp_path / f"{name}.made")

    assert isinstance(worker.do(card(tmp_path / "bad", tmp_path / "random bytes.made")), Failed)
    assert isinstance(worker.do(card(tmp_path / "good", tmp_path / "8 kHz.made")), Staged)
    assert worker.process.poll() is None
