"""Whatever boto3 says of its settings and credentials becomes one sentence that says what to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from supervisor.contract.finding import Finding
from supervisor.contract.wire.messages import QueueState, Trouble, Up
from tests.broker.aws_servers import Deployment
from tests.broker.harness import BrokerProcess
from tests.broker.impatient_broker import IMPATIENT
from tests.broker.test_verbs import run

pytestmark = [pytest.mark.slow, pytest.mark.aws]
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
CONFIGS = {
    "broken": "[profile x\nfoo",
    "process": "[default]\ncredential_process = /bin/false\n",
    "no program": "[default]\ncredential_process = /nonexistent/program\n",
    "no json": "[default]\ncredential_process = /bin/echo hello\n",
    "partial": "[default]\naws_access_key_id = abc\n",
    "no sso session": "[default]\nsso_session = z\nsso_account_id = 1\nsso_role_name = r\n",
    "sso": "[default]\nsso_start_url = https://x\nsso_region = us-east-1\nsso_account_id = 1\n"
    "sso_role_name = r\n",
    "no source": "[default]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = none\n",
    "defaults": "[default]\ndefaults_mode = wild\n",
    "fine": "[default]\naws_access_key_id = test\naws_secret_access_key = test\n",
}


@pytest.fixture
def bare(deployment: Deployment, tmp_path: Path) -> dict[str, str]:
    """The server's address and no credentials at all: none of this machine's either."""
    home = tmp_path / "home"
    home.mkdir()
    return {
        "AWS_ENDPOINT_URL": deployment.server.url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": str(home),
    }


def configured(folder: Path, name: str) -> dict[str, str]:
    path = folder / "aws-config"
    path.write_text(CONFIGS[name])
    return {"AWS_CONFIG_FILE": str(path)}


CASES: list[Any] = [
    pytest.param({}, "No AWS credentials were found", "AWS_ACCESS_KEY_ID", id="none"),
    pytest.param({"AWS_ACCESS_KEY_ID": "a"}, "Partial credentials", "AWS_", id="half a key"),
    pytest.param({**KEYS, "AWS_PROFILE": "nobody"}, "'nobody'", "Correct AWS_PROFILE", id="unknown profile"),
    pytest.param({**KEYS, "AWS_ENDPOINT_URL": "localhost:5000"}, "AWS_ENDPOINT_URL", "Write", id="no scheme"),
    pytest.param({**KEYS, "AWS_ENDPOINT_URL": "ftp://x"}, "AWS_ENDPOINT_URL", "Write", id="scheme"),
    pytest.param(
        {**KEYS, "AWS_ENDPOINT_URL_SQS": "http://h:99999"}, "AWS_ENDPOINT_URL_SQS", "Write", id="port"
    ),
    pytest.param(
        {**KEYS, "AWS_ENDPOINT_URL": '"http://127.0.0.1:1"'}, "AWS_ENDPOINT_URL", "Write", id="quotes"
    ),
    pytest.param({**KEYS, "AWS_CA_BUNDLE": "/none.pem"}, "AWS_CA_BUNDLE", "Correct", id="ca"),
    pytest.param({**KEYS, "AWS_DEFAULTS_MODE": "wild"}, "wild", "AWS_", id="defaults mode"),
    *(
        pytest.param({"config": name}, "can't be", "~/.aws/config", id=name)
        for name in CONFIGS
        if name != "fine"
    ),
]


@pytest.mark.parametrize(("environ", "found", "change"), CASES)
def test_broker_stays_up_and_says_what_to_change(
    deployment: Deployment,
    bare: dict[str, str],
    tmp_path: Path,
    environ: dict[str, str],
    found: str,
    change: str,
) -> None:
    """It ended at each of its starts with exit 1, and was started again for ever."""
    given = {**bare, **environ}
    if "config" in given:
        given.update(configured(tmp_path, given.pop("config")))

    with BrokerProcess(deployment.settings(tmp_path), given) as broker:
        broker.hear(Up)
        trouble = broker.hear(Trouble)
        broker.hear(QueueState)
        assert broker.process.poll() is None

    assert trouble.where == "settings"
    assert found in trouble.detail
    assert change in trouble.detail
    assert "Traceback" not in broker.log


def test_corrected_config_file_starts_the_work_without_a_restart(
    deployment: Deployment, bare: dict[str, str], tmp_path: Path
) -> None:
    environ = {**bare, **configured(tmp_path, "broken")}

    with BrokerProcess(deployment.settings(tmp_path), environ, IMPATIENT) as broker:
        assert broker.hear(Trouble).where == "settings"
        configured(tmp_path, "fine")
        assert broker.hear(Trouble) == Trouble("settings", "")


def test_names_without_a_value_count_as_unset(
    deployment: Deployment, bare: dict[str, str], tmp_path: Path
) -> None:
    """`docker --env-file` passes `AWS_PROFILE=`: boto3 looked for a profile without a name."""
    names = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "AWS_CONFIG_FILE", "AWS_ENDPOINT_URL_S3")

    code, lines, err = run(
        deployment.settings(tmp_path), "check", {**bare, **KEYS, **dict.fromkeys(names, "")}
    )

    assert (code, err) == (0, "")
    assert {line["state"] for line in lines} == {"ok", "warn"}


@pytest.mark.parametrize("verb", ["submit", "redrive", "jobs"])
def test_verbs_say_it_in_one_sentence_and_exit_78(
    deployment: Deployment, bare: dict[str, str], tmp_path: Path, audio: Path, verb: str
) -> None:
    """`submit` printed a traceback; `jobs` said that there were none, and exited with 0."""
    asked: dict[str, Any] = {"submit": {"files": [str(audio)]}, "redrive": {"all": True}, "jobs": {}}[verb]
    environ = {**bare, **KEYS, "AWS_PROFILE": "nobody"}

    code, lines, err = run(deployment.settings(tmp_path), verb, environ, **asked)

    if verb == "redrive":
        assert (code, lines) == (0, [])  # no failed job is known here: nothing to ask AWS for
        return
    said = err or lines[0]["reason"]
    assert code == 78
    assert "Correct AWS_PROFILE or unset it." in said
    assert "Traceback" not in said


def test_check_without_credentials_is_one_failure_and_says_what_it_skipped(
    deployment: Deployment, bare: dict[str, str], tmp_path: Path
) -> None:
    """It said "Grant sqs:GetQueueAttributes" of the queue and "ok" of the transcripts."""
    code, lines, _ = run(deployment.settings(tmp_path), "check", bare)

    found = {line["check"]: Finding(**line) for line in lines}
    assert code == 1
    assert [name for name, one in found.items() if one.state == "fail"] == ["credentials"]
    assert found["credentials"].detail == "No AWS credentials were found"
    assert "instance role" in found["credentials"].cure
    skipped = [name for name, one in found.items() if one.state == "skip"]
    assert skipped == ["queue", "table", "audio", "transcripts"]


def test_jobs_counts_what_waits_in_sqs(deployment: Deployment, tmp_path: Path) -> None:
    deployment.send({"recordingId": "r"})

    code, lines, _ = run(deployment.settings(tmp_path), "jobs", deployment.server.environ)

    assert (code, lines) == (0, [{"event": "queue", "waiting": 1, "in_flight": 0}])
