"""Names in REM's DynamoDB table: the record's keys, the index's keys, dispatcher attributes. PURE.

The only file with these names. Source: REM's infrastructure code and its dispatcher.
"""

from __future__ import annotations

from supervisor.broker.ports.job_request import UNKNOWN_DEVICE, JobRequest
from supervisor.broker.ports.ports import RecordKey
from supervisor.contract import timestamps

PARTITION_KEY, SORT_KEY = "PK", "SK"
INDEX_PARTITION_KEY, INDEX_SORT_KEY = "GSI1PK", "GSI1SK"


def key_attributes(key: RecordKey) -> dict[str, str]:
    """Return the attributes that identify a record."""
    return {PARTITION_KEY: key.user_id, SORT_KEY: key.recording_id}


def dispatched(request: JobRequest, now_unix_s: float) -> dict[str, str]:
    """Return the attributes that REM's dispatcher would have written for this recording, where known.

    Empty texts are left out: DynamoDB rejects an update that has one as an index key.
    """
    known = {
        "recordingId": request.recording_id,
        "deviceId": request.device_id,
        "startedAt": request.started_at,
        "endedAt": request.ended_at,
        "s3KeyRaw": request.source.key,
        "createdAt": timestamps.iso_utc(now_unix_s),
    }
    if request.device_id != UNKNOWN_DEVICE and request.started_at:
        known.update({INDEX_PARTITION_KEY: request.device_id, INDEX_SORT_KEY: request.started_at})
    return {name: value for name, value in known.items() if value}
