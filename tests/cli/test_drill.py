"""`rem-supervisor drill`: what it asks of the service, and the imitation that --serve runs."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from supervisor.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]
Answering = Callable[[dict[str, Any]], list[dict[str, Any]]]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (("spot",), {"kind": "spot", "action": "terminate", "in_s": 120.0}),
        (
            ("spot", "--in", "30", "--action", "hibernate"),
            {"kind": "spot", "action": "hibernate", "in_s": 30.0},
        ),
        (("asg",), {"kind": "asg", "action": "terminate", "in_s": 120.0}),
        (("rebalance",), {"kind": "rebalance", "action": "terminate", "in_s": 120.0}),
    ],
)
def test_a_drill_is_asked_of_the_service_and_its_words_are_printed(
    answering: Answering, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], asked: dict[str, Any]
) -> None:
    requests = answering({"ok": True, "text": "it will drain"})

    code = main.main(["drill", *words])

    assert (code, capsys.readouterr().out) == (0, "it will drain\n")
    assert requests == [{"do": "drill", **asked}]


def test_without_a_service_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["drill", "spot"]) == 3
    assert "no supervisor is running" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("earthquake",),
        ("spot", "--in", "soon"),
        ("spot", "--in", "-1"),
        ("spot", "--action", "explode"),
        ("spot", "--serve", "65536"),
        ("spot", "--serve", "x"),
    ],
)
def test_what_is_no_drill_is_a_mistake_in_usage(words: tuple[str, ...]) -> None:
    assert main.main(["drill", *words]) == 2


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    from supervisor.notices.fake_imds import FakeImds

    with FakeImds() as other:
        assert main.main(["drill", "spot", "--serve", str(other.port)]) == 1
        assert f"port {other.port}" in capsys.readouterr().err


def as_in_a_terminal() -> None:
    """Undo what a shell sets for programs that it runs in the background, such as these tests."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_the_imitation_tells_the_notice_until_it_is_interrupted() -> None:
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "supervisor", "drill", "spot", "--serve", "0", "--in", "90"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environ, preexec_fn=as_in_a_terminal
    ) as process:
        try:
            assert process.stdout is not None
            name, _, endpoint = process.stdout.readline().strip().partition("=")
            process.stdout.readline()
            told = process.stdout.readline()
            found = _asked(endpoint)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)

    assert name == "AWS_EC2_METADATA_SERVICE_ENDPOINT"
    assert endpoint.startswith("http://127.0.0.1:")
    assert found["action"] == "terminate"
    assert found["time"] in told
    assert process.returncode == 130


def _asked(endpoint: str) -> dict[str, Any]:
    """Ask as EC2's documentation says, with a library that is not ours."""
    link = http.client.HTTPConnection(endpoint.rpartition("/")[2], timeout=10)
    link.request("PUT", "/latest/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    token = link.getresponse().read().decode()
    link.close()
    path = "/latest/meta-data/spot/instance-action"
    link.request("GET", path, headers={"X-aws-ec2-metadata-token": token})
    body = link.getresponse().read()
    link.close()
    return dict(json.loads(body))
