"""The metadata client against a real loopback service, well and ill in every way."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.notices.http_get import Endpoint, Garbled, Limits, parse
from supervisor.notices.imds import (
    LINK_LOCAL,
    LINK_LOCAL_6,
    EndpointWrong,
    Imds,
    ImdsFailed,
    ImdsTrouble,
    Step,
    endpoint_of,
    is_ec2,
    step_after,
)
from supervisor.notices.notice import PATHS, Answer, Kind
from tests.support.faulty_imds import FaultyImds, ImdsFault

PATIENT = Limits(connect_s=30.0, read_s=30.0)  # on a busy machine a good answer may take a while
QUICK = Limits(connect_s=30.0, read_s=0.5)
SILENT = (ImdsFault.DRIPPING, ImdsFault.HANGING, ImdsFault.HOP_LIMIT)
SPOT = PATHS[Kind.SPOT]


@pytest.fixture
def fake() -> Iterator[FaultyImds]:
    with FaultyImds() as service:
        yield service


def client(fake: FaultyImds, limits: Limits = PATIENT) -> Imds:
    return Imds(Endpoint("127.0.0.1", fake.port), limits)


def ask(service: Imds, path: str = SPOT) -> Answer:
    return asyncio.run(service.get(path))


def trouble(service: Imds) -> tuple[ImdsTrouble, str]:
    with pytest.raises(ImdsFailed) as caught:
        ask(service)
    return caught.value.trouble, str(caught.value)


def test_a_question_is_asked_with_a_token_that_serves_for_the_next_one_too(fake: FaultyImds) -> None:
    body = fake.tell(Kind.SPOT)
    service = client(fake)

    first, second = ask(service), ask(service, PATHS[Kind.ASG])

    assert (first.status, first.body, second.status) == (200, body, 404)
    assert first.date.endswith("GMT")
    assert fake.requests == ["PUT /latest/api/token", f"GET {SPOT}", f"GET {PATHS[Kind.ASG]}"]


def test_an_expired_token_is_replaced_once_and_the_question_asked_again(fake: FaultyImds) -> None:
    service = client(fake)
    ask(service)
    fake.requests.clear()
    fake.expire_tokens()

    answer = ask(service)

    assert answer.status == 404
    assert fake.requests == [f"GET {SPOT}", "PUT /latest/api/token", f"GET {SPOT}"]


def test_a_service_that_refuses_its_own_tokens_is_asked_twice_and_not_for_ever(fake: FaultyImds) -> None:
    fake.fault = ImdsFault.REFUSING

    kind, words = trouble(client(fake))

    assert kind is ImdsTrouble.REFUSED
    assert "401" in words
    assert len(fake.requests) == 4


@pytest.mark.parametrize(
    ("fault", "kind", "word"),
    [
        (ImdsFault.OFF, ImdsTrouble.OFF, "--http-endpoint enabled"),
        (ImdsFault.FAILING, ImdsTrouble.FAILING, "503"),
        (ImdsFault.GARBAGE, ImdsTrouble.NONSENSE, "token"),
        (ImdsFault.NOT_HTTP, ImdsTrouble.NONSENSE, "SSH-2.0"),
        (ImdsFault.HUGE, ImdsTrouble.NONSENSE, "65536 bytes"),
        (ImdsFault.BROKEN_OFF, ImdsTrouble.NONSENSE, "breaks off"),
        (ImdsFault.DRIPPING, ImdsTrouble.SILENT, "no whole answer"),
        (ImdsFault.HANGING, ImdsTrouble.SILENT, "no whole answer"),
        (ImdsFault.HOP_LIMIT, ImdsTrouble.HOP_LIMIT, "--http-put-response-hop-limit 2"),
    ],
)
def test_an_ill_service_is_named_after_two_tries_and_within_its_time(
    fake: FaultyImds, fault: ImdsFault, kind: ImdsTrouble, word: str
) -> None:
    fake.fault = fault
    began_s = time.monotonic()

    found, words = trouble(client(fake, QUICK if fault in SILENT else PATIENT))

    assert found is kind
    assert word in words
    assert len(fake.requests) <= 3
    assert time.monotonic() - began_s < PATIENT.read_s, "such a service never comes to an end by itself"


@pytest.mark.parametrize("fault", [ImdsFault.FAILING, ImdsFault.HUGE, ImdsFault.HANGING, ImdsFault.DRIPPING])
def test_an_illness_that_passes_costs_nothing(fake: FaultyImds, fault: ImdsFault) -> None:
    service = client(fake, QUICK if fault in SILENT else PATIENT)
    ask(service)
    fake.fault = fault
    trouble(service)
    fake.fault = ImdsFault.NONE

    assert ask(service).status == 404


def test_nothing_is_ever_read_without_a_token(fake: FaultyImds) -> None:
    """Version 1 is no way out. The one question without a token is for its mere answer."""
    fake.fault = ImdsFault.HOP_LIMIT
    fake.tell(Kind.SPOT)

    trouble(client(fake, QUICK))

    assert [line for line in fake.requests if SPOT in line] == []


def test_nobody_there_is_unreachable_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        service = Imds(Endpoint("127.0.0.1", taken.getsockname()[1]), QUICK)

        assert trouble(service)[0] is ImdsTrouble.UNREACHABLE


def test_a_full_queue_of_connections_is_unreachable_in_time() -> None:
    """What swallows connection requests, as a firewall does."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for caller in (first, second):
            caller.setblocking(False)
            caller.connect_ex(full.getsockname())
        service = Imds(Endpoint("127.0.0.1", full.getsockname()[1]), Limits(0.1, 0.1))

        assert trouble(service)[0] in (ImdsTrouble.UNREACHABLE, ImdsTrouble.SILENT)


@pytest.mark.parametrize(
    ("status", "tries", "is_renewed", "step"),
    [
        (200, 1, False, Step.TAKE),
        (404, 2, True, Step.TAKE),
        (401, 1, False, Step.NEW_TOKEN),
        (401, 2, False, Step.NEW_TOKEN),
        (401, 2, True, Step.GIVE_UP),
        (403, 1, False, Step.GIVE_UP),
        (500, 1, False, Step.AGAIN),
        (503, 2, False, Step.GIVE_UP),
        (0, 1, False, Step.AGAIN),
        (0, 2, False, Step.GIVE_UP),
        (301, 1, False, Step.GIVE_UP),
        (204, 1, False, Step.GIVE_UP),
        (429, 1, False, Step.GIVE_UP),
    ],
)
def test_what_follows_from_each_status(status: int, tries: int, is_renewed: bool, step: Step) -> None:
    assert step_after(status, tries, is_renewed) is step


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        ({}, LINK_LOCAL),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": " "}, LINK_LOCAL),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv6"}, LINK_LOCAL_6),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1338"}, Endpoint("127.0.0.1", 1338)),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1338/"}, Endpoint("127.0.0.1", 1338)),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://[::1]:80/imds/"}, Endpoint("::1", 80, "/imds")),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://host"}, Endpoint("host", 80)),
    ],
)
def test_the_endpoint_is_found_by_the_names_that_boto3_knows(
    environ: dict[str, str], endpoint: Endpoint
) -> None:
    assert endpoint_of(environ) == endpoint


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1:1338", "https://host", "http://", "http://host:port", "http://host:99999", "http://[::1",
     "http://host/a b", "http://host/\r\nX-Evil: 1", "http://hóst", "ftp://host"],
)  # fmt: skip
def test_an_endpoint_that_can_not_be_asked_is_refused(text: str) -> None:
    with pytest.raises(EndpointWrong):
        endpoint_of({"AWS_EC2_METADATA_SERVICE_ENDPOINT": text})


@pytest.mark.parametrize(
    ("name", "text", "is_one"),
    [
        ("sys/devices/virtual/dmi/id/sys_vendor", "Amazon EC2\n", True),
        ("sys/devices/virtual/dmi/id/bios_version", "4.11.amazon\n", True),
        ("sys/hypervisor/uuid", "ec2f58d1-0000-0000-0000-000000000000\n", True),
        ("sys/devices/virtual/dmi/id/sys_vendor", "Google\n", False),
        ("sys/devices/virtual/dmi/id/sys_vendor", "", False),
    ],
)
def test_ec2_is_known_by_its_firmware(tmp_path: Path, name: str, text: str, is_one: bool) -> None:
    assert not is_ec2(tmp_path)
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_text(text)

    assert is_ec2(tmp_path) is is_one


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \xb9\r\n\r\n1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1234",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9" + b"9" * 5_000 + b"\r\n\r\n1234",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
    ],
)
def test_what_is_no_whole_answer_is_garbled(data: bytes) -> None:
    with pytest.raises(Garbled):
        parse(data)


@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 120))
def test_no_bytes_do_more_than_be_garbled(noise: bytes, at: int, cut: int) -> None:
    """A superscript digit as the length once raised ValueError, which ended the watch for good."""
    whole = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\n12345"

    with contextlib.suppress(Garbled):
        assert parse((whole[:at] + noise + whole[at + len(noise) :])[:cut]).status >= 0


def test_an_answer_is_taken_apart() -> None:
    reply = parse(b"HTTP/1.0 404 Not Found\r\nDATE: now\r\nnonsense\r\nContent-Length: 2\r\n\r\nabcd")

    assert (reply.status, reply.body, reply.headers["date"]) == (404, b"ab", "now")
