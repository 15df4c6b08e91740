"""A message that names a version gets that version's audio, on imitations of S3 over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from supervisor.broker.backends.s3 import S3Objects
from supervisor.broker.ports.errors import JobRejected
from tests.broker.aws_servers import Deployment, deploy

pytestmark = [pytest.mark.aws, pytest.mark.slow]
KEY = "raw/v.wav"


@pytest.fixture(params=["moto", "ministack"])
def bucket(request: pytest.FixtureRequest) -> tuple[Any, Deployment]:
    """A bucket that keeps versions."""
    made = deploy(request.getfixturevalue(request.param))
    s3 = made.server.client("s3")
    s3.put_bucket_versioning(Bucket=made.raw_bucket, VersioningConfiguration={"Status": "Enabled"})
    return s3, made


def fetched(s3: Any, made: Deployment, folder: Path, version: str) -> bytes:
    target = folder / f"got-{version[:8]}"
    S3Objects(s3).fetch(made.raw_bucket, KEY, target, lambda facts: None, version)
    return target.read_bytes()


def test_each_version_is_fetched_by_its_name(bucket: tuple[Any, Deployment], tmp_path: Path) -> None:
    """The newest one's text stood under both."""
    s3, made = bucket
    one, two = (
        s3.put_object(Bucket=made.raw_bucket, Key=KEY, Body=body)["VersionId"]
        for body in (b"first", b"second")
    )

    assert fetched(s3, made, tmp_path, one) == b"first"
    assert fetched(s3, made, tmp_path, two) == b"second"
    assert fetched(s3, made, tmp_path, "") == b"second"


def test_version_is_fetched_though_its_key_was_deleted_since(
    bucket: tuple[Any, Deployment], tmp_path: Path
) -> None:
    s3, made = bucket
    version = s3.put_object(Bucket=made.raw_bucket, Key=KEY, Body=b"first")["VersionId"]
    s3.delete_object(Bucket=made.raw_bucket, Key=KEY)

    assert fetched(s3, made, tmp_path, version) == b"first"
    with pytest.raises(JobRejected, match="There is no object"):
        fetched(s3, made, tmp_path, "")


def test_version_that_does_not_exist_is_the_jobs_own_fault(
    bucket: tuple[Any, Deployment], tmp_path: Path
) -> None:
    s3, made = bucket
    s3.put_object(Bucket=made.raw_bucket, Key=KEY, Body=b"first")

    with pytest.raises(JobRejected, match="There is no version"):
        fetched(s3, made, tmp_path, "3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY")
