"""Types of leases and jobs in flight. `lease_journal.py` writes them to disk."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Optional

from supervisor.broker.ports.job_request import JobRequest, Source
from supervisor.broker.ports.ports import Message, RecordKey
from supervisor.broker.rules.record_rules import Cuts, Pointer, RecordHold
from supervisor.contract import clock
from supervisor.contract.wire.messages import Ending


class Phase(str, enum.Enum):
    """What is awaited of a live job."""

    WAITING = "waiting"  # a place: one of many in one message
    CLAIMING = "claiming"  # the record's answer
    FETCHING = "fetching"  # the audio
    READY = "ready"  # the supervisor's word: commit, fail or release
    COMMITTING = "committing"  # names and record
    ENDING = "ending"  # the record's answer to failure or release


OWN_PHASES = (Phase.CLAIMING, Phase.FETCHING, Phase.COMMITTING, Phase.ENDING)


@dataclass
class LiveJob:
    """One recording in our hands."""

    request: JobRequest
    hold: RecordHold
    phase: Phase = Phase.CLAIMING
    attempt: int = 0
    failures: int = 0
    audio_bytes: int = 0
    source: Optional[Source] = None  # as fetched
    announced: bool = False  # the supervisor knows it
    pointer: Optional[Pointer] = None  # the newest checkpoint that other hosts can have
    resumed_s: float = 0.0  # what was through when it was claimed
    # Of this process's life only:
    cuts: Optional[Cuts] = None  # as the record had them when it was claimed
    kept_at_s: float = 0.0
    begun_at_s: float = 0.0  # when this host asked for its record; 0: an earlier life did
    since_s: float = 0.0  # when this phase began
    tries: int = 0
    is_aside: bool = False  # it goes on trying and takes no other job's place
    renew_at_s: float = 0.0
    is_renewing: bool = False

    @property
    def id(self) -> str:
        return self.request.job_id


@dataclass(frozen=True)
class Settled:
    """How a job ended for its message."""

    ending: Ending
    reason: str = ""
    after_s: float = 0.0
    attempt: int = 0
    error: str = ""  # the failure's class


@dataclass
class Lease:
    """Our hold on one message: deleted only when all its jobs are through."""

    message: Message
    deadline_at_s: float
    open: set[str] = field(default_factory=set)  # ids of live jobs
    settled: dict[str, Settled] = field(default_factory=dict)
    tell: dict[str, float] = field(default_factory=dict)  # job id -> audio_s: Done is still to be sent
    extend_at_s: float = 0.0
    is_extending: bool = False
    is_worn: bool = False  # held nearly as long as the queue allows: to be replaced by a copy
    is_copied: bool = False
    is_gone: bool = False  # the queue has the message no more: only the records still hold its jobs
    clears: list[RecordKey] = field(default_factory=list)  # jobs whose files are to be removed
    received_at_s: float = field(default_factory=clock.now_s)
    tries: int = 0

    @property
    def id(self) -> str:
        return self.message.id
