"""JobQueue on SQS. The one file that knows its calls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import botocore.exceptions

from supervisor.broker.aws import code_of, lacks_right, translated
from supervisor.broker.errors import Forbidden, TryLater
from supervisor.broker.ports import Counts, Message

_LONGEST_HIDE_S = 43_200  # SQS's cap, from the moment of receipt
_MAX_DELIVERIES = 10_000
# What SQS says of a handle that is no longer good, in its two protocols.
_GONE = ("ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight", "InvalidReceiptHandle")
_NO_SUCH_HANDLE = "not-a-receipt-handle"


@dataclass(frozen=True)
class DeadLetters:
    """Whether SQS itself buries failed messages, and where, if we may do it for it."""

    exist: bool
    url: str = ""


class SqsQueue:
    """One SQS queue through one boto3 client."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url
        self._dead: Optional[DeadLetters] = None  # unknown until the first failure

    def can_hold(self) -> bool:
        """Ask with a handle that can't be good: refused for the handle, or for the right?"""
        with translated("queue", "probe ChangeMessageVisibility"):
            try:
                self._client.change_message_visibility(
                    QueueUrl=self._url, ReceiptHandle=_NO_SUCH_HANDLE, VisibilityTimeout=0
                )
            except botocore.exceptions.ClientError as error:
                if not _is_gone(code_of(error)):
                    if lacks_right(error):
                        return False
                    raise
        return True

    def receive(self, max_count: int, visibility_s: float, wait_s: float) -> list[Message]:
        with translated("queue", "receive"):
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=max_count,
                VisibilityTimeout=int(visibility_s),
                WaitTimeSeconds=int(wait_s),
                # Both names of one thing: older services and imitations know only the first.
                AttributeNames=["ApproximateReceiveCount"],
            )
            return [_message(found) for found in answer.get("Messages", [])]

    def extend(self, handles: Sequence[str], by_s: float) -> Mapping[str, str]:
        entries = [
            {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": min(int(by_s), _LONGEST_HIDE_S)}
            for n, handle in enumerate(handles)
        ]
        with translated("queue", "extend"):
            answer = self._client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
        refused = {}
        for entry in answer.get("Failed", []):
            if not _is_gone(entry.get("Code", "")) and not entry.get("SenderFault", False):
                raise TryLater("queue", f"extend: {entry.get('Code', 'failed')}")
            refused[handles[int(entry["Id"])]] = str(entry.get("Code", "refused"))
        return refused

    def release(self, handle: str, after_s: float) -> None:
        self._by_handle(
            "release",
            lambda: self._client.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=handle, VisibilityTimeout=min(int(after_s), _LONGEST_HIDE_S)
            ),
        )

    def delete(self, handle: str) -> None:
        self._by_handle(
            "delete", lambda: self._client.delete_message(QueueUrl=self._url, ReceiptHandle=handle)
        )

    def bury(self, message: Message, reason: str) -> bool:
        """Copy it to the dead-letter queue, then delete it.

        Where the copy is not permitted SQS's redrive moves it by and by. A queue without
        redrive would bring it for ever: there it is deleted, its reason being in the record.
        """
        if self._dead is None:
            self._dead = self._find_dead_letters()
        if self._dead.exist and not self._copied(message, reason, self._dead.url):
            return False
        self.delete(message.handle)
        return True

    def counts(self) -> Counts:
        found = self._attributes("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        waiting = found.get("ApproximateNumberOfMessages")
        in_flight = found.get("ApproximateNumberOfMessagesNotVisible")
        return Counts(
            None if waiting is None else int(waiting), None if in_flight is None else int(in_flight)
        )

    def send(self, body: str, attributes: Mapping[str, str]) -> str:
        named = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        with translated("queue", "send"):
            answer = self._client.send_message(QueueUrl=self._url, MessageBody=body, MessageAttributes=named)
        return str(answer["MessageId"])

    def max_receive_count(self) -> Optional[int]:
        """Give the redrive policy's maxReceiveCount; None where the queue has no such policy."""
        policy = self._attributes("RedrivePolicy").get("RedrivePolicy")
        try:
            return int(json.loads(policy)["maxReceiveCount"]) if policy else None
        except (KeyError, TypeError, ValueError):
            return None

    def _find_dead_letters(self) -> DeadLetters:
        try:
            policy = self._attributes("RedrivePolicy").get("RedrivePolicy")
            if not policy:
                return DeadLetters(False)
            name = str(json.loads(policy)["deadLetterTargetArn"]).rsplit(":", 1)[-1]
            with translated("queue", "find the dead-letter queue"):
                return DeadLetters(True, self._client.get_queue_url(QueueName=name)["QueueUrl"])
        except (Forbidden, KeyError, TypeError, ValueError):
            return DeadLetters(True)  # as far as we may know: never delete unseen

    def _copied(self, message: Message, reason: str, url: str) -> bool:
        if not url:
            return False
        why = {"remReason": {"DataType": "String", "StringValue": reason or "failed"}}
        try:
            with translated("queue", "copy to the dead-letter queue"):
                self._client.send_message(QueueUrl=url, MessageBody=message.body, MessageAttributes=why)
        except Forbidden:
            self._dead = DeadLetters(True)  # asked once is enough
            return False
        return True

    def _attributes(self, *names: str) -> dict[str, str]:
        with translated("queue", "read attributes"):
            answer = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=list(names))
        found: dict[str, str] = answer.get("Attributes", {})
        return found

    def _by_handle(self, doing: str, call: Any) -> None:
        """Call with a handle; one that is no longer good means that there is nothing to do."""
        with translated("queue", doing):
            try:
                call()
            except botocore.exceptions.ClientError as error:
                if not _is_gone(code_of(error)):
                    raise


def _is_gone(code: str) -> bool:
    return any(code.endswith(name) for name in _GONE)


def _message(found: Any) -> Message:
    count = int(found.get("Attributes", {}).get("ApproximateReceiveCount", 1))
    return Message(
        found["MessageId"], found["ReceiptHandle"], found.get("Body", ""), min(count, _MAX_DELIVERIES)
    )
