"""Lines come out whole, wherever the stream was cut, and never too long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.contract.wire import framing

plain_objects = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=20), max_size=4)


@given(st.lists(plain_objects, max_size=6), st.data())
def test_lines_come_out_whole_wherever_the_stream_is_cut(plains: list[object], data: st.DataObject) -> None:
    stream = b"".join(framing.encode_line(plain) for plain in plains)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    splitter = framing.LineSplitter()

    lines: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)]):
        lines += splitter.feed(stream[start:end])

    assert [framing.decode_line(line) for line in lines] == plains


def test_an_unfinished_line_waits_for_its_end() -> None:
    splitter = framing.LineSplitter()

    assert splitter.feed(b'{"a":') == []
    assert splitter.feed(b"1}\n{") == [b'{"a":1}']
    assert splitter.feed(b"}\n") == [b"{}"]


def test_a_line_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    assert framing.LineSplitter(10).feed(b"x" * 10 + b"\n") == [b"x" * 10]

    with pytest.raises(framing.BadLine, match="line of over 10 bytes"):
        framing.LineSplitter(10).feed(b"x" * 11 + b"\n")


def test_a_flood_without_a_newline_is_refused_before_it_fills_the_memory() -> None:
    splitter = framing.LineSplitter(1_000)

    for _ in range(10):
        assert splitter.feed(b"x" * 100) == []

    with pytest.raises(framing.BadLine):
        splitter.feed(b"x")


def test_a_too_long_rest_behind_a_good_line_is_refused_as_well() -> None:
    with pytest.raises(framing.BadLine):
        framing.LineSplitter(10).feed(b"{}\n" + b"x" * 11)


def test_what_is_too_long_is_not_even_written() -> None:
    fitting = {"a": "x" * (framing.MAX_LINE_BYTES - 9)}

    assert len(framing.encode_line(fitting)) == framing.MAX_LINE_BYTES
    with pytest.raises(framing.BadLine, match="the limit is 1048576"):
        framing.encode_line({"a": fitting["a"] + "x"})


def test_a_number_that_json_does_not_know_is_not_written() -> None:
    with pytest.raises(framing.BadLine, match="can't be written as JSON"):
        framing.encode_line({"a": float("nan")})


def test_a_newline_inside_a_text_does_not_end_the_line() -> None:
    line = framing.encode_line({"a": "one\ntwo\r\u2028"})

    assert framing.LineSplitter().feed(line) == [line[:-1]]
    assert framing.decode_line(line[:-1]) == {"a": "one\ntwo\r\u2028"}
