"""Names that AWS can't know are refused at start; whatever it or an emulator may know is taken."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.settings.load import ENVIRONMENT
from tests.settings.settings_folder import Folder

GOOD = {
    "SQS_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/rem-jobs",
    "RAW_AUDIO_BUCKET": "rem-raw",
    "TRANSCRIPTS_BUCKET": "rem-texts",
    "DYNAMODB_TABLE": "rem-recordings",
}


@pytest.fixture
def folder(tmp_path: Any) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize("name", [*GOOD, "AWS_REGION"])
@pytest.mark.parametrize("wrap", ['"{}"', "'{}'", "{} x", "{}\t{}", "{};", "<{}>", "{}\u200b", "{}é"])
def test_quotes_blanks_and_other_impossible_signs_are_refused_by_name(
    folder: Folder, name: str, wrap: str
) -> None:
    """`docker --env-file` keeps the quotes: every recording failed of "rem-raw", one after the other."""
    right = {**GOOD, "AWS_REGION": "eu-central-1"}[name]
    wrong = wrap.format(right, right)

    (mistake,) = folder.mistakes(**{**GOOD, name: wrong})

    assert mistake.startswith(f"environment: {name}: ")
    assert "is not valid" in mistake


def test_quotes_are_called_by_their_name(folder: Folder) -> None:
    (mistake,) = folder.mistakes(**{**GOOD, "RAW_AUDIO_BUCKET": '"rem-raw"'})

    assert "docker's --env-file keeps" in mistake


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("RAW_AUDIO_BUCKET", "s3://rem-raw"),
        ("RAW_AUDIO_BUCKET", "rem-raw/"),
        ("TRANSCRIPTS_BUCKET", "rem-texts/transcripts"),
        ("TRANSCRIPTS_BUCKET", "https://rem-texts.s3.amazonaws.com"),
        ("SQS_QUEUE_URL", "rem-jobs"),
        ("SQS_QUEUE_URL", "arn:aws:sqs:eu-central-1:123456789012:rem-jobs"),
        ("SQS_QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com"),
        ("SQS_QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com:99999/1/q"),
        ("SQS_QUEUE_URL", "sqs://host/1/q"),
        ("DYNAMODB_TABLE", "table/rem-recordings"),
        ("AWS_REGION", "eu central 1"),
        ("AWS_REGION", "eu-central-1a!"),
        ("AWS_REGION", "-eu"),
    ],
)
def test_what_can_never_work_is_refused(folder: Folder, name: str, wrong: str) -> None:
    (mistake,) = folder.mistakes(**{**GOOD, name: wrong})

    assert f"environment: {name}: " in mistake


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SQS_QUEUE_URL", "http://127.0.0.1:5000/123456789012/rem-transcription-jobs-dev"),
        ("SQS_QUEUE_URL", "http://[::1]:4566/000000000000/q"),
        ("SQS_QUEUE_URL", "http://sqs.eu-central-1.localhost.localstack.cloud:4566/000000000000/q_1"),
        ("SQS_QUEUE_URL", "http://elastic_mq:9324/queue/rem"),
        ("SQS_QUEUE_URL", "https://queue.amazonaws.com/123456789012/rem.fifo"),
        ("SQS_QUEUE_URL", "https://vpce-0a-1b.sqs.us-gov-west-1.vpce.amazonaws.com/123456789012/rem"),
        ("RAW_AUDIO_BUCKET", "My_Old.Bucket"),
        ("RAW_AUDIO_BUCKET", "arn:aws:s3:eu-central-1:123456789012:accesspoint/rem-raw"),
        ("TRANSCRIPTS_BUCKET", "rem-texts-x-s3alias"),
        ("DYNAMODB_TABLE", "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/rem_records.1"),
        ("AWS_REGION", "us-gov-west-1"),
        ("AWS_REGION", "eu-isoe-west-1"),
        ("AWS_REGION", "local"),
    ],
)
def test_legal_names_arns_and_emulators_are_taken(folder: Folder, name: str, value: str) -> None:
    loaded = folder.load(**{**GOOD, name: value})

    key = ENVIRONMENT[name].split(".")[1]
    assert getattr(loaded.settings.aws, key) == value


def test_names_for_aws_are_nobodys_concern_on_the_embedded_queue(folder: Folder) -> None:
    loaded = folder.load(**{**GOOD, "RAW_AUDIO_BUCKET": '"x"', "REM_BACKEND": "local"})

    assert loaded.settings.backend.kind == "local"


def test_further_buckets_are_checked_too(folder: Folder) -> None:
    folder.config.write_text('[aws]\nallowed_buckets = ["fine", "s3://not-fine"]\n')

    (mistake,) = folder.mistakes(**GOOD)

    assert "aws.allowed_buckets: 's3://not-fine' is not valid" in mistake


def test_a_name_without_a_value_counts_as_unset(folder: Folder) -> None:
    """Compose passes `NAME=` for what its own environment lacks."""
    folder.dotenv.write_text("AWS_PROFILE=rem\n")
    empty = dict.fromkeys(ENVIRONMENT, "")

    loaded = folder.load(**{**empty, "AWS_PROFILE": ""})

    assert loaded.settings == folder.load().settings
    assert loaded.aws_environment == {"AWS_PROFILE": "rem"}


def test_rems_file_is_taken_unchanged_and_what_has_no_use_is_said(folder: Folder) -> None:
    """The names of REM's own environment file, with values made up."""
    folder.dotenv.write_text(
        "\n".join(f"{name}={value}" for name, value in GOOD.items())
        + "\nAWS_REGION=us-east-1\nAWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n"
        "SPEAKERS_TABLE=rem-speakers\nHUGGINGFACE_TOKEN=hf_none\nENABLE_DIARIZATION=true\nOPENAI_API_KEY=none\nREM_USER_ID=default-user\n"
        "WHISPER_MODEL=base\nWHISPER_DEVICE=cuda\nWHISPER_COMPUTE_TYPE=float16\nPOLL_INTERVAL=5\n"
        "MAX_MESSAGES=1\nVISIBILITY_TIMEOUT=900\nLOG_LEVEL=INFO\n"
    )

    loaded = folder.load()

    assert (loaded.settings.devices.device, loaded.settings.transcription.compute_type) == ("cuda", "float16")
    assert loaded.notes == (
        "SPEAKERS_TABLE, HUGGINGFACE_TOKEN, ENABLE_DIARIZATION, OPENAI_API_KEY, REM_USER_ID: not used. "
        "Speakers and summaries are another service's work.",
    )


@pytest.mark.parametrize("name", ["WHISPER_DEVISE", "WHISPER_MODELL", "SQS_QUEUE_URI", "TRANSCRIPT_BUCKET"])
@pytest.mark.parametrize("in_dotenv", [True, False])
def test_a_name_that_is_nearly_one_of_ours_is_named(folder: Folder, name: str, in_dotenv: bool) -> None:
    """WHISPER_DEVISE=cpu in .env was ignored in silence."""
    if in_dotenv:
        folder.dotenv.write_text(f"{name}=cpu\n")

    loaded = folder.load(**({} if in_dotenv else {name: "cpu"}))

    (note,) = loaded.notes
    assert note.startswith(f"{name} is not a setting and is ignored. Did you mean ")


def test_names_that_others_use_are_not_taken_for_misspelt(folder: Folder) -> None:
    others = [
        "AWS_DEFAULT_REGION",
        "AWS_PROFILE",
        "REM_SOCKET",
        "REM_LIFE",
        "STATE_DIRECTORY",
        "LOG_FORMAT",
        "PATH",
    ]

    assert folder.load(**dict.fromkeys(others, "/tmp")).notes == ()


def test_mps_means_the_cpu_and_says_so(folder: Folder) -> None:
    loaded = folder.load(WHISPER_DEVICE="mps")

    assert loaded.settings.devices.device == "cpu"
    assert "WHISPER_DEVICE=mps means the CPU" in loaded.notes[0]


def test_mps_with_half_precision_is_refused_as_the_cpu_is(folder: Folder) -> None:
    (mistake,) = folder.mistakes(WHISPER_DEVICE="mps", WHISPER_COMPUTE_TYPE="float16")

    assert "float16 is not supported on the CPU" in mistake
