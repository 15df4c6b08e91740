"""Interprets a refused claim: another host has the recording, or it is already done or failed. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Union

from supervisor.broker.ports.job_request import JobRequest, Source
from supervisor.broker.ports.ports import Item, ObjectFacts
from supervisor.broker.rules import lease_timing
from supervisor.broker.rules.record_rules import DONE, FAILED, source_of


@dataclass(frozen=True)
class Busy:
    """Another host holds it: retry after `after_s`."""

    after_s: float


@dataclass(frozen=True)
class Finished:
    """It was done already, from the same audio."""


@dataclass(frozen=True)
class GivenUp:
    """It failed for good before; `reason` is the record's."""

    reason: str


@dataclass(frozen=True)
class Redo:
    """It ended, but this request is new (forced, or other audio): claim it with `again`."""


@dataclass(frozen=True)
class SameName:
    """It ended, from audio with this key; only the object shows whether the bytes are the same."""


def read_refusal(
    item: Item, request: JobRequest, now_unix_s: float
) -> Union[Busy, Finished, GivenUp, Redo, SameName]:
    """Return what a refused claim means, from the current record."""
    if item.get("remState") not in (DONE, FAILED):
        return busy(item, now_unix_s)
    over, asked = source_of(item), request.source
    if request.force or (over.bucket, over.key) != (asked.bucket, asked.key):
        return Redo()
    if (asked.version or asked.etag) and (over.version, over.etag) == (asked.version, asked.etag):
        return read_end(item)
    return SameName()


def read_object(
    item: Item, request: JobRequest, found: Optional[ObjectFacts]
) -> Union[Finished, GivenUp, Redo]:
    """Return what an ended record with this key means, from the current object."""
    over, asked = source_of(item), request.source
    if found is None:
        return read_end(item) if over.is_same(asked) else Redo()
    if item.get("remState") == FAILED and not (over.version or over.etag):
        return Redo()  # it failed because the object that is there now was missing
    is_same = over.is_same(Source(asked.bucket, asked.key, found.version, found.etag))
    return read_end(item) if is_same else Redo()


def read_end(item: Item) -> Union[Finished, GivenUp]:
    """Return how an ended record ended."""
    return Finished() if item.get("remState") == DONE else GivenUp(str(item.get("remReason", "")))


def busy(item: Item, now_unix_s: float) -> Busy:
    """Return how long to leave a record to its holder."""
    return Busy(lease_timing.record_wait_s(float(item.get("remLeaseUnix", now_unix_s)), now_unix_s))
