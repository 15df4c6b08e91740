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
    """What a live job is waiting for."""

    WAITING = "waiting"  # a place, behind other jobs of the same message
    CLAIMING = "claiming"  # the record's claim
    FETCHING = "fetching"  # the audio download
    READY = "ready"  # the supervisor's Commit, Fail or Release
    COMMITTING = "committing"  # transcript upload and record update
    ENDING = "ending"  # the record update after a failure or release


OWN_PHASES = (Phase.CLAIMING, Phase.FETCHING, Phase.COMMITTING, Phase.ENDING)


@dataclass
class LiveJob:
    """One recording that this broker is processing."""

    request: JobRequest
    hold: RecordHold
    phase: Phase = Phase.CLAIMING
    attempt: int = 0
    failures: int = 0
    audio_bytes: int = 0
    source: Optional[Source] = None  # as downloaded
    announced: bool = False  # the supervisor was sent Ready
    pointer: Optional[Pointer] = None  # the newest shared checkpoint
    resumed_s: float = 0.0  # how much was transcribed when the record was claimed
    # Not saved to the lease file:
    cuts: Optional[Cuts] = None  # as the record had them at the claim
    kept_at_s: float = 0.0
    begun_at_s: float = 0.0  # when this host claimed its record; 0: an earlier process did
    since_s: float = 0.0  # when this phase started
    tries: int = 0
    is_aside: bool = False  # retried without occupying a place
    renew_at_s: float = 0.0
    is_renewing: bool = False

    @property
    def id(self) -> str:
        return self.request.job_id


@dataclass(frozen=True)
class Settled:
    """How a job ended, for its message."""

    ending: Ending
    reason: str = ""
    after_s: float = 0.0
    attempt: int = 0
    error: str = ""  # the failure class


@dataclass
class Lease:
    """Our lease on one message. The message is deleted only after all its jobs ended."""

    message: Message
    deadline_at_s: float
    open: set[str] = field(default_factory=set)  # ids of live jobs
    settled: dict[str, Settled] = field(default_factory=dict)
    tell: dict[str, float] = field(default_factory=dict)  # job id -> audio_s: a Done is still to be sent
    extend_at_s: float = 0.0
    is_extending: bool = False
    is_worn: bool = False  # held almost as long as the queue allows: to be replaced by a copy
    is_copied: bool = False
    is_gone: bool = False  # the message is no longer in the queue: only the records hold its jobs
    clears: list[RecordKey] = field(default_factory=list)  # jobs whose files are to be removed
    received_at_s: float = field(default_factory=clock.now_s)
    tries: int = 0

    @property
    def id(self) -> str:
        return self.message.id
