"""A watch for notices inside a loop, and what it was heard to say."""

from __future__ import annotations

import asyncio
from typing import Callable, Optional

from supervisor.notices.http_get import Limits
from supervisor.notices.notice import PATHS, Kind, Notice
from supervisor.notices.watch import NoticeWatch, PollPace
from supervisor.settings.schema import NoticesSettings, Settings
from tests.support.faulty_imds import FaultyImds
from tests.support.waiting import wait_in_loop

QUICK = PollPace(every_s=0.01, others_every=1, first_round_most_s=5.0, limits=Limits(0.5, 0.1))


class Ears:
    """Writes down what the watch says, in order."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def on_notice(self, notice: Notice) -> None:
        self.heard.append(notice)

    def on_resume(self, notice: Notice) -> None:
        self.heard.append(f"awoke {notice.action}")

    def on_settled(self) -> None:
        self.heard.append("settled")

    def on_trouble(self, text: str) -> None:
        self.heard.append(f"trouble {text}" if text else "well")

    @property
    def notices(self) -> list[Notice]:
        return [one for one in self.heard if isinstance(one, Notice)]

    @property
    def words(self) -> list[str]:
        """Everything heard but the notices' figures: `spot terminate`, `settled`, `trouble`, `well`."""
        return [
            f"{one.kind.value} {one.action}" if isinstance(one, Notice) else str(one).split()[0]
            for one in self.heard
        ]


class Watch:
    """A watch at work inside a loop."""

    def __init__(self, fake: Optional[FaultyImds], settings: NoticesSettings, pace: PollPace) -> None:
        environ = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": fake.endpoint} if fake else {}
        self.fake = fake
        self.listener = Ears()
        self.slept_s = 0.0
        self.notices = NoticeWatch(
            Settings(notices=settings), environ, self.listener, pace, lambda: self.slept_s
        )

    async def until(self, fact: Callable[[], object]) -> None:
        await wait_in_loop(fact, lambda: f"a fact; heard: {self.listener.heard}")

    async def rounds(self, count: int) -> None:
        """Let it ask about everything so many times more."""
        assert self.fake is not None
        asked = self.fake.requests
        last = f"GET {PATHS[Kind.ASG]}"
        wanted = asked.count(last) + count + 1  # the one under way may be an old one
        await self.until(lambda: asked.count(last) >= wanted)


def watched(
    fake: Optional[FaultyImds],
    story: Callable[[Watch], object],
    settings: Optional[NoticesSettings] = None,
    pace: PollPace = QUICK,
) -> Ears:
    """Run a watch through a story (a coroutine function); give what was heard."""

    async def run() -> Ears:
        watch = Watch(fake, settings or NoticesSettings(), pace)
        watch.notices.start()
        try:
            await story(watch)  # type: ignore[misc]  # a coroutine function, as the name of the parameter says
        finally:
            watch.notices.stop()
        return watch.listener

    return asyncio.run(run())
