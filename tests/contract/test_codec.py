"""What crosses a link is checked field by field, and comes out as it went in."""

from __future__ import annotations

import enum
import json
import typing
from dataclasses import dataclass, field
from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.contract import codec
from supervisor.contract.wire import framing, messages


class Colour(str, enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    count: int


@dataclass(frozen=True)
class Everything:
    text: str
    count: int
    ratio: float
    flag: bool
    colour: Colour
    inner: Inner
    many: tuple[Inner, ...]
    maybe: Optional[str]
    maybe_inner: Optional[Inner] = None
    words: dict[str, str] = field(default_factory=dict)


GOOD: dict[str, Any] = {
    "text": "a", "count": 1, "ratio": 0.5, "flag": True, "colour": "red",
    "inner": {"count": 2}, "many": [{"count": 3}], "maybe": None,
}  # fmt: skip


def test_every_supported_type_comes_back_as_it_went_out() -> None:
    value = Everything(
        "a", 1, 0.5, True, Colour.BLUE, Inner(2), (Inner(3), Inner(4)), "b", Inner(5), {"k": "v"}
    )

    plain = json.loads(json.dumps(codec.to_plain(value)))

    assert codec.from_plain(Everything, plain) == value


def test_a_whole_number_is_good_where_a_fraction_is_expected() -> None:
    ratio = codec.from_plain(Everything, {**GOOD, "ratio": 2}).ratio

    assert (ratio, type(ratio)) == (2.0, float)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text": 1}, "Everything.text: expected str, got int"),
        ({"text": None}, "Everything.text: expected str, got NoneType"),
        ({"text": "x" * (codec.MAX_TEXT_CHARS + 1)}, "Everything.text: 65537 characters, more than 65536"),
        ({"count": 1.0}, "Everything.count: expected int, got float"),
        ({"count": True}, "Everything.count: expected int, got bool"),
        ({"count": 2**63}, "Everything.count: not a number, or out of range"),
        ({"ratio": "1"}, "Everything.ratio: expected float, got str"),
        ({"ratio": False}, "Everything.ratio: expected float, got bool"),
        ({"ratio": float("nan")}, "Everything.ratio: not a number, or out of range"),
        ({"ratio": float("-inf")}, "Everything.ratio: not a number, or out of range"),
        ({"ratio": 10**400}, "Everything.ratio: not a number, or out of range"),
        ({"flag": 1}, "Everything.flag: expected bool, got int"),
        ({"colour": "green"}, "Everything.colour: 'green' is not one of ['red', 'blue']"),
        ({"colour": ["red"]}, "Everything.colour: ['red'] is not one of ['red', 'blue']"),
        ({"inner": 3}, "Everything.inner: expected an object, got int"),
        ({"inner": {}}, "Everything.inner: field 'count' is missing"),
        ({"inner": {"count": 1, "more": 2}}, "Everything.inner: unknown field 'more'"),
        ({"many": {"count": 1}}, "Everything.many: expected a list, got dict"),
        ({"many": [{"count": 1}, {"count": "2"}]}, "Everything.many[1].count: expected int, got str"),
        ({"many": [{"count": 1}] * 10_001}, "Everything.many: 10001 items, more than 10000"),
        ({"maybe": 5}, "Everything.maybe: expected str, got int"),
        ({"words": ["a"]}, "Everything.words: expected an object of strings"),
        ({"words": {"a": 1}}, "Everything.words.a: expected str, got int"),
        ({"words": {"k" * 65_537: "v"}}, "Everything.words (a key): 65537 characters, more than 65536"),
        ({"sudo": "x" * 100}, "Everything: unknown field 'sudo'"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_name_of_its_field(change: dict[str, Any], said: str) -> None:
    with pytest.raises(codec.BadValue) as caught:
        codec.from_plain(Everything, {**GOOD, **change})

    assert str(caught.value) == said


def test_a_type_that_we_do_not_support_is_our_own_mistake_at_first_use() -> None:
    @dataclass(frozen=True)
    class Unsupported:
        both: bytes

    with pytest.raises(TypeError, match="not supported"):
        codec.from_plain(Unsupported, {"both": "x"})


ALL_MESSAGES = sorted(
    {
        *messages.FROM_WORKER, *messages.TO_WORKER, *messages.FROM_BROKER, *messages.TO_BROKER,
        *messages.FROM_GPUWATCH,
    },
    key=lambda cls: cls.__name__,
)  # fmt: skip
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(st.characters(), max_size=60),  # half surrogates included
    int: st.integers(-(2**63) + 1, 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False, min_value=-1e18, max_value=1e18),
    bool: st.booleans(),
}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value that a field of this type may hold."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Union:
        return st.none() | values_of(arguments[0])
    if origin is tuple:
        return st.lists(values_of(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(SCALARS[str], SCALARS[typing.get_args(kind)[1]], max_size=3)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    if kind in SCALARS:
        return SCALARS[kind]
    return st.builds(kind, **{name: values_of(own) for name, own in codec.field_types(kind).items()})


@given(st.data())
@pytest.mark.parametrize("cls", ALL_MESSAGES, ids=lambda cls: cls.__name__)
def test_every_message_survives_the_way_over_a_link(cls: type, data: st.DataObject) -> None:
    message = data.draw(values_of(cls))

    line = messages.write(message)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert messages.read(line[:-1], (cls,)) == message


def test_a_message_is_taken_only_on_the_link_where_it_belongs() -> None:
    line = messages.write(messages.Commit("j1"))[:-1]

    with pytest.raises(framing.BadLine, match="message 'Commit' is not expected on this link"):
        messages.read(line, messages.FROM_WORKER)
    assert messages.read(line, messages.TO_BROKER) == messages.Commit("j1")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"job_id":"j1"}', "message 'None' is not expected on this link"),
        (b'{"is":["Commit"]}', "is not expected on this link"),
        (b'{"is":"Commit"}', "Commit: field 'job_id' is missing"),
        (b'{"is":"Commit","job_id":7}', "Commit.job_id: expected str, got int"),
        (b'["Commit"]', "expected an object, got list"),
        (b"", "not JSON"),
        (b'{"is":"Commit","job_id":"\xff"}', "not JSON"),
        (b"[" * 200_000, "not JSON"),
    ],
)
def test_a_line_that_is_no_message_says_why(line: bytes, said: str) -> None:
    with pytest.raises(framing.BadLine) as caught:
        messages.read(line, messages.TO_BROKER)

    assert said in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_a_message_with_half_a_surrogate_in_it_can_be_passed_on() -> None:
    """A queue message with "\\ud800" made writing the next message raise, which ended the broker."""
    message = messages.Lost(json.loads('"rec-\\ud800"'), "gone")

    assert messages.read(messages.write(message)[:-1], messages.FROM_BROKER) == message


@pytest.mark.parametrize(
    "message", [messages.StopJob("j1", "why"), messages.Commit("j1"), messages.Stopped("j1")]
)
def test_word_that_names_no_attempt_is_about_whichever_there_is(message: Any) -> None:
    plain = json.loads(messages.write(message))
    del plain["attempt"]

    read = messages.read(json.dumps(plain).encode(), (type(message),))

    assert read == message
    assert read.attempt == 0
