"""Writes and parses timestamps for people and records. PURE."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Optional

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(?:Z|([+-])(\d\d):?(\d\d))?")
_HTTP = re.compile(r"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def iso_utc(unix_s: float) -> str:
    """Format a time as in REM's records: `2026-11-22T13:21:41Z`."""
    return datetime.fromtimestamp(unix_s, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def unix_s_of_iso(text: str) -> Optional[float]:
    """Parse `2026-11-22T13:21:41Z`, to the second; without a zone it is UTC. None for anything else."""
    found = _ISO.fullmatch(text.strip())
    if found is None:
        return None
    sign, hours, minutes = found.group(7), found.group(8) or "0", found.group(9) or "0"
    ahead = timedelta(hours=int(hours), minutes=int(minutes))
    unix_s = _unix_s(*(int(found.group(n)) for n in range(1, 7)))
    return unix_s if unix_s is None else unix_s - ahead.total_seconds() * (-1 if sign == "-" else 1)


def unix_s_of_http(text: str) -> Optional[float]:
    """Parse an HTTP date, `Sun, 22 Nov 2026 13:21:41 GMT`. None for anything else."""
    found = _HTTP.fullmatch(text.strip())
    if found is None or found.group(2) not in _MONTHS:
        return None
    day, month, year, *clock = found.groups()
    return _unix_s(int(year), _MONTHS.index(month) + 1, int(day), *(int(part) for part in clock))


def _unix_s(year: int, month: int, day: int, hour: int, minute: int, second: int) -> Optional[float]:
    second = 59 if second == 60 else second  # a leap second
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except ValueError:
        return None
    return (moment - _EPOCH).total_seconds()
