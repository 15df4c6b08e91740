"""Moments as others write them: AWS's ISO times, HTTP's Date."""

from __future__ import annotations

from typing import Optional

import pytest

from supervisor.contract.timestamps import iso_utc, unix_s_of_http, unix_s_of_iso

NOON = 1_505_722_920.0  # 2017-09-18T08:22:00Z


@pytest.mark.parametrize(
    ("text", "unix_s"),
    [
        ("2017-09-18T08:22:00Z", NOON),
        (" 2017-09-18T08:22:00Z\n", NOON),
        ("2017-09-18 08:22:00", NOON),
        ("2017-09-18T08:22:00.123456789Z", NOON),
        ("2017-09-18T10:22:00+02:00", NOON),
        ("2017-09-18T03:22:00-0500", NOON),
        ("2016-12-31T23:59:60Z", 1_483_228_799.0),
        ("0001-01-01T00:00:00Z", -62_135_596_800.0),
        ("9999-12-31T23:59:59Z", 253_402_300_799.0),
        ("2017-02-30T08:22:00Z", None),
        ("2017-09-18T08:22:61Z", None),
        ("2017-09-18T24:22:00Z", None),
        ("2017-09-18", None),
        ("soon", None),
        ("", None),
        ("2017-09-18T08:22:00Z or so", None),
    ],
)
def test_iso_times_are_read_or_refused(text: str, unix_s: Optional[float]) -> None:
    assert unix_s_of_iso(text) == unix_s


@pytest.mark.parametrize(
    ("text", "unix_s"),
    [
        ("Mon, 18 Sep 2017 08:22:00 GMT", NOON),
        ("Mon, 18 Sep 2017 08:22:00 CET", None),
        ("Mon, 18 Sop 2017 08:22:00 GMT", None),
        ("Mon, 99 Sep 2017 08:22:00 GMT", None),
        ("2017-09-18T08:22:00Z", None),
        ("", None),
    ],
)
def test_http_dates_are_read_or_refused(text: str, unix_s: Optional[float]) -> None:
    assert unix_s_of_http(text) == unix_s


def test_what_is_written_is_read_back() -> None:
    assert unix_s_of_iso(iso_utc(NOON)) == NOON


def test_moments_for_people_look_like_rems() -> None:
    assert iso_utc(1_795_353_701.9) == "2026-11-22T13:21:41Z"
