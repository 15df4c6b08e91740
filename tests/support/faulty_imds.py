"""The product's mock metadata service with what only tests need: faults, delays, a log of requests."""

from __future__ import annotations

import enum
import threading
from typing import Optional

from supervisor.contract import clock
from supervisor.notices.fake_imds import FakeImds, ImdsHandler
from supervisor.notices.notice import PATHS, Kind


class ImdsFault(str, enum.Enum):
    """The simulated fault of the service."""

    NONE = "none"
    REFUSING = "refusing"  # 401 whatever the token
    OFF = "off"  # 403, as with --http-endpoint disabled
    FAILING = "failing"  # 503
    GARBAGE = "garbage"  # 200 and a body that means nothing
    NOT_HTTP = "not-http"
    HUGE = "huge"
    BROKEN_OFF = "broken-off"  # less than its Content-Length
    DRIPPING = "dripping"  # a byte now and then
    HANGING = "hanging"  # connects, never answers
    HOP_LIMIT = "hop-limit"  # questions are answered, the token never arrives


_BYTES = {
    ImdsFault.GARBAGE: b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n\x00\xff<html>..",
    ImdsFault.NOT_HTTP: b"SSH-2.0-OpenSSH_9.2\r\n",
    ImdsFault.HUGE: b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"{" * 1_000_000,
    ImdsFault.BROKEN_OFF: b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{",
    ImdsFault.DRIPPING: b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
    ImdsFault.HANGING: b"",
}
_STATUS = {ImdsFault.OFF: 403, ImdsFault.FAILING: 503}


class FaultyImds(FakeImds):
    """The mock service with faults. Each attribute may be changed at any time."""

    def __init__(self) -> None:
        self.fault = ImdsFault.NONE
        self.ahead_s = 0.0  # how far its clock (the Date header) is before ours
        self.delay_s = 0.0  # before each answer
        self.requests: list[str] = []  # "GET /path", the latest last
        self.closing = threading.Event()
        super().__init__(handler=_Handler)

    def tell(self, kind: Kind, action: str = "terminate", in_s: float = 120.0) -> str:
        return super().tell(kind, action, self.ahead_s + in_s)

    def withdraw(self, kind: Kind) -> None:
        """Stop serving a notice."""
        self.told.pop(PATHS[kind], None)

    def expire_tokens(self) -> None:
        """Refuse every token given so far."""
        self.tokens.clear()

    def close(self) -> None:
        self.closing.set()
        super().close()


class _Handler(ImdsHandler):
    @property
    def _fake(self) -> FaultyImds:
        assert isinstance(self.server.fake, FaultyImds)
        return self.server.fake

    def do_PUT(self) -> None:
        self._fake.requests.append(f"PUT {self.path}")
        if self._fake.fault is ImdsFault.HOP_LIMIT:
            self._fake.closing.wait()
        else:
            super().do_PUT()

    def do_GET(self) -> None:
        self._fake.requests.append(f"GET {self.path}")
        if self._fake.fault is ImdsFault.REFUSING:
            self._fake.expire_tokens()
        super().do_GET()

    def answer(self, status: int, body: str = "") -> None:
        self._fake.closing.wait(self._fake.delay_s)
        fault = self._fake.fault
        if fault not in _BYTES:
            return super().answer(_STATUS.get(fault, status), body)
        self.wfile.write(_BYTES[fault])
        if fault is ImdsFault.HANGING:
            self._fake.closing.wait()
        while fault is ImdsFault.DRIPPING and not self._fake.closing.wait(0.2):
            self.wfile.write(b"x")
        return None

    def date_time_string(self, timestamp: Optional[float] = None) -> str:
        return super().date_time_string(clock.wall_unix_s() + self._fake.ahead_s)
