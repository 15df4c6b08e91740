"""What the broker adds to the AWS calls that a job needs.

    python bench/broker_overhead.py [jobs] [--write]

On ministack, a real broker process with this program in the supervisor's and the worker's place: the
same calls in the same order, straight through boto3 and by the broker. One job each in turn, so that
both meet the same machine; the median of the pairs' ratios counts (target: at most 1.15 times). What
a process pays once (connections, the broker's look at the queue) is paid before the first pair.
Then rounds of the same number of jobs, four at once, beside the same number of direct ones.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

from bench import report  # noqa: E402
from supervisor.broker.backends.dynamodb import Expression  # noqa: E402
from supervisor.broker.ports.job_request import JobRequest, Source  # noqa: E402
from supervisor.broker.ports.ports import Change  # noqa: E402
from supervisor.broker.rules import record_rules  # noqa: E402
from supervisor.broker.rules.record_rules import RecordHold, Result, Term  # noqa: E402
from supervisor.broker.work.commit import CONTENT_TYPES  # noqa: E402
from supervisor.contract.wire.messages import (  # noqa: E402
    Adopted,
    Commit,
    Done,
    JobCard,
    Ready,
    Wanted,
)
from tests.broker.aws_servers import AwsServer, Deployment, deploy, record_key, run_server  # noqa: E402
from tests.broker.harness import BrokerProcess, rem_message, stage  # noqa: E402

AUDIO_BYTES = 1_000_000
LEASE_S = 60
AT_ONCE = 4
TARGET = 1.15


def direct_job(made: Deployment, clients: dict[str, Any], folder: Path) -> None:
    """Make a job's calls, with the broker's own arguments and nothing around them."""
    sqs, table, s3 = clients["sqs"], clients["dynamodb"], clients["s3"]
    (message,) = sqs.receive_message(
        QueueUrl=made.queue_url, MaxNumberOfMessages=1, VisibilityTimeout=LEASE_S, WaitTimeSeconds=5,
        AttributeNames=["ApproximateReceiveCount"],
    )["Messages"]  # fmt: skip
    body = json.loads(message["Body"])
    source = Source(body["bucket"], body["key"])
    request = JobRequest(body["recordingId"], body["userId"], body["deviceId"], source)
    hold, term = RecordHold("token", "owner"), Term(time.time(), time.time() + 58, 60)

    def update(change: Change) -> None:
        table.update_item(
            TableName=made.table,
            Key=record_key(request.user_id, request.recording_id),
            **Expression(change).arguments(),
            ReturnValues="ALL_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )  # fmt: skip

    update(record_rules.claim(request, hold, term))
    with open(folder / "audio", "wb") as file:
        for chunk in s3.get_object(Bucket=source.bucket, Key=source.key)["Body"].iter_chunks(1 << 20):
            file.write(chunk)
    names = (request.recording_id, request.user_id, request.device_id)
    stage(JobCard(names[0], 1, str(folder), AUDIO_BYTES, *names))
    update(record_rules.fence(hold, term))
    for suffix, content_type in CONTENT_TYPES.items():
        text = (folder / f"transcript.{suffix}").read_bytes()
        s3.put_object(
            Bucket=made.transcripts_bucket, Key=request.transcript_key(suffix), Body=text,
            ContentType=content_type,
        )  # fmt: skip
    result = Result("en", 1.0, "0" * 64)
    update(record_rules.complete(request.transcript_key("json"), hold, result, source, time.time()))
    sqs.delete_message(QueueUrl=made.queue_url, ReceiptHandle=message["ReceiptHandle"])


def filled(server: AwsServer, jobs: int) -> Deployment:
    """A queue of its own for each round: a poll that ended with its broker takes nothing from the next."""
    made = deploy(server)
    server.client("s3").put_object(Bucket=made.raw_bucket, Key="one.wav", Body=bytes(AUDIO_BYTES))
    for number in range(jobs):
        made.send(rem_message(f"rec-{number}", bucket=made.raw_bucket, key="one.wav"))
    return made


def timed(job: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    job()
    return time.perf_counter() - began_s


def one_job(broker: BrokerProcess) -> None:
    """Have the broker do one job, from wanting it to its end."""
    broker.say(Wanted(1))
    card = broker.hear(Ready).card
    broker.say(Wanted(0))
    stage(card)
    broker.say(Commit(card.job_id))
    broker.hear(Done)


def many_jobs(broker: BrokerProcess, jobs: int) -> None:
    """Have the broker do so many jobs, a few at a time."""
    broker.say(Wanted(AT_ONCE))
    done = 0
    while done < jobs:
        for message in broker.gather(10.0):
            if isinstance(message, Ready):
                stage(message.card)
                broker.say(Commit(message.card.job_id))
            elif isinstance(message, Done):
                done += 1
                broker.say(Wanted(min(AT_ONCE, jobs - done)))


def measure(server: AwsServer, jobs: int, folder: Path) -> dict[str, list[float]]:
    """Give seconds a job: `direct` and `broker` pair by pair, and `at once` beside `in a row`."""
    took: dict[str, list[float]] = {"direct": [], "broker": []}
    ours, theirs = filled(server, 2 * jobs + 1), filled(server, 2 * jobs + 1)
    clients = {name: server.client(name) for name in ("sqs", "dynamodb", "s3")}
    (folder / "direct").mkdir()

    def direct() -> None:
        direct_job(theirs, clients, folder / "direct")

    with BrokerProcess(ours.settings(folder / "broker", LEASE_S), dict(server.environ)) as broker:
        broker.hear(Adopted)
        direct()
        one_job(broker)
        for _ in range(jobs):
            took["direct"].append(timed(direct))
            took["broker"].append(timed(lambda: one_job(broker)))
        took["in a row"] = [timed(lambda: [direct() for _ in range(jobs)]) / jobs]
        took["at once"] = [timed(lambda: many_jobs(broker, jobs)) / jobs]
    return took


def rows(took: dict[str, list[float]]) -> list[list[str]]:
    """Put the figures together as a table."""
    times = statistics.median(ours / direct for ours, direct in zip(took["broker"], took["direct"]))
    ms = {name: statistics.median(values) * 1e3 for name, values in took.items()}
    at_once = ms["at once"] / ms["in a row"]
    return [
        ["measure", "broker, ms a job", "direct, ms a job", "times", "target", "met"],
        ["one job at a time, in turn with direct ones", f"{ms['broker']:.1f}", f"{ms['direct']:.1f}",
         f"{times:.2f}", f"{TARGET}", "yes" if times <= TARGET else "no"],
        [f"{AT_ONCE} at once, against direct ones in a row", f"{ms['at once']:.1f}", f"{ms['in a row']:.1f}",
         f"{at_once:.2f}", "", ""],
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="the broker against direct boto3 calls")
    parser.add_argument("jobs", nargs="?", type=int, default=100)
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    serving = run_server("ministack")
    try:
        with tempfile.TemporaryDirectory(prefix="rem-bench-") as name:
            took = measure(next(serving), arguments.jobs, Path(name))
    finally:
        serving.close()
    text = report.heading(load) + "\n" + report.table(rows(took))
    print(text)
    if arguments.write:
        report.write("broker overhead", text)


if __name__ == "__main__":
    main()
