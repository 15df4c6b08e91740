"""ObjectStore on S3: streaming uploads and downloads, limited by the announced size."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any, Callable, Optional

import botocore.exceptions

from supervisor.broker.backends.aws_errors import code_of, describe, lacks_right, translated
from supervisor.broker.ports.errors import Forbidden, JobRejected, Misconfigured, TryLater
from supervisor.broker.ports.ports import ObjectFacts
from supervisor.broker.ports.streams import copy_bytes, spool_errors

_NOT_THERE = ("NoSuchKey", "404", "NoSuchVersion", "KeyTooLongError")
_NO_SUCH_VERSION = (
    "NoSuchVersion",
    "NoSuchKey",
    "404",
    "InvalidArgument",
)  # the last: not a valid version id
_NO_VERSION = "null"  # S3's version id in a bucket without versioning
# boto3 sends Expect: 100-continue before a file but not before bytes: one round trip less.
_AT_ONCE_BYTES = 1 << 20
_PROBE = "raw/rem-supervisor-check"  # a key that no recording has, which a role limited to raw/* may read


class S3Objects:
    """All buckets, through one boto3 client.

    `audio_bucket` is RAW_AUDIO_BUCKET, if transcripts go to another one; `submit` writes to both.
    """

    def __init__(self, client: Any, audio_bucket: str = "") -> None:
        self._client = client
        self._audio_bucket = audio_bucket

    def fetch(
        self, bucket: str, key: str, to: Path, admit: Callable[[ObjectFacts], None], version: str = ""
    ) -> ObjectFacts:
        with translated("audio", f"get {bucket}/{key[:200]}", bucket):
            try:
                answer = self._get(bucket, key, version)
            except botocore.exceptions.ClientError as error:
                if lacks_right(error):
                    self._raise_if_role_denied(bucket)
                if code_of(error) in _NOT_THERE:
                    raise JobRejected(f"There is no object {key[:300]!r} in bucket {bucket}.") from error
                raise
        body, facts = answer["Body"], _facts(answer)
        try:
            admit(facts)
            self._write(body, to, facts.size_bytes, f"get {bucket}/{key[:200]}")
        finally:
            body.close()
        return facts

    def look(self, bucket: str, key: str) -> Optional[ObjectFacts]:
        # Not HeadObject: its errors have no body, so expired credentials look like a missing key.
        with translated("audio", f"look at {bucket}/{key[:200]}", bucket):
            try:
                answer = self._client.get_object(Bucket=bucket, Key=key)
            except botocore.exceptions.ClientError as error:
                if code_of(error) in _NOT_THERE or lacks_right(error):
                    return None  # without s3:ListBucket, S3 returns 403 for a missing key
                raise
            answer["Body"].close()
        return _facts(answer)

    def prove(self, bucket: str, where: str) -> None:
        """Read an object that does not exist. Raises Misconfigured if that shows a wrong bucket or role.

        Forbidden is ambiguous: no permission to read, a bucket of another account, or only s3:ListBucket
        missing, without which a missing key is a 403.
        """
        with translated(where, f"read bucket {bucket}", bucket):
            try:
                self._client.get_object(Bucket=bucket, Key=_PROBE)["Body"].close()
            except botocore.exceptions.ClientError as error:
                if code_of(error) in _NOT_THERE:
                    return
                right = _missing_permission(error) if where == "audio" else ""
                if right:
                    raise Misconfigured(where, f"{describe(error)}. Grant {right} to this role.") from error
                raise

    def put(self, bucket: str, key: str, source: Path, content_type: str) -> None:
        # The operator has to correct the setting that names this bucket.
        where = "audio" if bucket == self._audio_bucket else "transcripts"
        with translated(where, f"put {bucket}/{key[:200]}", bucket), open(source, "rb") as file:
            start = file.read(_AT_ONCE_BYTES)
            body: Any = start if len(start) < _AT_ONCE_BYTES else file
            if body is file:
                file.seek(0)
            # One request: the object appears completely or not at all, and S3 verifies its checksum.
            self._client.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)

    def delete(self, bucket: str, key: str) -> None:
        with translated("transcripts", f"delete {bucket}/{key[:200]}", bucket):
            self._client.delete_object(Bucket=bucket, Key=key)

    def names(self, bucket: str, prefix: str) -> list[str]:
        with translated("transcripts", f"list {bucket}/{prefix[:200]}", bucket):
            answer = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix)
        return [str(entry["Key"]) for entry in answer.get("Contents", ())]

    def _get(self, bucket: str, key: str, version: str) -> Any:
        """Start reading an object, or a version of it.

        The current version is requested first, which needs s3:GetObject only and is usually the right one. An
        older one needs s3:GetObjectVersion.
        """
        try:
            answer = self._client.get_object(Bucket=bucket, Key=key)
        except botocore.exceptions.ClientError as error:
            if not version or code_of(error) not in _NOT_THERE:
                raise  # otherwise it was deleted since: the version may still exist
        else:
            if not version or answer.get("VersionId", _NO_VERSION) in (version, _NO_VERSION):
                return answer
            answer["Body"].close()
        try:
            return self._client.get_object(Bucket=bucket, Key=key, VersionId=version)
        except botocore.exceptions.ClientError as error:
            if code_of(error) in _NO_SUCH_VERSION:
                raise JobRejected(
                    f"There is no version {version[:80]} of {key[:300]!r} in {bucket}."
                ) from error
            if lacks_right(error):
                what = f"version {version[:80]} of {bucket}/{key[:200]} is not the newest"
                raise Forbidden("audio", f"{what}: reading it takes s3:GetObjectVersion") from error
            raise

    def _raise_if_role_denied(self, bucket: str) -> None:
        """Raise Misconfigured if the error shows that more than this key is denied."""
        with contextlib.suppress(Forbidden):
            self.prove(bucket, "audio")

    def _write(self, body: Any, to: Path, size_bytes: int, doing: str) -> None:
        with spool_errors(to):
            target = open(to, "xb")  # noqa: SIM115  # closed below; only its own errors are the spool's
        with target, translated("audio", doing):
            written = copy_bytes(body, _SpoolFile(target, to), size_bytes)
        if written != size_bytes:
            raise TryLater("audio", f"{doing}: ended after {written} of {size_bytes} bytes")


def _facts(answer: Any) -> ObjectFacts:
    etag = str(answer.get("ETag", "")).strip('"')
    return ObjectFacts(int(answer["ContentLength"]), etag, answer.get("VersionId") or "")


def _missing_permission(error: botocore.exceptions.ClientError) -> str:
    """Return the permission that the error names, if every recording needs it.

    Source: S3 User Guide, "Troubleshoot access denied (403 Forbidden) errors": "User: ... is not authorized
    to perform: s3:GetObject on resource: ...". S3 tells that only to callers of the bucket's own
    organization.
    """
    found = re.search(r"not authorized to perform: (s3:GetObject|kms:\w+)\b", describe(error))
    return found.group(1) if found and lacks_right(error) else ""


class _SpoolFile:
    """A file whose write errors are reported as the spool's, not the network's."""

    def __init__(self, file: Any, path: Path) -> None:
        self._file = file
        self._path = path

    def write(self, data: bytes) -> int:
        with spool_errors(self._path):
            return int(self._file.write(data))
