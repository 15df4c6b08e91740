"""Settings: which source wins, where each value came from, and every mistake at once."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from supervisor.settings.load import AWS_REQUIRED, ENVIRONMENT, known_keys, load_settings
from supervisor.settings.mistakes import SettingsWrong
from supervisor.settings.rules import check_rules
from supervisor.settings.schema import AwsSettings, Settings, TranscriptionSettings
from tests.settings.settings_folder import Folder

REM = {
    "SQS_QUEUE_URL": "https://sqs/q",
    "RAW_AUDIO_BUCKET": "raw",
    "TRANSCRIPTS_BUCKET": "texts",
    "DYNAMODB_TABLE": "recordings",
}


def test_without_any_source_defaults_are_in_force(folder: Folder) -> None:
    loaded = folder.load()

    assert loaded.settings.transcription == TranscriptionSettings()
    assert loaded.settings.backend.kind == "local"
    assert loaded.origins == {"state_dir": "default"}
    assert loaded.aws_environment == {}


def test_the_first_source_that_names_a_setting_wins(folder: Folder) -> None:
    """Flag, environment, .env, config.toml: taken away one by one, the next one shows."""
    folder.config.write_text('[transcription]\nmodel = "small"\n')
    folder.dotenv.write_text("WHISPER_MODEL=medium\n")

    every = folder.load({"transcription.model": "tiny"}, WHISPER_MODEL="large-v3")
    no_flag = folder.load({"transcription.model": None}, WHISPER_MODEL="large-v3")
    no_environment = folder.load(WHISPER_MODEL="  ")
    folder.dotenv.unlink()
    only_config = folder.load()

    models = [one.settings.transcription.model for one in (every, no_flag, no_environment, only_config)]
    origins = [one.origins["transcription.model"] for one in (every, no_flag, no_environment, only_config)]
    assert models == ["tiny", "large-v3", "medium", "small"]
    assert origins == ["flag", "environment", str(folder.dotenv), str(folder.config)]


def test_all_of_rems_names_are_read(folder: Folder) -> None:
    loaded = folder.load(
        **REM, AWS_REGION="eu-central-1", WHISPER_MODEL="small", WHISPER_DEVICE="cuda",
        WHISPER_COMPUTE_TYPE="float16", POLL_INTERVAL="7.5", MAX_MESSAGES="3", VISIBILITY_TIMEOUT="600",
        LOG_LEVEL="DEBUG",
    )  # fmt: skip

    used = loaded.settings
    assert used.backend.kind == "aws"
    assert used.aws == AwsSettings(
        region="eu-central-1", queue_url="https://sqs/q", raw_bucket="raw", transcripts_bucket="texts",
        table="recordings", poll_s=7.5, max_messages=3, visibility_s=600,
    )  # fmt: skip
    assert used.transcription.model == "small"
    assert used.transcription.compute_type == "float16"
    assert used.devices.device == "cuda"
    assert used.log.level == "DEBUG"


def test_every_mistake_of_every_source_is_told_at_once(folder: Folder) -> None:
    folder.config.write_text(
        '[transcripton]\nmodel = "x"\n[devices]\ncpu_thread = 2\ncpu_slots = "2"\n'
        "[supervisor]\ndrain_s = 0\n[aws]\nregion = 1\n"
    )
    folder.dotenv.write_text("MAX_MESSAGES=eleven\nnonsense\n")

    told = folder.mistakes({"transcription.beam_size": 99}, WHISPER_DEVICE="gpu", POLL_INTERVAL="nan")

    assert sorted(told) == [
        ".env: MAX_MESSAGES: 'eleven' is not an integer. Correct or remove it",
        ".env: line 2: expected NAME=value. Correct the line, or comment it out with #",
        "config.toml: aws.region: '1' is not a string in quotes. Correct or remove it",
        "config.toml: devices.cpu_slots: '2' is not an integer. Correct or remove it",
        "config.toml: devices.cpu_thread: unknown setting. Did you mean devices.cpu_threads?",
        "config.toml: supervisor.drain_s: 0.0 is out of range. Write a number from 1 to 86400",
        "config.toml: transcripton.model: unknown setting. Did you mean transcription.model?",
        "environment: POLL_INTERVAL: 'nan' is not a number. Correct or remove it",
        "environment: WHISPER_DEVICE: 'gpu' is not a valid value. Write one of: auto, cuda, cpu",
        "flag: transcription.beam_size: 99 is out of range. Write a number from 1 to 32",
    ]


def test_a_key_far_from_all_names_where_the_list_is(folder: Folder) -> None:
    folder.config.write_text("zzz = 1\n")

    assert folder.mistakes() == [
        "config.toml: zzz: unknown setting. `rem-supervisor config` lists all settings"
    ]


def test_some_of_rems_names_without_the_others_names_those_that_are_missing(folder: Folder) -> None:
    told = folder.mistakes(SQS_QUEUE_URL="https://sqs/q", DYNAMODB_TABLE="t")

    given = "is missing (set: SQS_QUEUE_URL, DYNAMODB_TABLE)"
    cure = "or REM_BACKEND=local to use the embedded queue"
    assert told == [
        f"environment: {name}: {given}. Set {name}, {cure}"
        for name in ("RAW_AUDIO_BUCKET", "TRANSCRIPTS_BUCKET")
    ]


def test_a_bucket_without_a_queue_is_a_mistake_too_and_not_silently_local(folder: Folder) -> None:
    folder.dotenv.write_text("TRANSCRIPTS_BUCKET=texts\n")

    told = folder.mistakes()

    assert [line.split(": is missing")[0] for line in told] == [
        ".env: SQS_QUEUE_URL",
        ".env: RAW_AUDIO_BUCKET",
        ".env: DYNAMODB_TABLE",
    ]


def test_local_asked_for_by_name_ignores_rems_names(folder: Folder) -> None:
    assert folder.load(REM_BACKEND="local", SQS_QUEUE_URL="https://sqs/q").settings.backend.kind == "local"


def test_aws_asked_for_without_any_name_names_all_four(folder: Folder) -> None:
    told = folder.mistakes(REM_BACKEND="aws")

    assert [line.split(":")[1].strip() for line in told] == list(AWS_REQUIRED)
    assert "the backend is aws" in told[0]


@pytest.mark.parametrize("compute_type", ["float16", "int8_float16", "bfloat16"])
def test_half_precision_on_the_cpu_is_refused(folder: Folder, compute_type: str) -> None:
    assert folder.mistakes(WHISPER_DEVICE="cpu", WHISPER_COMPUTE_TYPE=compute_type) == [
        f"environment: WHISPER_COMPUTE_TYPE: {compute_type} is not supported on the CPU. "
        "Write auto, int8 or float32 (WHISPER_COMPUTE_TYPE), or device = auto"
    ]


def test_a_file_limit_above_the_spool_limit_is_refused(folder: Folder) -> None:
    folder.config.write_text("[spool]\nlimit_bytes = 1000000\nmax_file_bytes = 1000001\n")

    assert folder.mistakes() == [
        "config.toml: spool.max_file_bytes: is larger than spool.limit_bytes: a file of that size could "
        "never be downloaded. Set it to 1000000 or less, or raise spool.limit_bytes"
    ]


def test_bounds_and_choices_are_kept_at_their_very_edges(folder: Folder) -> None:
    assert folder.load(MAX_MESSAGES="10", VISIBILITY_TIMEOUT="30").settings.aws.max_messages == 10
    assert len(folder.mistakes(MAX_MESSAGES="11", VISIBILITY_TIMEOUT="29")) == 2


def test_every_default_keeps_the_rules() -> None:
    assert list(check_rules(Settings())) == []


@pytest.mark.parametrize("key", [key for key, kind in known_keys().items() if kind in (int, float)])
def test_every_number_has_bounds_and_is_reported_once(key: str) -> None:
    table, _, name = key.partition(".")
    values = dataclasses.replace(getattr(Settings(), table), **{name: -(10**18)})

    assert [found for found, _, _ in check_rules(Settings(**{table: values}))].count(key) == 1


def test_environment_names_lead_to_settings_that_exist() -> None:
    assert set(ENVIRONMENT.values()) <= set(known_keys())


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("AWS_REGION=base", "base"),
        ("export AWS_REGION=base", "base"),
        ("  AWS_REGION = base  ", "base"),
        ('AWS_REGION="a model"', "a model"),
        ("AWS_REGION='a#model' # mine", "a#model"),
        ("AWS_REGION=base # the default", "base"),
        ("AWS_REGION=a#b", "a#b"),
        ("AWS_REGION=a=b", "a=b"),
        ("AWS_REGION='half", "'half"),
        ("AWS_REGION=# nothing", "us-east-1"),
        ("# AWS_REGION=small", "us-east-1"),
        ("\ufeffAWS_REGION=small", "small"),
        ("AWS_REGION=small\r", "small"),
    ],
)
def test_dotenv_lines_are_read_as_people_write_them(folder: Folder, line: str, value: str) -> None:
    folder.dotenv.write_bytes(f"{line}\n".encode())

    assert folder.load().settings.aws.region == value


@pytest.mark.parametrize("line", ["WHISPER_MODEL", "=base", "WHISPER MODEL=base", "2X=1", "reexport A=1"])
def test_dotenv_lines_that_set_nothing_are_mistakes(folder: Folder, line: str) -> None:
    folder.dotenv.write_text(f"\n{line}\n")

    assert folder.mistakes() == [
        ".env: line 2: expected NAME=value. Correct the line, or comment it out with #"
    ]


def test_aws_names_of_dotenv_go_to_the_broker_unless_the_environment_has_them(folder: Folder) -> None:
    folder.dotenv.write_text(
        "AWS_ACCESS_KEY_ID=id\nAWS_SECRET_ACCESS_KEY=secret\nAWS_REGION=eu-west-1\nOTHER=x\n"
    )

    loaded = folder.load(AWS_ACCESS_KEY_ID="from outside")

    assert loaded.aws_environment == {"AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1"}
    assert "secret" not in repr(loaded.settings)


def test_a_config_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsWrong, match="there is no such file"):
        load_settings(str(tmp_path / "absent.toml"), {}, {"HOME": "/home/rem"})


def test_the_working_folders_files_are_read_when_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("WHISPER_MODEL=tiny\n")

    without_config = load_settings(None, {}, {"HOME": "/home/rem"})
    (tmp_path / "config.toml").write_text("[devices]\ncpu_slots = 3\n")
    with_config = load_settings(None, {}, {"HOME": "/home/rem"})

    assert without_config.settings.transcription.model == "tiny"
    assert with_config.settings.devices.cpu_slots == 3
    assert with_config.origins["devices.cpu_slots"] == "config.toml"


def test_a_config_that_is_not_toml_or_not_readable_is_told_with_its_place(folder: Folder) -> None:
    folder.config.write_text("[devices\n")
    broken = folder.mistakes(WHISPER_DEVICE="gpu")
    folder.config.unlink()
    folder.config.mkdir()
    no_file = folder.mistakes()

    assert broken[0].startswith("config.toml: file: can't be read: ")
    assert broken[1].startswith("environment: WHISPER_DEVICE: ")
    assert no_file[0] == ("config.toml: file: can't be read: Is a directory. Name a file, not a folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_this_user_may_not_read_is_named_once_with_the_right_cure(folder: Folder) -> None:
    """It named the path twice and told to correct the TOML."""
    folder.config.write_text("[devices]\n")
    folder.config.chmod(0)

    (told,) = folder.mistakes()

    assert told == (
        "config.toml: file: can't be read: Permission denied. "
        "Make it readable for this user, or run the command as the service's user"
    )


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({}, "/home/rem/.local/state/rem-supervisor"),
        ({"XDG_STATE_HOME": "/x"}, "/x/rem-supervisor"),
        ({"XDG_STATE_HOME": "/x", "STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"),
        ({"STATE_DIRECTORY": "/var/lib/a", "REM_STATE_DIR": "/mine"}, "/mine"),
    ],
)
def test_the_state_directory_is_where_the_design_says(
    folder: Folder, environ: dict[str, str], path: str
) -> None:
    loaded = folder.load(**environ)

    assert loaded.settings.state_dir == path
    assert loaded.settings.local.folder == f"{path}/local"


def test_a_user_without_a_home_is_told_to_name_a_state_directory(folder: Folder) -> None:
    told = folder.mistakes(REM_STATE_DIR="~no-such-user/state")

    assert told == [
        "environment: REM_STATE_DIR: ~no-such-user/state can't be resolved: this user has no home directory. "
        "Set REM_STATE_DIR to a folder"
    ]


def test_the_queues_visibility_is_a_ceiling_for_the_lease(folder: Folder) -> None:
    folder.config.write_text("[queue]\nlease_s = 300\n")

    assert folder.load(**REM, VISIBILITY_TIMEOUT="120").settings.queue.lease_s == 120
    assert folder.load(VISIBILITY_TIMEOUT="120").settings.queue.lease_s == 300


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().state_dir = "/x"  # type: ignore[misc]


def test_a_group_that_this_host_does_not_have_is_a_mistake(folder: Folder) -> None:
    """The service ended with a traceback, LookupError, after it had begun."""
    folder.config.write_text('[control]\ngroup = "no-such-group"\n')

    with pytest.raises(SettingsWrong, match="no group 'no-such-group' on this host"):
        folder.load()
