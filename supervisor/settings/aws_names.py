"""Validates queue URL, bucket, table and region names at start. PURE.

The rules are no stricter than AWS's own clients: old buckets with capitals, ARNs of tables and access points,
and addresses of emulators pass. Sources: botocore's VALID_BUCKET; DynamoDB, "Naming rules"; SQS, "Queue and
message identifiers"; botocore's rule for regions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from supervisor.settings.rules import Problem
from supervisor.settings.schema import Settings

_REGION = re.compile(r"(?![0-9]+\Z)(?!-)[a-zA-Z0-9-]{1,63}(?<!-)")
_BUCKET = re.compile(r"[a-zA-Z0-9._-]{1,255}|arn:[a-zA-Z0-9-]+:s3[a-z0-9-]*:[a-zA-Z0-9:/._-]+")
_TABLE = re.compile(r"[a-zA-Z0-9._-]{1,255}|arn:[a-zA-Z0-9-]+:dynamodb:[a-zA-Z0-9:/._-]+")
_QUEUE_URL = re.compile(
    r"https?://(\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]+)(:(?P<port>[0-9]{1,5}))?/[a-zA-Z0-9./_%~-]+"
)
_HIGHEST_PORT = 65_535


def check_aws(settings: Settings) -> Iterator[Problem]:
    """Give each invalid name; a missing one is reported by `rules.py`."""
    aws = settings.aws
    if settings.backend.kind == "local" or (settings.backend.kind == "auto" and not aws.queue_url):
        return
    url = _QUEUE_URL.fullmatch(aws.queue_url)
    named = [
        ("aws.region", aws.region, bool(_REGION.fullmatch(aws.region)), "a region such as eu-central-1"),
        (
            "aws.queue_url",
            aws.queue_url,
            url is not None and int(url["port"] or 1) <= _HIGHEST_PORT,
            "the queue's full URL, such as https://sqs.eu-central-1.amazonaws.com/123456789012/my-queue",
        ),
        ("aws.table", aws.table, bool(_TABLE.fullmatch(aws.table)), "the table's name or its ARN"),
    ]
    buckets = [("aws.raw_bucket", aws.raw_bucket), ("aws.transcripts_bucket", aws.transcripts_bucket)]
    buckets += [("aws.allowed_buckets", name) for name in aws.allowed_buckets]
    named += [
        (key, name, bool(_BUCKET.fullmatch(name)), "only the bucket's name, without s3:// or a path")
        for key, name in buckets
    ]
    for key, name, fits, write in named:
        if name and not fits:
            yield key, f"{name[:200]!r} is not valid{_odd_sign(name)}", f"Write {write}"


def _odd_sign(name: str) -> str:
    """Name characters that are often there by accident."""
    if any(sign in "\"'`" for sign in name):
        return ": it contains quotes, which docker's --env-file keeps"
    if any(sign.isspace() for sign in name):
        return ": it contains a space"
    return ""
