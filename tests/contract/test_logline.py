"""Log lines are bounded and valid whatever is logged, and never hold up who logs."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from typing import Any

import pytest

from supervisor.contract import logline


def record(message: str = "slot state changed", **facts: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "levelno": logging.INFO, "levelname": "INFO", **facts})


def as_json(one: logging.LogRecord) -> dict[str, Any]:
    text = logline.JsonFormatter("supervisor").format(one)
    assert "\n" not in text
    assert len(text) <= logline.MAX_LINE_CHARS
    line = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert isinstance(line, dict)
    return line


def test_a_json_line_carries_sentence_and_facts_apart() -> None:
    line = as_json(record(slot="gpu0", pid=7))

    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "message": "slot state changed",
        "process": "supervisor",
        "slot": "gpu0",
        "pid": 7,
    }


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("not a word")


@pytest.mark.parametrize(
    "facts",
    [
        {"stack": "x" * 100_000},
        {f"fact{n}": '\x00\\"\U0001f600' * 5_000 for n in range(100)},
        {"k" * 100_000: 1},
        {"ratio": float("nan")},
        {"inner": {("a", "b"): 1}},
        {"half": "\ud800 and é and \x9b31m"},
        {"path": os},
    ],
    ids=["long", "many", "key", "nan", "tuple", "surrogate", "object"],
)
def test_json_stays_valid_and_bounded_whatever_the_facts_are(facts: dict[str, Any]) -> None:
    line = as_json(record(**facts))

    assert line["message"] == "slot state changed"
    assert line["level"] == "info"


def test_of_a_long_stack_the_end_is_kept() -> None:
    try:
        raise ValueError("x" * 20_000 + " the very end")
    except ValueError:
        line = as_json(record(exc_info=sys.exc_info()))

    assert line["error"].endswith(" the very end")


def test_text_for_eyes_cannot_steer_the_terminal_or_feign_a_line() -> None:
    one = record("fetched", key="a\x1b[2J\x9b2J\r\n12:00:00 supervisor  all is well\x7f")

    text = logline.TextFormatter("broker").format(one)

    assert all(character.isprintable() for character in text)
    assert text.endswith("broker     fetched  key=a?[2J?2J? 12:00:00 supervisor  all is well?")


def test_text_is_bounded() -> None:
    try:
        raise ValueError("x" * 20_000)
    except ValueError:
        text = logline.TextFormatter("a").format(record("y" * 20_000, exc_info=sys.exc_info()))

    assert len(text) <= 2 * logline.MAX_LINE_CHARS + 1


def test_a_line_that_cannot_be_formatted_leaves_a_trace_and_no_exception() -> None:
    """A wrong number of arguments raised out of log.info and could end the loop that logged."""
    stream = io.StringIO()
    writer = logline.WriterThread(stream)
    writer.setFormatter(logline.JsonFormatter("a"))

    writer.handle(record("%d jobs", args=("three",)))
    writer.handle(record(fact=Unspeakable()))
    writer.stop()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["log line cannot be written"] * 2
    assert lines[0]["original"] == "%d jobs"


def test_a_flood_into_a_full_pipe_never_blocks_and_every_lost_line_is_counted() -> None:
    """Nobody reads: the pipe fills, the queue fills, the rest is dropped. Then somebody reads."""
    read_fd, write_fd = os.pipe()
    stream = os.fdopen(write_fd, "w")
    writer = logline.WriterThread(stream, limit=10)
    writer.setFormatter(logline.JsonFormatter("a"))
    logged = 2_000  # each 1 KB: far more than the pipe's 64 KB and ten lines

    for number in range(logged):
        writer.handle(record(number=number, padding="x" * 900))
    dropped = writer.dropped_count
    with os.fdopen(read_fd) as reader:
        line = reader.readline()
        seen = []
        writer_stop_asked = False
        while line:
            seen.append(json.loads(line))
            if not writer_stop_asked:
                writer_stop_asked = True
                stopper = _in_background(lambda: (writer.stop(5.0), stream.close()))
            line = reader.readline()
    stopper.join()

    told = sum(line["count"] for line in seen if line["message"] == "log lines dropped")
    written = sum(1 for line in seen if line["message"] == "slot state changed")
    assert dropped > 0
    assert told == dropped
    assert written + dropped == logged


def test_a_reader_that_went_away_costs_lines_and_nothing_else() -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    stream = os.fdopen(write_fd, "w")
    writer = logline.WriterThread(stream)

    for _ in range(3):
        writer.handle(record())
    writer.stop()

    assert writer.dropped_count == 3
    stream.close()


def test_a_stream_that_knows_only_ascii_gets_every_line() -> None:
    raw = io.BytesIO()
    writer = logline.WriterThread(io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    writer.setFormatter(logline.TextFormatter("a"))

    writer.handle(record("gehört", file="Гость.wav"))
    writer.stop()

    assert b"geh\\xf6rt" in raw.getvalue()
    assert writer.dropped_count == 0


def test_a_process_whose_log_nobody_reads_can_still_end() -> None:
    """The writer hangs in a full pipe; the process must leave at once with its own code all the same."""
    code = (
        "import logging\n"
        "from supervisor.contract import logline\n"
        "writer = logline.set_up('a', 'INFO', 'json')\n"
        "for n in range(1000): logging.getLogger().info('x' * 1000)\n"
        "logline.die_quietly(7, writer)\n"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    read_fd, write_fd = os.pipe()
    try:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=write_fd, env=environ)
        os.close(write_fd)
        assert process.wait(timeout=20) == 7
    finally:
        os.close(read_fd)


def test_auto_is_json_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    try:
        writer = logline.set_up("cli", "WARNING", "auto", stream)
        logging.getLogger("x").warning("queue does not answer", extra={"where": "queue"})
        logging.getLogger("x").info("not to be seen")
        writer.stop()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)

    assert json.loads(stream.getvalue())["where"] == "queue"


def _in_background(work: Any) -> Any:
    import threading

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_line_of_text_names_its_level_but_for_info() -> None:
    levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
    lines = [
        logline.TextFormatter("broker").format(
            logging.makeLogRecord({"levelno": n, "levelname": logging.getLevelName(n), "msg": "claimed"})
        )
        for n in levels
    ]

    assert [line.split("broker", 1)[1].split() for line in lines] == [
        ["DEBUG", "claimed"],
        ["claimed"],
        ["WARNING", "claimed"],
        ["ERROR", "claimed"],
    ]
