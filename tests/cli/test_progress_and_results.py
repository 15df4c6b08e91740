"""How submitted recordings are followed, and where their transcripts go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.client.errors import CommandFailed
from supervisor.cli.client.results import ResultFolder
from supervisor.cli.text.progress import SubmissionProgress
from supervisor.cli.text.text_format import (
    audio_text,
    bytes_text,
    factor_text,
    percent_text,
    span_text,
    table,
)


def running(job_id: str, ratio: Any, audio_s: Any = 60.0) -> dict[str, Any]:
    return {"slots": [{"jobs": [{"id": job_id, "progress_ratio": ratio, "audio_s": audio_s}]}]}


def test_a_pipe_gets_a_line_at_each_quarter_once() -> None:
    progress = SubmissionProgress()
    progress.queued("j1", "a.wav")

    told = [progress.seen(running("j1", ratio)) for ratio in (0.0, 0.1, 0.26, 0.3, 0.8, 0.2, 0.8, 1.0)]

    assert [line for lines in told for line in lines] == ["a.wav: 25 %", "a.wav: 75 %"]


def test_other_peoples_jobs_are_not_ours_to_show() -> None:
    progress = SubmissionProgress()
    progress.queued("j1", "a.wav")

    assert progress.seen(running("somebody-elses", 0.5)) == []
    assert progress.picture() == [f"{'a.wav':<34} waiting"]


def test_the_picture_shows_begun_ones_first_and_drops_what_is_through() -> None:
    progress = SubmissionProgress()
    for n in range(9):
        progress.queued(f"j{n}", f"{n}.wav")
    progress.seen(running("j8", 0.5))
    progress.ended("j0", "done")

    picture = progress.picture()

    assert picture[0] == f"{'8.wav':<34} [############............]  50 % of 1:00"
    assert picture[-1] == "... and 2 more waiting"
    assert not any(line.startswith("0.wav") for line in picture)


def test_a_long_path_shows_its_end_and_the_line_fits_a_terminal() -> None:
    progress = SubmissionProgress()
    progress.queued("j1", "/archive/" + "deep/" * 20 + "interview-07.wav")
    progress.seen(running("j1", 0.5, 43_200.0))

    (line,) = progress.picture()

    assert line.startswith("...")
    assert "/interview-07.wav " in line
    assert len(line) < 80


@pytest.mark.parametrize(
    "status", [None, [], {}, {"slots": None}, {"slots": [None]}, {"slots": [{"jobs": [3]}]}]
)
def test_a_status_that_says_nothing_changes_nothing(status: Any) -> None:
    progress = SubmissionProgress()
    progress.queued("j1", "a.wav")

    assert progress.seen(status) == []


def test_two_inputs_of_one_name_get_two_files(tmp_path: Path) -> None:
    results = ResultFolder(str(tmp_path / "out"))

    first = results.put("monday/note.wav", "txt", "one")
    second = results.put("tuesday/note.mp3", "txt", "two")
    third = results.put("wednesday/note.ogg", "txt", "one")

    assert [path.name for path in (first, second, third)] == ["note.txt", "note-2.txt", "note-3.txt"]
    assert [path.read_text(encoding="utf-8") for path in (first, second, third)] == ["one", "two", "one"]


def test_a_file_that_stands_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("written by hand", encoding="utf-8")

    path = ResultFolder(str(tmp_path)).put("note.wav", "txt", "spoken")

    assert path.name == "note-2.txt"
    assert (tmp_path / "note.txt").read_text(encoding="utf-8") == "written by hand"


def test_the_same_result_a_second_time_makes_no_second_file(tmp_path: Path) -> None:
    ResultFolder(str(tmp_path)).put("note.wav", "txt", "spoken")

    assert ResultFolder(str(tmp_path)).put("note.wav", "txt", "spoken").name == "note.txt"


def test_a_demo_replaces_what_the_last_demo_wrote(tmp_path: Path) -> None:
    ResultFolder(str(tmp_path), replaces=True).put("note.wav", "txt", "first")
    path = ResultFolder(str(tmp_path), replaces=True).put("note.wav", "txt", "second")

    assert path.name == "note.txt"
    assert path.read_text(encoding="utf-8") == "second"


FIGURES = [
    (
        span_text,
        [
            (0, "0s"),
            (59.9, "59s"),
            (60, "1m00s"),
            (3_725, "1h02m"),
            (90_000, "1d01h"),
            (-5, "0s"),
            (None, "-"),
        ],
    ),
    (
        bytes_text,
        [(0, "0"), (999, "999"), (1024, "1.0K"), (220_000_000, "210M"), (3 * 1024**3, "3.0G"), ("x", "-")],
    ),
    (audio_text, [(7.3, "0:07"), (71.7, "1:12"), (0, "-"), (None, "-"), (59.9, "1:00")]),
    (factor_text, [(8.43, "8.4x"), (123.4, "123x"), (0, "-"), (None, "-"), (True, "-")]),
    (percent_text, [(0.424, "42 %"), (1.2, "100 %"), (-1, "0 %"), (None, "-")]),
]


@pytest.mark.parametrize(("say", "cases"), FIGURES, ids=lambda value: getattr(value, "__name__", ""))
def test_figures_are_said_as_people_read_them(say: Any, cases: list[tuple[Any, str]]) -> None:
    assert [say(value) for value, _ in cases] == [words for _, words in cases]


def test_a_table_lines_up_and_ends_no_line_in_blanks() -> None:
    assert table(("A", "N", "Z"), [["long", "1", ""], ["b", "22", "end"]], right="N") == [
        "A      N  Z",
        "long   1",
        "b     22  end",
    ]


def test_a_file_in_place_of_the_folder_is_told_in_words(tmp_path: Path) -> None:
    """`--output bad.toml` printed "[Errno 17] File exists"."""
    (tmp_path / "bad.toml").touch()

    with pytest.raises(CommandFailed, match=r"bad\.toml is a file\. Name a folder"):
        ResultFolder(str(tmp_path / "bad.toml"))
    with pytest.raises(CommandFailed, match=r"can't be created: Not a directory"):
        ResultFolder(str(tmp_path / "bad.toml" / "below"))


def test_recordings_only_wait_from_the_queue_to_their_first_word() -> None:
    progress = SubmissionProgress()
    before = progress.only_waits
    progress.queued("j1", "a.wav")
    queued = progress.only_waits
    progress.seen(running("j1", 0.0))
    meanwhile = progress.only_waits
    progress.ended("j1", "done")

    assert (before, queued, meanwhile, progress.only_waits) == (False, True, False, False)
