"""What comes from queues and files can't steer a terminal, nor hide in one, wherever it is shown."""

from __future__ import annotations

import json
import logging
import sys
import unicodedata
from typing import Any

import pytest

from supervisor.cli.config import _toml
from supervisor.cli.text import text_format
from supervisor.contract.logline import JsonFormatter, TextFormatter
from supervisor.contract.printable import escaped, printable, printable_lines

UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
# Each unseen character of the whole of Unicode, but for the large areas of one kind: their borders.
ALL_UNSEEN = [
    chr(code)
    for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code)) in UNSEEN
    and (
        code < 0x3000 or code % 0x1000 in (0, 0xFFF) or 0xFE00 <= code <= 0xFFFF or 0xE0000 <= code < 0xE0080
    )
]
NAMED = "\u202e\u2066\u200b\u2028\u2029\ufeff\u0085\x1b\x9b\u00ad\u061c\U000e0041\udcff"


def record(message: str, **facts: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"levelno": 20, "levelname": "INFO", "msg": message, **facts})


def test_the_text_log_shows_no_unseen_character() -> None:
    """U+202E, U+2066, U+200B, U+2028, U+2029 and U+FEFF stood raw in it: a line could be turned round."""
    line = TextFormatter("broker").format(record(f"a{NAMED}b", job_id="".join(ALL_UNSEEN)[:5_000]))

    assert line.replace("\t", "").isprintable()


def test_a_stack_in_the_text_log_keeps_its_lines_and_nothing_else() -> None:
    try:
        raise ValueError(f"bad{NAMED}\nsecond line")
    except ValueError:
        line = TextFormatter("broker").format(record("failed", exc_info=sys.exc_info()))

    assert line.splitlines()[-1] == "second line"
    assert all(part.isprintable() for part in line.split("\n"))


def test_the_json_log_is_ascii() -> None:
    line = JsonFormatter("broker").format(record("a", job_id=NAMED))

    assert line.isascii()
    assert json.loads(line)["job_id"] == NAMED


@pytest.mark.parametrize("char", NAMED, ids=lambda char: f"U+{ord(char):04X}")
def test_a_table_shows_none_of_them(char: str) -> None:
    assert text_format.printable(f"rec{char}ord") == "rec?ord"


def test_every_unseen_character_is_replaced_and_every_letter_stays() -> None:
    assert {printable(char) for char in ALL_UNSEEN} == {"?"}
    assert printable("Grüße, 日本語, עברית 🎧") == "Grüße, 日本語, עברית 🎧"


def test_only_a_line_feed_ends_a_line() -> None:
    assert printable_lines("a\u2028b\r\nc\x85d") == ["a?b?", "c?d"]


def test_config_writes_them_as_toml_does() -> None:
    assert _toml("a\u202eb\U000e0041ü") == '"a\\u202eb\\U000e0041ü"'
    assert escaped("plain") == "plain"
