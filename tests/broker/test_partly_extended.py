"""One call extends the visibility timeouts of many messages, and each has an answer of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from supervisor.broker.backends.sqs import SqsQueue
from supervisor.broker.ports.ports import NOT_NOW, REMOVED
from tests.broker.model import assert_once, new_world
from tests.broker.model_supervisor import Plan
from tests.support.memory_backend import QueueRules


class OneRefused:
    """SQS, which refuses the second of each batch."""

    def __init__(self, code: str, is_senders_fault: bool) -> None:
        self._failed = {"Id": "1", "Code": code, "SenderFault": is_senders_fault}

    def change_message_visibility_batch(self, **asked: Any) -> Mapping[str, Any]:
        return {"Successful": [{"Id": "0"}], "Failed": [self._failed]}


@pytest.mark.parametrize(
    ("code", "is_senders_fault", "reason"),
    [
        ("ReceiptHandleIsInvalid", True, REMOVED),
        ("InvalidParameterValue", True, REMOVED),
        ("MessageNotInflight", True, "MessageNotInflight"),
        ("InternalError", False, NOT_NOW),
        ("RequestThrottled", True, NOT_NOW),
        ("KmsThrottled", True, NOT_NOW),
        ("BrandNewError", True, NOT_NOW),
    ],
)
def test_refused_message_of_a_batch_is_removed_only_where_sqs_says_so(
    code: str, is_senders_fault: bool, reason: str
) -> None:
    """Whatever SQS called the sender's fault, throttling too, was taken for a removed message."""
    queue = SqsQueue(OneRefused(code, is_senders_fault), "https://sqs.us-east-1.amazonaws.com/1/jobs")

    assert queue.extend(["first", "second"], 60.0) == {"second": reason}


def test_message_that_can_not_be_extended_now_costs_the_others_nothing(tmp_path: Path) -> None:
    """The one error stood for the whole call: what SQS had granted to nine others was not believed, and all
    ten ran out."""
    names = [f"rec-{number}" for number in range(4)]
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        ids = {world.send(name): name for name in names}
        extend = world.queue.extend
        refused = [True]

        def extended(handles: Sequence[str], by_s: float) -> Mapping[str, str]:
            first = next(iter(ids))
            ours = [handle for handle in handles if world.queue._given.get(handle) == first]
            others = [handle for handle in handles if handle not in ours]
            if not refused:
                return extend(handles, by_s)
            return {**extend(others, by_s), **dict.fromkeys(ours, NOT_NOW)}

        world.queue.extend = extended  # type: ignore[method-assign]
        host = world.host(Plan(work_s=300.0, wanted=len(names)))

        world.run(lambda: bool(host.supervisor.lost))
        lost = list(host.supervisor.lost)
        refused.clear()
        world.run_for(200.0)

        assert lost == host.supervisor.lost == ["rec-0"]
        assert ("queue", NOT_NOW) in host.supervisor.outages
        world.run(world.is_quiet)
        assert_once(world, *names)
