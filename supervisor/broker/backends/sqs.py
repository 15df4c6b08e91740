"""JobQueue on SQS; the only file that calls the SQS API."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Optional, Union

import botocore.exceptions

from supervisor.broker.backends.aws_errors import code_of, is_about_the_input, lacks_right, translated
from supervisor.broker.ports.errors import Forbidden, Misconfigured, necessary
from supervisor.broker.ports.ports import NO_FACTS, NOT_NOW, REMOVED, Counts, Message

log = logging.getLogger(__name__)
_LONGEST_HIDE_S = 43_200  # SQS's limit, from the receipt
_MAX_DELIVERIES = 10_000
# SQS's codes for an expired handle, in its two protocols.
_NOT_IN_FLIGHT = "MessageNotInflight"
_GONE = ("ReceiptHandleIsInvalid", "InvalidParameterValue", _NOT_IN_FLIGHT, "InvalidReceiptHandle")
_NO_SUCH_HANDLE = "not-a-receipt-handle"
_LONGEST_DELAY_S = 900  # SQS's limit on DelaySeconds
_MAX_ATTRIBUTES = 10  # SQS's limit for one message
_MAX_ATTRIBUTE_CHARS = 1_000
_NO_GROUP = "rem"
_RECEIVES = "remReceives"  # a copy's earlier receives
# Always rejected: the character is invalid in XML, the delay too long.
_UNSENDABLE = {"MessageBody": "\ufffe", "DelaySeconds": _LONGEST_DELAY_S + 1}


@dataclass(frozen=True)
class DeadLetters:
    """Whether SQS dead-letters failed messages; `url` if we may send there ourselves."""

    exist: bool
    url: str = ""


class SqsQueue:
    """One SQS queue, through one boto3 client."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url
        self._dead: Optional[DeadLetters] = None  # unknown until the first failure

    def can_hold(self) -> bool:
        """Call with an invalid handle: is the handle rejected, or the permission missing?"""
        with self._asking("probe ChangeMessageVisibility"):
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
        with necessary("sqs:ReceiveMessage", "receive"), self._asking("receive"):
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=max_count,
                VisibilityTimeout=int(visibility_s),
                WaitTimeSeconds=int(wait_s),
                # The newer name is MessageSystemAttributeNames; emulators know only this one.
                AttributeNames=["ApproximateReceiveCount", "MessageGroupId"],
                MessageAttributeNames=["All"],
            )
            return [_message(found) for found in answer.get("Messages", [])]

    def extend(self, handles: Sequence[str], by_s: float) -> Mapping[str, str]:
        entries = [
            {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": min(int(by_s), _LONGEST_HIDE_S)}
            for n, handle in enumerate(handles)
        ]
        with self._asking("extend"):
            answer = self._client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
        return {
            handles[int(entry["Id"])]: _refusal_reason(str(entry.get("Code", "")))
            for entry in answer.get("Failed", [])
        }

    def release(self, handle: str, after_s: float) -> None:
        self._call_with_handle(
            "release",
            lambda: self._client.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=handle, VisibilityTimeout=min(int(after_s), _LONGEST_HIDE_S)
            ),
        )

    def delete(self, handle: str) -> None:
        with necessary("sqs:DeleteMessage"):
            self._call_with_handle(
                "delete", lambda: self._client.delete_message(QueueUrl=self._url, ReceiptHandle=handle)
            )

    def bury(self, message: Message, reason: str, facts: Mapping[str, str] = NO_FACTS) -> bool:
        """Copy the message to the dead-letter queue, then delete it.

        If copying is not permitted, SQS's redrive policy moves the message later. A queue without a redrive
        policy would redeliver it for ever: there it is deleted, and the reason is in its record.
        """
        if self._dead is None:
            self._dead = self.find_dead_letters()
        said = {"remReason": reason or "failed", **facts}
        if self._dead.exist and not self._copied(message, said, self._dead.url):
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
        order = _fifo_parameters(self._url, attributes.get("deviceId", ""), uuid.uuid4().hex)
        return self._send(self._url, "send", body, attributes, **order)

    def can_send(self) -> bool:
        """Return whether we may send messages to this queue."""
        return self._may_send_to(self._url)

    def find_dead_letters(self) -> DeadLetters:
        """Return whether the queue has a dead-letter queue, and its `url` if known."""
        try:
            policy = self._attributes("RedrivePolicy").get("RedrivePolicy")
            if not policy:
                return DeadLetters(False)
            # It is in the same account and region, so only the name in the URL differs.
            name = str(json.loads(policy)["deadLetterTargetArn"]).rsplit(":", 1)[-1]
            return DeadLetters(True, f"{self._url.rsplit('/', 1)[0]}/{name}")
        except (Forbidden, KeyError, TypeError, ValueError):
            return DeadLetters(True)  # assume that there is one: never delete a message on a guess

    def can_bury(self, url: str) -> bool:
        """Return whether we may send to this dead-letter queue. Raises Misconfigured if it does not exist.

        SQS may reject an invalid message before it looks for the queue, so the queue's existence is checked
        first, if the role may do that.
        """
        with contextlib.suppress(Forbidden), translated("queue", "read attributes", url):
            self._client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return self._may_send_to(url)

    def send_copy(self, message: Message, after_s: float) -> bool:
        # Sending the same copy twice gives one message, where the queue deduplicates.
        order = _fifo_parameters(self._url, message.group, f"{message.id}-{message.receive_count}")
        # A FIFO queue accepts no delay for a single message.
        delay = {} if order else {"DelaySeconds": min(int(after_s), _LONGEST_DELAY_S)}
        try:
            # First, because SQS accepts only ten attributes.
            named = {_RECEIVES: str(message.receives), **message.attributes}
            self._send(self._url, "send a copy", message.body, named, **order, **delay)
        except Forbidden:
            return False
        return True

    def receives_most(self) -> Optional[int]:
        """Return the redrive policy's maxReceiveCount; None if there is no policy."""
        policy = self._attributes("RedrivePolicy").get("RedrivePolicy")
        try:
            return int(json.loads(policy)["maxReceiveCount"]) if policy else None
        except (KeyError, TypeError, ValueError):
            return None

    def prove(self) -> None:
        """Check that the queue exists, as far as the role may. Raises Misconfigured."""
        with contextlib.suppress(Forbidden):
            self._attributes("QueueArn")

    def _asking(self, doing: str) -> AbstractContextManager[None]:
        return translated("queue", doing, self._url)

    def _send(
        self, url: str, doing: str, body: str, attributes: Mapping[str, str], **more: Union[str, int]
    ) -> str:
        filled = [(name, value[:_MAX_ATTRIBUTE_CHARS]) for name, value in attributes.items() if value]
        named = {
            name: {"DataType": "String", "StringValue": value} for name, value in filled[:_MAX_ATTRIBUTES]
        }
        with translated("queue", doing, url):
            answer = self._client.send_message(
                QueueUrl=url, MessageBody=body, MessageAttributes=named, **more
            )
        return str(answer["MessageId"])

    def _may_send_to(self, url: str) -> bool:
        """Send an invalid message: is its form rejected, or the permission missing?"""
        with translated("queue", "probe SendMessage", url):
            try:
                self._client.send_message(QueueUrl=url, **_UNSENDABLE, **_fifo_parameters(url, "", "probe"))
            except botocore.exceptions.ClientError as error:
                if lacks_right(error):
                    return False
                if not is_about_the_input(error):
                    raise  # no queue, no credentials, no answer: says nothing about the permission
        return True

    def _copied(self, message: Message, said: Mapping[str, str], url: str) -> bool:
        if not url:
            return False
        order = _fifo_parameters(url, message.group, f"{message.id}-dead")
        try:
            self._send(
                url, "copy to the dead-letter queue", message.body, {**said, **message.attributes}, **order
            )
        except (Forbidden, Misconfigured) as error:
            if error.where != "queue":
                raise  # wrong credentials affect every job
            # No job needs the dead-letter queue; checked only once.
            self._dead = DeadLetters(True)
            why = str(error.__cause__)[:300]
            log.warning(
                "dead-letter queue can't be used",
                extra={"event": "dead-letter-queue-unusable", "queue": url, "reason": why},
            )
            return False
        return True

    def _attributes(self, *names: str) -> dict[str, str]:
        with self._asking("read attributes"):
            answer = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=list(names))
        found: dict[str, str] = answer.get("Attributes", {})
        return found

    def _call_with_handle(self, doing: str, call: Any) -> None:
        """Call with a handle; an expired one means that there is nothing to do."""
        with self._asking(doing):
            try:
                call()
            except botocore.exceptions.ClientError as error:
                if not _is_gone(code_of(error)):
                    raise


def _is_gone(code: str) -> bool:
    return any(code.endswith(name) for name in _GONE)


def _refusal_reason(code: str) -> str:
    """Return why one extension was refused: is the message gone, or may another receiver have it?"""
    if code.endswith(_NOT_IN_FLIGHT):
        return code  # another receiver may have it; the other codes mean that the message is gone
    return REMOVED if _is_gone(code) else NOT_NOW


def _fifo_parameters(url: str, group: str, copy_of: str) -> dict[str, str]:
    """Return a FIFO queue's parameters for a message; empty for other queues."""
    if not url.endswith(".fifo"):
        return {}
    return {"MessageGroupId": group or _NO_GROUP, "MessageDeduplicationId": copy_of}


def _message(found: Any) -> Message:
    system = found.get("Attributes", {})
    named = found.get("MessageAttributes", {})
    texts = {name: value["StringValue"] for name, value in named.items() if value.get("StringValue")}
    earlier = texts.pop(_RECEIVES, "")
    return Message(
        found["MessageId"],
        found["ReceiptHandle"],
        found.get("Body", ""),
        min(int(system.get("ApproximateReceiveCount", 1)), _MAX_DELIVERIES),
        texts,
        system.get("MessageGroupId", ""),
        min(int(earlier), _MAX_DELIVERIES) if re.fullmatch(r"[0-9]{1,9}", earlier) else 0,
    )
