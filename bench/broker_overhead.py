"""What the broker adds to the AWS calls that a job needs, and how fast a released job changes hosts.

    python bench/broker_overhead.py [jobs] [rounds]

On ministack, a real broker process with this program in the supervisor's and the worker's place.
Overhead: the same calls in the same order straight through boto3, against the broker, one job at a
time; rounds alternate, medians count. Target: at most 1.15 times. Handover: from the word Release
(a drain, or no slot left) to another host's broker having the audio. Target: under 0.5 s.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

from supervisor.contract.messages import Adopted, Commit, Done, JobCard, Keep, Ready, Release, Wanted  # noqa: E402
from supervisor.contract.settings import Settings  # noqa: E402
from tests.broker.aws_servers import AwsServer, Deployment, deploy, run_server  # noqa: E402
from tests.broker.harness import BrokerProcess, rem_message, stage  # noqa: E402
from tests.broker.worlds import World, aws_world, local_world  # noqa: E402

AUDIO_BYTES = 1_000_000
LEASE_S = 60


def direct_job(made: Deployment, clients: dict[str, Any], folder: Path) -> None:
    """Make a job's calls with nothing around them."""
    sqs, table, s3 = clients["sqs"], clients["dynamodb"], clients["s3"]
    (message,) = sqs.receive_message(
        QueueUrl=made.queue_url, MaxNumberOfMessages=1, VisibilityTimeout=LEASE_S, WaitTimeSeconds=5,
        AttributeNames=["ApproximateReceiveCount"],
    )["Messages"]  # fmt: skip
    body = json.loads(message["Body"])
    key = {"userId": {"S": body["userId"]}, "recordingId": {"S": body["recordingId"]}}

    def update(state: str) -> None:
        table.update_item(
            TableName=made.table, Key=key, UpdateExpression="SET #a = :a, #b = :b",
            ExpressionAttributeNames={"#a": "remState", "#b": "remToken"},
            ExpressionAttributeValues={":a": {"S": state}, ":b": {"S": "token"}}, ReturnValues="ALL_NEW",
        )  # fmt: skip

    update("CLAIMED")
    with open(folder / "audio", "wb") as file:
        for chunk in s3.get_object(Bucket=body["bucket"], Key=body["key"])["Body"].iter_chunks(1 << 20):
            file.write(chunk)
    names = (body["recordingId"], body["userId"], body["deviceId"])
    stage(JobCard(names[0], 1, str(folder), AUDIO_BYTES, *names))
    update("PUBLISHING")
    for suffix in ("txt", "json"):
        with open(folder / f"transcript.{suffix}", "rb") as file:
            s3.put_object(Bucket=made.transcripts_bucket, Key=f"transcripts/{names[0]}.{suffix}", Body=file)
    update("DONE")
    sqs.delete_message(QueueUrl=made.queue_url, ReceiptHandle=message["ReceiptHandle"])


def direct_round(made: Deployment, jobs: int, folder: Path) -> float:
    clients = {name: made.server.client(name) for name in ("sqs", "dynamodb", "s3")}
    began_s = time.perf_counter()
    for _ in range(jobs):
        direct_job(made, clients, folder)
    return (time.perf_counter() - began_s) / jobs


def broker_round(settings: Settings, environ: dict[str, str], jobs: int, at_once: int) -> float:
    with BrokerProcess(settings, environ) as broker:
        broker.hear(Adopted)
        broker.say(Wanted(0))
        began_s = time.perf_counter()
        broker.say(Wanted(at_once))
        done = 0
        while done < jobs:
            for message in broker.gather(10.0):
                if isinstance(message, Ready):
                    stage(message.card)
                    broker.say(Commit(message.card.job_id))
                elif isinstance(message, Done):
                    done += 1
                    broker.say(Wanted(at_once))
        return (time.perf_counter() - began_s) / jobs


def filled(server: AwsServer, jobs: int) -> Deployment:
    """A queue of its own for each round: a poll that ended with its broker takes nothing from the next."""
    made = deploy(server)
    server.client("s3").put_object(Bucket=made.raw_bucket, Key="one.wav", Body=bytes(AUDIO_BYTES))
    for number in range(jobs):
        made.send(rem_message(f"rec-{number}", bucket=made.raw_bucket, key="one.wav"))
    return made


def overhead(server: AwsServer, jobs: int, rounds: int) -> None:
    took: dict[str, list[float]] = {"direct": [], "broker": [], "broker, 4 at once": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            took["direct"].append(direct_round(filled(server, jobs), jobs, Path(folder)))
            for name, at_once in (("broker", 1), ("broker, 4 at once", 4)):
                settings = filled(server, jobs).settings(Path(folder) / f"{number}-{at_once}", LEASE_S)
                took[name].append(broker_round(settings, dict(server.environ), jobs, at_once))
    base_s = statistics.median(took["direct"])
    for name, values in took.items():
        each_s = statistics.median(values)
        print(f"{name:20} {each_s * 1e3:7.1f} ms a job   {each_s / base_s:5.2f} times", flush=True)


@contextmanager
def two_hosts(world: World) -> Iterator[tuple[BrokerProcess, BrokerProcess]]:
    with world.broker() as first, world.broker(world.other_service()) as second:
        yield first, second


def handover(world: World, rounds: int, audio: Path) -> None:
    took_s = []
    world.upload("one.wav", audio)
    world.send(rem_message(bucket=world.raw_bucket, key="one.wav"))
    with two_hosts(world) as hosts:
        giver, taker = hosts
        card = giver.take_one()
        for _ in range(rounds):
            taker.say(Wanted(1))
            time.sleep(0.7)  # its poll stands by then
            began_s = time.perf_counter()
            giver.say(Release(card.job_id, "a bench"))
            card = taker.hear(Ready).card
            took_s.append(time.perf_counter() - began_s)
            taker.say(Wanted(0))
            taker.say(Keep((card.job_id,)))
            giver.hear(Done)
            giver, taker = taker, giver
    median_ms, worst_ms = statistics.median(took_s) * 1e3, max(took_s) * 1e3
    print(f"handover on {world.name:10} {median_ms:7.1f} ms median, {worst_ms:.1f} ms worst of {rounds}")


def main() -> None:
    numbers = [int(text) for text in sys.argv[1:]]
    jobs, rounds = (numbers + [100, 5][len(numbers) :])[:2]
    print(f"Python {sys.version.split()[0]}, {jobs} jobs a round, median of {rounds} rounds")
    with tempfile.TemporaryDirectory() as name:
        audio = Path(name) / "audio"
        audio.write_bytes(bytes(AUDIO_BYTES))
        serving = run_server("ministack")
        server = next(serving)
        try:
            overhead(server, jobs, rounds)
            handover(aws_world(server, Path(name) / "aws"), 10, audio)
            handover(local_world(Path(name) / "local"), 10, audio)
        finally:
            serving.close()


if __name__ == "__main__":
    main()
