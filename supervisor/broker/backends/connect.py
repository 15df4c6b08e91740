"""Creates the backend that the settings ask for: embedded, or AWS."""

from __future__ import annotations

from pathlib import Path

from supervisor.broker.backends.local_objects import LocalObjects
from supervisor.broker.backends.local_queue import (
    RAW_BUCKET,
    TRANSCRIPTS_BUCKET,
    LocalQueue,
    LocalRecords,
    open_database,
)
from supervisor.broker.backends.proof import prove
from supervisor.broker.ports.backend import Backend
from supervisor.broker.rules.envelope import EnvelopePolicy
from supervisor.settings.schema import Settings

_BATCH_MOST = 10  # messages in one receive: SQS's limit


def connect(settings: Settings) -> Backend:
    """Create the ports; makes no call yet."""
    return _connect_aws(settings) if settings.backend.kind == "aws" else _connect_local(settings)


def envelope_policy(settings: Settings, backend: Backend) -> EnvelopePolicy:
    """Return which buckets messages may name."""
    aws = settings.aws
    return EnvelopePolicy(backend.raw_bucket, aws.default_user_id, aws.allowed_buckets)


def _connect_local(settings: Settings) -> Backend:
    folder = Path(settings.local.folder)
    database = open_database(folder)
    queue, records = LocalQueue(database), LocalRecords(database)
    objects = LocalObjects(folder / "objects", Path(settings.state_dir) / "spool")
    return Backend(
        "local",
        f"embedded queue in {folder}",
        queue,
        records,
        objects,
        queue,
        records,
        RAW_BUCKET,
        TRANSCRIPTS_BUCKET,
        batch_count=_BATCH_MOST,
        long_visibility_s=float(settings.queue.lease_s),
        # Poll, then rest, 20 times a second (0.1 % of a core): no long poll is open when the broker leaves.
        rest_s=0.05,
        poll_s=0.0,
    )


def _connect_aws(settings: Settings) -> Backend:
    # boto3 takes a third of a second to import: only where it is used.
    from supervisor.broker.backends.aws import Clients
    from supervisor.broker.backends.dynamodb import DynamoRecords
    from supervisor.broker.backends.s3 import S3Objects
    from supervisor.broker.backends.service_clock import ServiceClock
    from supervisor.broker.backends.sqs import SqsQueue

    aws, table_clock = settings.aws, ServiceClock()
    clients = Clients(aws.region)
    beat_queue = SqsQueue(clients.quick("sqs"), aws.queue_url)
    beat_records = DynamoRecords(clients.quick("dynamodb"), aws.table, table_clock)
    quick_objects = S3Objects(clients.quick("s3"))
    checks = (
        beat_queue.prove,
        beat_records.prove,
        lambda: quick_objects.prove(aws.raw_bucket, "audio"),
        lambda: quick_objects.prove(aws.transcripts_bucket, "transcripts"),
    )
    return Backend(
        "aws",
        f"SQS {aws.queue_url}",
        SqsQueue(clients.receiving("sqs"), aws.queue_url),
        DynamoRecords(clients.patient("dynamodb"), aws.table, table_clock),
        S3Objects(clients.patient("s3"), aws.raw_bucket if aws.raw_bucket != aws.transcripts_bucket else ""),
        beat_queue,
        beat_records,
        aws.raw_bucket,
        aws.transcripts_bucket,
        batch_count=aws.max_messages or _BATCH_MOST,
        long_visibility_s=float(aws.visibility_s),
        rest_s=aws.poll_s,
        immutable_keys=aws.immutable_keys,
        credentials_from=clients.credentials_from,
        prove=lambda: prove(clients.renew, checks),
    )
