"""What an answer of the metadata service means, and what of it is news: tables."""

from __future__ import annotations

import contextlib
import json
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.contract.timestamps import iso_utc
from supervisor.notices.notice import (
    KNOWN_MOST,
    PATHS,
    UNDATED_S,
    Answer,
    Kind,
    Nonsense,
    Notice,
    NoticeBoard,
    NoticePolicy,
    Now,
    body_of,
    read,
)

UNIX_S = 1_795_000_000.0
NOW = Now(5_000.0, UNIX_S)
POLICY = NoticePolicy(drain_s=110.0, rebalance_s=3_600.0)


def http_date(ahead_s: float) -> str:
    from email.utils import formatdate

    return formatdate(UNIX_S + ahead_s, usegmt=True)


def spot(in_s: float = 120.0, action: str = "terminate", date: str = "") -> Answer:
    return Answer(200, json.dumps({"action": action, "time": iso_utc(UNIX_S + in_s)}), date)


def left_s(answer: Answer, kind: Kind = Kind.SPOT) -> Optional[float]:
    notice = read(kind, answer, NOW, POLICY)
    return None if notice is None else notice.deadline_at_s - NOW.at_s


@pytest.mark.parametrize(
    ("in_s", "left"),
    [(120, 120), (108, 108), (1, 1), (0, 0), (-1, 0), (-86_400, 0), (121, 120), (86_400, 120), (1e9, 120)],
)
def test_a_spot_notice_leaves_what_its_time_says_and_never_over_two_minutes(in_s: float, left: float) -> None:
    assert left_s(spot(in_s)) == left


@pytest.mark.parametrize(
    ("ahead_s", "left"),
    [
        (0, 100),
        (5, 100),  # up to five seconds: our clock, for the header is rounded
        (-5, 100),
        (6, 94),
        (60, 40),  # our clock is slow: less is left than it says
        (-6, 106),
        (-10, 110),
        (3_600, 0),
        (-3_600, 120),
    ],
)
def test_time_is_counted_on_the_services_clock_where_ours_is_wrong(ahead_s: float, left: float) -> None:
    assert left_s(spot(100, date=http_date(ahead_s))) == left


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Sep 2017 08:22:00 GMT"])
def test_without_a_readable_date_our_own_clock_counts(date: str) -> None:
    assert left_s(spot(100, date=date)) == 100


@pytest.mark.parametrize(("action", "left"), [("terminate", 90), ("stop", 90), ("hibernate", 0)])
def test_a_machine_that_hibernates_leaves_nothing(action: str, left: float) -> None:
    notice = read(Kind.SPOT, spot(90, action), NOW, POLICY)

    assert notice is not None
    assert (notice.action, notice.deadline_at_s - NOW.at_s) == (action, left)


@pytest.mark.parametrize(
    "body",
    [
        '{"action": "terminate"}',
        '{"action": "terminate", "time": "soon"}',
        '{"action": "terminate", "time": 1795000000}',
        '{"action": "terminate", "time": null}',
        '{"action": "terminate", "time": "2026-13-45T00:00:00Z"}',
    ],
)
def test_a_notice_whose_time_is_unreadable_is_a_notice_all_the_same(body: str) -> None:
    assert left_s(Answer(200, body)) == UNDATED_S


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.SPOT, ""),
        (Kind.SPOT, "terminate"),
        (Kind.SPOT, "<html>captive portal</html>"),
        (Kind.SPOT, "[]"),
        (Kind.SPOT, "null"),
        (Kind.SPOT, "{}"),
        (Kind.SPOT, '{"action": "explode", "time": "2026-11-22T00:00:00Z"}'),
        (Kind.SPOT, '{"action": ["terminate"]}'),
        (Kind.SPOT, '{"action": "terminate"'),
        (Kind.SPOT, "[" * 60_000),
        (Kind.REBALANCE, "soon"),
        (Kind.REBALANCE, '"2026-11-22T00:00:00Z"'),
        (Kind.ASG, ""),
        (Kind.ASG, "terminated"),
        (Kind.ASG, "<html>"),
        (Kind.ASG, '{"state": "Terminated"}'),
    ],
)
def test_garbage_is_nonsense_and_no_notice(kind: Kind, body: str) -> None:
    with pytest.raises(Nonsense) as caught:
        read(kind, Answer(200, body), NOW, POLICY)

    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("kind", list(Kind))
def test_404_means_none_whatever_its_body(kind: Kind) -> None:
    assert read(kind, Answer(404, '{"action": "terminate"}'), NOW, POLICY) is None


@pytest.mark.parametrize(
    ("state", "ends"),
    [
        ("InService", False),
        ("Detached", False),
        ("Standby", False),
        ("Warmed:Running", False),
        ("Warmed:Stopped", False),
        ("Warmed:Hibernated", False),
        ("Terminated", True),
        ("Terminated\n", True),
        ("Warmed:Terminated", True),
    ],
)
def test_only_a_target_of_termination_is_an_auto_scaling_notice(state: str, ends: bool) -> None:
    assert left_s(Answer(200, state), Kind.ASG) == (POLICY.drain_s if ends else None)


def test_a_recommendation_leaves_long() -> None:
    body = '{"noticeTime": "2020-10-27T08:22:00Z"}'
    notice = read(Kind.REBALANCE, Answer(200, body), NOW, POLICY)

    assert notice == Notice(Kind.REBALANCE, "rebalance", "2020-10-27T08:22:00Z", NOW.at_s + 3_600)


@pytest.mark.parametrize("kind", list(Kind))
def test_what_a_drill_writes_is_what_is_read(kind: Kind) -> None:
    notice = read(kind, Answer(200, body_of(kind, "stop", UNIX_S + 60)), NOW, POLICY)

    assert notice is not None
    assert notice.kind is kind
    assert left_s(Answer(200, body_of(Kind.SPOT, "stop", UNIX_S + 60))) == 60


WORDS = st.sampled_from(
    [
        '{"action":"terminate","time":"2026-11-22T00:00:00Z"}',
        '{"noticeTime":"2026-11-22T00:00:00Z"}',
        "Terminated",
    ]
)


@given(st.sampled_from(list(Kind)), WORDS, st.text(max_size=6), st.integers(0, 50), st.text(max_size=30))
def test_no_answer_does_more_than_be_nonsense(kind: Kind, words: str, noise: str, at: int, date: str) -> None:
    body = words[:at] + noise + words[at + len(noise) :]

    with contextlib.suppress(Nonsense):
        found = read(kind, Answer(200, body, date), NOW, POLICY)
        assert found is None or 0 <= found.deadline_at_s - NOW.at_s <= POLICY.rebalance_s


# --- what is news -----------------------------------------------------------------------


def notice(
    time: str = "t1", kind: Kind = Kind.SPOT, at_s: float = 100.0, action: str = "terminate"
) -> Notice:
    return Notice(kind, action, time, at_s)


def news_of(*words: Optional[Notice], kind: Kind = Kind.SPOT) -> list[object]:
    """What each of the service's words in turn is: a deadline, `withdrawn`, or nothing new."""
    board, told = NoticeBoard(), []
    for found in words:
        board, news, is_withdrawn = board.take(kind, found)
        told.append(news.deadline_at_s if news else "withdrawn" if is_withdrawn else None)
    return told


def test_a_repeated_notice_is_news_once_and_keeps_its_first_deadline() -> None:
    assert news_of(None, notice(at_s=100), notice(at_s=101), notice(at_s=99)) == [None, 100, None, None]


def test_another_time_or_action_is_another_notice_and_nothing_is_withdrawn() -> None:
    changed = [notice("t1"), notice("t2", at_s=90), notice("t2", at_s=80, action="stop"), notice("t1")]

    assert news_of(*changed) == [100, 90, 80, None]


def test_a_withdrawn_notice_is_told_once_and_stays_latched() -> None:
    assert news_of(notice(), None, None, notice(), None) == [100, "withdrawn", None, None, "withdrawn"]


def test_a_lifecycle_state_carries_no_time_and_is_news_again_after_it_was_withdrawn() -> None:
    again = [notice("", at_s=100), notice("", at_s=101), None, notice("", at_s=200), notice("", at_s=201)]

    assert news_of(*again) == [100, None, "withdrawn", 200, None]


def test_the_kinds_do_not_touch_each_other() -> None:
    board, _, _ = NoticeBoard().take(Kind.SPOT, notice())
    board, news, is_withdrawn = board.take(Kind.ASG, None)

    assert (news, is_withdrawn) == (None, False)
    assert board.first == notice()
    assert not board.is_withdrawn(notice())


def test_the_earliest_deadline_is_shown_whoever_came_first() -> None:
    early, late = notice(at_s=50), notice("t0", Kind.REBALANCE, 3_600)
    board, _, _ = NoticeBoard().take(Kind.REBALANCE, late)
    board, _, _ = board.take(Kind.SPOT, early)

    assert board.first == early


def test_a_service_that_never_says_the_same_twice_fills_no_memory() -> None:
    board = NoticeBoard()
    for number in range(1_000):
        board, news, _ = board.take(Kind.SPOT, notice(f"t{number}"))
        assert news is not None

    assert len(board.known) == KNOWN_MOST
    assert len(board.told) == 1


def test_a_drill_is_not_taken_for_the_real_thing_nor_ended_by_its_absence() -> None:
    board = NoticeBoard().add_drill(notice())
    board, _, is_withdrawn = board.take(Kind.SPOT, None)
    assert (is_withdrawn, board.known[0].is_drill) == (False, True)

    board, news, _ = board.take(Kind.SPOT, notice())
    assert news == notice()
    assert board.without_drills().known == (notice(),)


def test_paths_are_those_of_the_facts() -> None:
    """A spelling mistake here would be a 404, which means: no notice."""
    assert PATHS == {
        Kind.SPOT: "/latest/meta-data/spot/instance-action",
        Kind.REBALANCE: "/latest/meta-data/events/recommendations/rebalance",
        Kind.ASG: "/latest/meta-data/autoscaling/target-lifecycle-state",
    }
