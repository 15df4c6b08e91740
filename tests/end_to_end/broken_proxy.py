"""A proxy that does something at one moment of a job: after a certain call took effect, before its answer."""

from __future__ import annotations

from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Callable, Optional

from tests.broker.proxy import Proxy, forward, hang_up


@dataclass(frozen=True)
class Moment:
    """The n-th call of this name or method with something in its path or body."""

    call: str
    inside: str = ""
    nth: int = 1


class ActingProxy(Proxy):
    """`at` arranges one deed; the call's answer is lost where the deed says so by returning True."""

    moment: Optional[Moment] = None
    deed: Callable[[], bool] = staticmethod(lambda: False)
    matches: int = 0

    def at(self, moment: Moment, deed: Callable[[], bool]) -> None:
        self.moment, self.deed, self.matches = moment, deed, 0

    def handle(self, request: BaseHTTPRequestHandler, netloc: str) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        call = request.headers.get("X-Amz-Target", "").split(".")[-1] or request.command
        status, headers, data = forward(request, netloc, body)
        if self._is_it(call, request.path + body.decode("utf-8", "replace")) and status < 300:
            self.moment = None
            if self.deed():
                hang_up(request)
                return
        self._answer(request, status, headers, data)

    def _is_it(self, call: str, text: str) -> bool:
        if self.moment is None or call != self.moment.call or self.moment.inside not in text:
            return False
        self.matches += 1
        return self.matches == self.moment.nth
