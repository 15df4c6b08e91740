"""Polls the instance metadata service every few seconds and reports new notices.

`notice.py` interprets an answer, the pool decides what follows. Outside EC2 there is no watch and
no request is sent. No worker starts before the first round of requests was answered or has failed,
or five seconds have passed.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Protocol

from supervisor.contract import clock
from supervisor.notices import imds
from supervisor.notices.http_get import Limits
from supervisor.notices.imds import Imds, ImdsFailed, ImdsTrouble
from supervisor.notices.notice import (
    PATHS,
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
from supervisor.settings.schema import NoticesSettings, Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PollPace:
    """Intervals and limits of the requests."""

    every_s: float = 2.0  # AWS advises 5 s; of a spot notice's two minutes, each second counts
    others_every: int = 3  # rounds; the other kinds leave more time, and a round costs 2 ms
    first_round_most_s: float = 5.0  # a guess: token and first answer from a slow service; models load longer
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Off:
    """Why the watch is off, and what to do if that is a mistake."""

    reason: str
    cure: str = ""
    is_mistake: bool = False


def why_off(own: NoticesSettings, environ: Mapping[str, str]) -> Optional[Off]:
    """Return why the watch is off on this host; None: it is on."""
    if own.enabled == "off":
        return Off("[notices] enabled = off")
    if environ.get("AWS_EC2_METADATA_DISABLED", "").strip().lower() == "true":
        return Off("AWS_EC2_METADATA_DISABLED is true")
    try:
        imds.endpoint_of(environ)
    except imds.EndpointWrong as error:
        return Off(str(error), "Correct it or leave it out", is_mistake=True)
    is_named = bool(environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "").strip())
    if own.enabled == "on" or is_named or imds.is_ec2():
        return None
    return Off("this is not an EC2 instance", "Where it is one: [notices] enabled = on")


SLEPT_LEAST_S = 1.0  # the clocks of an awake machine never differ by that much


def kinds_of(own: NoticesSettings) -> list[Kind]:
    """Return the kinds of notices to poll, the most urgent first."""
    return [kind for kind in Kind if kind is not Kind.REBALANCE or own.rebalance == "drain"]


class NoticeListener(Protocol):
    """Receives notices and the state of the watch."""

    def on_notice(self, notice: Notice) -> None:
        """A new notice arrived."""

    def on_resume(self, notice: Notice) -> None:
        """The machine hibernated as this notice announced, and is back."""

    def on_settled(self) -> None:
        """Workers may start from now on."""

    def on_trouble(self, text: str) -> None:
        """The metadata service cannot be read; an empty text: it can be read again."""


class NoticeWatch:
    """The watch for notices of one host."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        listener: NoticeListener,
        pace: PollPace = PollPace(),
        slept_s: Callable[[], float] = clock.slept_s,
    ) -> None:
        own = settings.notices
        self.settled = False
        self._own = own
        self._environ = environ
        self._listener = listener
        self._pace = pace
        self._policy = NoticePolicy(settings.supervisor.drain_s, own.rebalance_s)
        self._kinds = kinds_of(own)
        self._board = NoticeBoard()
        self._slept_s = slept_s
        self._slept_at_notice_s = 0.0  # when the newest notice came
        self._trouble: Optional[ImdsTrouble] = None
        self._task: Optional[asyncio.Task[None]] = None

    def start(self) -> None:
        """Start the watch if it is on for this host."""
        off = why_off(self._own, self._environ)
        if off is not None:
            level = logging.WARNING if off.is_mistake else logging.INFO
            log.log(
                level,
                "EC2 interruption monitoring off",
                extra={"event": "notice-watch-off", "reason": off.reason, "cure": off.cure},
            )
            self._report_settled()
            return
        asyncio.get_running_loop().call_later(self._pace.first_round_most_s, self._report_settled)
        service = Imds(imds.endpoint_of(self._environ), self._pace.limits)
        self._task = asyncio.create_task(self._watch(service))

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def drill(self, kind: Kind, action: str, in_s: float) -> Notice:
        """Process a simulated notice in the same way as a real one."""
        now = _now()
        at_unix_s = now.unix_s + (in_s if kind is Kind.SPOT else 0.0)
        answer = Answer(200, body_of(kind, action, at_unix_s))
        notice = read(kind, answer, now, self._policy)
        assert notice is not None  # noqa: S101 - we wrote the body ourselves
        self._board = self._board.add_drill(notice)
        drill = self._board.known[-1]
        self._report(drill)
        return drill

    def why_ignored(self, kind: Kind) -> str:
        """Return why a real notice of this kind would be ignored; empty: it would be processed."""
        off = why_off(self._own, self._environ)
        if off is not None:
            return off.reason
        return "" if kind in self._kinds else f'[notices] rebalance = "{self._own.rebalance}"'

    def resumed(self) -> None:
        """End drills after an operator's resume. Notices of AWS stay on the board."""
        self._board = self._board.without_drills()

    def status(self, now_s: float) -> Optional[dict[str, Any]]:
        """Return the notice with the earliest deadline as `status --json` shows it."""
        notice = self._board.first
        if notice is None:
            return None
        return {
            "kind": notice.kind.value,
            "action": notice.action,
            "time": notice.time or None,
            "deadline_s": round(max(0.0, notice.deadline_at_s - now_s), 1),
            "drill": notice.is_drill,
            "withdrawn": self._board.is_withdrawn(notice),
        }

    async def _watch(self, service: Imds) -> None:
        for number in itertools.count():
            in_full = number % self._pace.others_every == 0 or self._trouble is not None
            try:
                trouble = await self._ask_all(service, self._kinds if in_full else [Kind.SPOT])
            except Exception as error:  # noqa: BLE001 - the outermost loop: a mistake of ours must not end it
                trouble = ImdsFailed(ImdsTrouble.NONSENSE, f"a mistake of ours: {error!r}")
            if in_full or trouble is not None:
                self._report_trouble(trouble)
            self._report_settled()
            await asyncio.sleep(self._pace.every_s)

    async def _ask_all(self, service: Imds, kinds: Sequence[Kind]) -> Optional[ImdsFailed]:
        """Request these kinds; return the first failure, if any."""
        first: Optional[ImdsFailed] = None
        for kind in kinds:
            try:
                self._take(kind, await service.get(PATHS[kind]))
            except Nonsense as error:
                first = first or ImdsFailed(ImdsTrouble.NONSENSE, f"{PATHS[kind]}: {error}")
            except ImdsFailed as error:
                first = first or error
                if error.trouble.is_of_all:
                    break
        return first

    def _take(self, kind: Kind, answer: Answer) -> None:
        found = read(kind, answer, _now(), self._policy)
        self._board, news, is_withdrawn = self._board.take(kind, found)
        if news is not None:
            self._slept_at_notice_s = self._slept_s()
            self._report(news)
        slept = self._hibernation_over() if is_withdrawn else None
        if slept is not None:
            self._listener.on_resume(slept)
        elif is_withdrawn:
            log.warning(
                "interruption notice withdrawn; workers stay drained until `rem-supervisor resume`",
                extra={"event": "notice-withdrawn", "kind": kind.value},
            )

    def _hibernation_over(self) -> Optional[Notice]:
        """Return the notice of a finished hibernation, if the host slept and no other notice stands."""
        notice = self._board.known[-1]
        has_slept = self._slept_s() - self._slept_at_notice_s >= SLEPT_LEAST_S
        is_over = notice.action == "hibernate" and not notice.is_drill and not self._board.told
        return notice if has_slept and is_over else None

    def _report(self, notice: Notice) -> None:
        left_s = max(0.0, notice.deadline_at_s - clock.now_s())
        facts = {"kind": notice.kind.value, "action": notice.action, "at": notice.time or None}
        log.warning(
            "interruption notice received (drill)" if notice.is_drill else "interruption notice received",
            extra={"event": "notice-received", **facts, "within_s": round(left_s, 1)},
        )
        self._listener.on_notice(notice)

    def _report_trouble(self, failed: Optional[ImdsFailed]) -> None:
        """Log once that the service cannot be read, and once that it can again."""
        trouble = failed.trouble if failed is not None else None
        if trouble is self._trouble:
            return
        self._trouble = trouble
        if failed is not None:
            log.warning(
                "interruption notices cannot be read",
                extra={"event": "notices-unreadable", "trouble": failed.trouble.value, "detail": str(failed)},
            )
        else:
            log.info("interruption notices can be read again", extra={"event": "notices-readable"})
        self._listener.on_trouble(str(failed) if failed is not None else "")

    def _report_settled(self) -> None:
        if not self.settled:
            self.settled = True
            self._listener.on_settled()


def _now() -> Now:
    return Now(clock.now_s(), clock.wall_unix_s())
