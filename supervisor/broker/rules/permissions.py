"""Permissions that REM's role lacks, and what each missing one costs. PURE.

The service logs it once when a call is denied; `doctor` reports it in advance. Each entry is the permission's
name and the consequence if it is missing.
"""

from __future__ import annotations

HOLD = (
    "sqs:ChangeMessageVisibility",
    "a dead host's jobs come back only after the whole visibility timeout, and nothing is given back early",
)
COUNT = (
    "sqs:GetQueueAttributes",
    "the queue's length is unknown, its dead-letter queue as well: failed messages are left to its redrive",
)
SEND = (
    "sqs:SendMessage",
    "a message given back often can't be replaced by a copy: it may be buried without having failed",
)
CHECKPOINTS = (
    "s3:GetObject, s3:DeleteObject or s3:ListBucket under checkpoints/",
    "what one machine gives back in mid-recording begins anew on the next",
)
BURY = (
    "sqs:SendMessage on the dead-letter queue",
    "failed messages come again until the queue's own redrive moves them, without a reason beside them",
)
