"""What a worker makes of its jobs: a real process with the real model."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from supervisor.contract.wire.messages import (
    Beat,
    Failed,
    Failure,
    Job,
    Room,
    Staged,
    StopJob,
)
from tests.workerproc import recordings
from tests.workerproc.process import Worker, card, model_path, worker_in
from tests.workerproc.recordings import Clip
from workerproc.transcripts import transcript

pytestmark = pytest.mark.slow

SAMPLES = {clip.path.stem: clip for clip in recordings.samples()}
HUMAN = recordings.human_clips()
SHORT, LONG = SAMPLES["harbour"], SAMPLES["lighthouse"]


def staged(worker: Worker, job_folder: Path, audio: Path, **changes: Any) -> dict[str, Any]:
    """Do a job that must succeed; give its transcript."""
    ending = worker.do(card(job_folder, audio, **changes))
    assert isinstance(ending, Staged), ending
    document: dict[str, Any] = json.loads((job_folder / "transcript.json").read_bytes())
    return document


def failed(worker: Worker, job_folder: Path, audio: Any, **changes: Any) -> Failed:
    ending = worker.do(card(job_folder, audio, **changes))
    assert isinstance(ending, Failed), ending
    assert not (job_folder / "staged.json").exists()
    return ending


# --- ready


def test_ready_worker_says_what_it_is(worker: Worker) -> None:
    facts = worker.up.facts

    assert worker.up.detail == "tiny.en on cpu (int8_float32)"
    assert float(facts["load_s"]) > 0
    assert float(facts["warmup_s"]) > 0
    assert facts["faster-whisper"] == "1.2.1"
    assert {"ctranslate2", "onnxruntime", "av", "model", "device", "compute_type"} <= set(facts)


def test_worker_holds_no_socket_but_its_link(worker: Worker) -> None:
    folder = Path(f"/proc/{worker.process.pid}/fd")
    if not folder.is_dir():
        pytest.skip("no /proc here")

    targets = [os.readlink(path) for path in folder.iterdir()]

    assert len([target for target in targets if target.startswith("socket:")]) == 1


# --- what it writes


def test_transcript_is_rems_and_the_mark_vouches_for_it(worker: Worker, tmp_path: Path) -> None:
    job = card(tmp_path, SHORT.path, job_id="job-a", attempt=3)

    ending = worker.do(job)

    data = (tmp_path / "transcript.json").read_bytes()
    document, mark = json.loads(data), json.loads((tmp_path / "staged.json").read_bytes())
    assert ending == Staged("job-a", 7.2645, ending.took_s, attempt=3)
    assert tuple(document)[:9] == transcript.REM_KEYS
    assert (document["recordingId"], document["userId"], document["deviceId"]) == (
        job.recording_id,
        job.user_id,
        job.device_id,
    )
    assert (document["language"], document["durationSeconds"], document["whisperModel"]) == (
        "en",
        7.26,
        "tiny.en",
    )
    assert (document["attempts"], document["resumedFrom"], document["warnings"]) == (3, 0.0, [])
    assert set(document["timings"]) == {"decode_s", "transcribe_s"}
    assert all(0.0 < segment["confidence"] <= 1.0 for segment in document["segments"])
    assert document["options"]["vad_parameters"]["min_silence_duration_ms"] == 500
    assert document["fullText"] == " ".join(segment["text"] for segment in document["segments"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["transcribedAt"])
    assert (tmp_path / "transcript.txt").read_text(encoding="utf-8") == document["fullText"]
    assert mark == {
        "job_id": "job-a",
        "attempt": 3,
        "language": "en",
        "duration_s": 7.26,
        "sha256_json": hashlib.sha256(data).hexdigest(),
        "took_s": mark["took_s"],
    }
    written = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir() if path.name != "audio"
    }
    assert written == {"transcript.txt": 0o600, "transcript.json": 0o600, "staged.json": 0o600}


def test_job_that_is_done_again_replaces_what_an_earlier_attempt_left(worker: Worker, tmp_path: Path) -> None:
    for name in ("transcript.txt", "transcript.json", "staged.json"):
        (tmp_path / name).write_text("of an earlier attempt")

    document = staged(worker, tmp_path, SHORT.path, attempt=2)

    assert document["attempts"] == 2
    assert json.loads((tmp_path / "staged.json").read_bytes())["attempt"] == 2


# --- the text


@pytest.fixture(scope="module")
def direct() -> Any:
    """faster-whisper by hand, with REM's options and the worker's threads.

    It may time a segment past the recording's end, by what it pads to 30 s; a transcript never does.
    """
    from faster_whisper import WhisperModel

    model = WhisperModel(
        model_path(), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True
    )

    def transcribe(path: Path) -> list[tuple[float, float, str]]:
        segments, info = model.transcribe(
            str(path), beam_size=5, vad_filter=True, vad_parameters={"min_silence_duration_ms": 500}
        )
        most_s = info.duration
        return [
            (round(min(s.start, most_s), 2), round(min(s.end, most_s), 2), s.text.strip()) for s in segments
        ]

    return transcribe


def words_of(text: str) -> list[str]:
    return re.sub(r"[^a-z0-9' ]", " ", text.lower()).split()


def word_error_ratio(heard: str, said: str) -> float:
    """Levenshtein over words."""
    rows = list(range(len(words_of(said)) + 1))
    for i, word in enumerate(words_of(heard), 1):
        above, rows[0] = rows[0], i
        for j, other in enumerate(words_of(said), 1):
            above, rows[j] = rows[j], min(rows[j] + 1, rows[j - 1] + 1, above + (word != other))
    return rows[-1] / len(words_of(said))


@pytest.mark.parametrize("clip", [*SAMPLES.values(), *HUMAN], ids=lambda clip: clip.path.name)
def test_speech_is_understood_and_the_text_is_faster_whispers_own(
    worker: Worker, direct: Any, tmp_path: Path, clip: Clip
) -> None:
    document = staged(worker, tmp_path, clip.path)

    heard = [(segment["start"], segment["end"], segment["text"]) for segment in document["segments"]]
    assert heard == direct(clip.path)
    assert word_error_ratio(document["fullText"], clip.reference) < 0.15


@pytest.mark.parametrize("make", [recordings.silence, recordings.noise, recordings.tone])
def test_recording_without_speech_is_a_transcript_without_text(
    worker: Worker, tmp_path: Path, make: Any
) -> None:
    document = staged(worker, tmp_path / "job", recordings.wav(tmp_path / "audio", make(8.0)))

    assert (document["fullText"], document["segments"], document["durationSeconds"]) == ("", [], 8.0)
    assert (tmp_path / "job" / "transcript.txt").read_bytes() == b""


def test_one_sample_of_audio_is_a_transcript_without_text(worker: Worker, tmp_path: Path) -> None:
    document = staged(worker, tmp_path / "job", recordings.wav(tmp_path / "audio", recordings.tone(1.0)[:1]))

    assert (document["fullText"], document["durationSeconds"]) == ("", 0.0)


@pytest.mark.parametrize("begins_s", [0.3, 1.5])
def test_moment_of_sound_gives_no_text_and_no_time_past_its_end(
    worker: Worker, direct: Any, tmp_path: Path, begins_s: float
) -> None:
    """faster-whisper makes sentences of it, from 0 to 1 s."""
    first = int(begins_s * recordings.RATE_HZ)
    path = recordings.wav(tmp_path / "a.wav", recordings.samples_of(SHORT.path)[first : first + 800])

    document = staged(worker, tmp_path / "job", path)

    assert direct(path) != []
    assert (document["fullText"], document["segments"], document["durationSeconds"]) == ("", [], 0.05)
    assert "too short for the text" in " ".join(document["warnings"])


def test_damaged_speech_is_transcribed_with_a_warning(worker: Worker, tmp_path: Path) -> None:
    whole = SHORT.path.read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])

    document = staged(worker, tmp_path / "job", tmp_path / "cut.wav")

    assert "boat" in document["fullText"]
    assert "announces 7.3 s" in " ".join(document["warnings"])


# --- what fails


def test_unusable_audio_is_rejected_and_the_worker_goes_on(worker: Worker, tmp_path: Path) -> None:
    letter = tmp_path / "letter.wav"
    letter.write_text("Dear Sir or Madam, " * 99)

    missing = failed(worker, tmp_path / "missing", None)
    not_audio = failed(worker, tmp_path / "letter", letter)

    assert (missing.failure, not_audio.failure) == (Failure.REJECTED, Failure.REJECTED)
    assert "no audio file" in missing.detail
    assert "not an audio file" in not_audio.detail
    assert staged(worker, tmp_path / "good", SHORT.path)["fullText"]


def test_full_disk_is_a_dependency_that_time_cures(worker: Worker, tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    draft = tmp_path / f".transcript.json.{worker.process.pid}.part"
    draft.symlink_to("/dev/full")

    ending = failed(worker, tmp_path, SHORT.path)

    assert ending.failure is Failure.DEPENDENCY
    assert "No space left" in ending.detail
    assert not draft.is_symlink()


def test_error_that_nobody_foresaw_fails_the_job_with_its_stack_in_the_log(
    worker: Worker, tmp_path: Path
) -> None:
    (tmp_path / "transcript.json").mkdir()

    ending = failed(worker, tmp_path, SHORT.path, job_id="unforeseen")

    assert ending.failure is Failure.FAILURE
    assert "IsADirectoryError" in ending.detail
    line = worker.logged("attempt failed", job_id="unforeseen")
    assert (line["slot"], line["failure"]) == ("cpu0", "failure")
    assert "Traceback" in line["error"]


# --- what is stopped


def test_stopped_job_writes_nothing_and_the_next_one_is_taken(worker: Worker, tmp_path: Path) -> None:
    worker.send(Job(card(tmp_path / "stopped", LONG.path, job_id="stopped")))
    worker.next_beat(lambda beat: any(job.phase == "transcribing" for job in beat.jobs))

    worker.send(StopJob("stopped", "lease lost"))

    answer = worker.next(Room, Staged, Failed)
    assert (answer.free, answer.holding, answer.rows) == (1, 0, 1)
    assert [path.name for path in (tmp_path / "stopped").iterdir()] == ["audio"]
    assert staged(worker, tmp_path / "next", SHORT.path)["fullText"]


def test_job_that_waits_can_be_stopped_before_it_begins(worker: Worker, tmp_path: Path) -> None:
    worker.send(Job(card(tmp_path / "first", SHORT.path, job_id="first")))
    worker.send(Job(card(tmp_path / "second", SHORT.path, job_id="second")))
    worker.send(StopJob("second", "given back"))

    endings = [worker.next(Staged, Failed, Room) for _ in range(3)]

    assert [type(ending) for ending in endings] == [Staged, Room, Room]
    assert [path.name for path in (tmp_path / "second").iterdir()] == ["audio"]


def test_stopping_a_job_that_is_not_here_changes_nothing(worker: Worker, tmp_path: Path) -> None:
    worker.send(StopJob("somebody-elses", "lease lost"))

    assert staged(worker, tmp_path, SHORT.path)["fullText"]


# --- what it tells meanwhile


def test_beats_tell_progress_and_stand_still_with_the_work(worker: Worker, tmp_path: Path) -> None:
    worker.next_beat(lambda beat: beat.phase == "idle")  # none of the test before is on its way
    first = len(worker.heard)
    staged(worker, tmp_path, LONG.path, job_id="told")
    beats = [message for message in worker.heard[first:] if type(message).__name__ == "Beat"]
    idle = [worker.next_beat(lambda beat: beat.phase == "idle") for _ in range(3)]

    told = [job for beat in beats for job in beat.jobs]
    assert {job.job_id for job in told} == {"told"}
    assert {job.phase for job in told} >= {"transcribing"}
    assert max(job.done_s for job in told if job.phase == "transcribing") > 20
    assert {round(job.audio_s) for job in told if job.phase == "transcribing"} == {72}
    moves = [beat.moves for beat in beats]
    assert moves == sorted(moves)
    assert moves[-1] - moves[0] > 5
    assert idle[1].moves == idle[2].moves


def test_job_wakes_the_beats_of_a_worker_that_speaks_seldom(tmp_path: Path) -> None:
    """Without a job it rests an hour between two beats here; a recording is still seen to move."""
    with worker_in(tmp_path, idle_beat_s=3600.0) as seldom:
        seldom.ready()
        first = len(seldom.heard)

        staged(seldom, tmp_path / "job", recordings.two_windows(tmp_path), job_id="told")

        beats = [message for message in seldom.heard[first:] if isinstance(message, Beat)]
    assert sum(job.job_id == "told" for beat in beats for job in beat.jobs) > 3
