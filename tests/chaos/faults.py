"""A proxy before an AWS imitation that spoils some calls, and writes down every delivery of a message."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.broker.aws_servers import AwsServer
from tests.broker.proxy import Proxy, forward, hang_up

# What happens to one call in a hundred, in hundredths. `late`: done, but the answer never comes.
FAULTS = {"500": 2.0, "throttled": 2.0, "cut": 1.5, "late": 1.5, "slow": 1.5}


@dataclass
class Delivery:
    """One receipt of a message, and how it ended."""

    at_s: float
    reached: bool  # as far as the proxy can tell
    held_until_s: float
    ended: str = ""  # released, deleted; empty: its time ran out, or it is still held


@dataclass
class Ledger:
    """Every delivery of every message, from the calls that went through here."""

    deliveries: dict[str, list[Delivery]] = field(default_factory=dict)
    _by_handle: dict[str, Delivery] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def note(self, call: str, asked: dict[str, Any], answer: dict[str, Any], reached: bool) -> None:
        """Take a successful call down."""
        now_s = time.monotonic()
        with self._guard:
            if call == "ReceiveMessage":
                for found in answer.get("Messages", []):
                    one = Delivery(now_s, reached, now_s + float(asked["VisibilityTimeout"]))
                    self.deliveries.setdefault(found["MessageId"], []).append(one)
                    self._by_handle[found["ReceiptHandle"]] = one
            elif call == "DeleteMessage":
                self._end(asked["ReceiptHandle"], "deleted")
            elif call == "ChangeMessageVisibility":
                self._hide(asked, now_s)
            elif call == "ChangeMessageVisibilityBatch":
                failed = {entry["Id"] for entry in answer.get("Failed", [])}
                for entry in asked["Entries"]:
                    if entry["Id"] not in failed:
                        self._hide(entry, now_s, is_beat=True)

    def unexplained(self) -> list[str]:
        """Name what came again though it was neither given back nor out of time."""
        found = []
        for message_id, all_of_it in self.deliveries.items():
            for before, after in zip(all_of_it, all_of_it[1:]):
                if before.ended != "released" and after.at_s < before.held_until_s - 1.0:
                    early_s = before.held_until_s - after.at_s
                    found.append(f"{message_id} came again {early_s:.1f} s before its time ({before.ended})")
        return found

    def summary(self) -> dict[str, int]:
        """Count receipts by how they ended."""
        every = [one for deliveries in self.deliveries.values() for one in deliveries]
        ran_out = [
            before
            for deliveries in self.deliveries.values()
            for before in deliveries[:-1]
            if before.ended != "released"
        ]
        return {
            "messages": len(self.deliveries),
            "receives": len(every),
            "most receives of one": max((len(found) for found in self.deliveries.values()), default=0),
            "given back": sum(one.ended == "released" for one in every),
            "ran out": len(ran_out),
            "of these with the answer lost": sum(not one.reached for one in ran_out),
        }

    def _hide(self, asked: dict[str, Any], now_s: float, is_beat: bool = False) -> None:
        one = self._by_handle.get(asked["ReceiptHandle"])
        if one is None:
            return
        one.held_until_s = now_s + float(asked["VisibilityTimeout"])
        if not is_beat:
            one.ended = "released"

    def _end(self, handle: str, how: str) -> None:
        if handle in self._by_handle:
            self._by_handle[handle].ended = how


class FaultProxy(Proxy):
    """Lets most calls through. `is_calm`: all of them."""

    def __init__(self, behind: AwsServer, seed: int) -> None:
        super().__init__(behind)
        self.is_calm = True
        self.ledger = Ledger()
        self.faults: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._guard = threading.Lock()

    def handle(self, request: BaseHTTPRequestHandler, netloc: str) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        call = request.headers.get("X-Amz-Target", "").split(".")[-1]
        fault = self._fault()
        if fault == "cut":
            hang_up(request)
            return
        if fault in ("500", "throttled"):
            self._refuse(request, fault, is_s3=not call)
            return
        if fault == "slow":
            time.sleep(1.0)  # as a slow network would
        try:
            status, headers, data = forward(request, netloc, body)
        except OSError:
            hang_up(request)
            return
        if status == 200 and call:
            self.ledger.note(call, json.loads(body or b"{}"), _plain(data), reached=fault != "late")
        if fault == "late":
            hang_up(request)
            return
        self._answer(request, status, headers, data)

    def _fault(self) -> str:
        with self._guard:
            draw = self._chance.uniform(0, 100)
            if self.is_calm:
                return ""
            for fault, share in FAULTS.items():
                draw -= share
                if draw < 0:
                    self.faults[fault] += 1
                    return fault
        return ""

    def _refuse(self, request: BaseHTTPRequestHandler, fault: str, is_s3: bool) -> None:
        status, code = (500, "InternalError") if fault == "500" else (400, "ThrottlingException")
        if is_s3:
            status, code = (500, "InternalError") if fault == "500" else (503, "SlowDown")
            data = f"<Error><Code>{code}</Code><Message>made by the test</Message></Error>".encode()
            self._answer(request, status, {"Content-Type": "application/xml"}, data)
            return
        plain = {"__type": code, "message": "made by the test"}
        self._answer(
            request, status, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(plain).encode()
        )


def _plain(data: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(data or b"{}")
    except ValueError:
        return {}
    return found
