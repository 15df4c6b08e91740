"""Decides when a job that keeps failing yields its place to others. PURE.

A job that is tried again in place keeps its lease, and for a while its place too: where nothing answers,
receiving more messages would only use up their receives. Where it is this job's own trouble, or others get
on meanwhile, it stands aside: it goes on trying, on lanes of its own, and another message is received.
"""

from __future__ import annotations

from supervisor.broker.ports.errors import Forbidden, Misconfigured, TryLater, Unexplained

ASIDE_MOST = 50  # jobs of one host; a guess: each costs a heartbeat, and a try now and then
UNANSWERED_S = 5.0  # a guess: audio of which not one byte has come for so long
_TRIES_IN_PLACE = 3  # some seconds: then others are let try whether it is only this job
_NOBODYS_OWN = ("spool", "broker", "queue")  # a full disk here is the same for every job


def is_its_own(error: TryLater) -> bool:
    """Say whether an error concerns one recording only: its key is refused, or nobody knows why."""
    return error.where == "audio" and isinstance(error, (Forbidden, Unexplained))


def stands_aside(error: TryLater, tries: int, others_get_on: bool, aside_count: int) -> bool:
    """Say whether a job that met this error for the `tries`-th time in a row gives its place up."""
    if error.where in _NOBODYS_OWN or isinstance(error, Misconfigured) or aside_count >= ASIDE_MOST:
        return False
    return is_its_own(error) or others_get_on or tries >= _TRIES_IN_PLACE
