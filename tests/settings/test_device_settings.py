"""Settings of devices: lists, tables, and what goes with what."""

from __future__ import annotations

import pytest

from tests.settings.settings_folder import Folder


def test_lists_and_tables_of_devices_are_read(folder: Folder) -> None:
    folder.config.write_text(
        '[devices]\ninclude = [0, "GPU-8a"]\nmodel = { "NVIDIA T4" = "small" }\n[devices.xid]\n63 = "hold"\n'
    )

    devices = folder.load().settings.devices

    assert devices.include == ("0", "GPU-8a")
    assert devices.model == {"NVIDIA T4": "small"}
    assert devices.xid == {"63": "hold"}


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ('include = "0"', "devices.include: '0' is not a list of strings in quotes"),
        ("include = [1.5]", "devices.include: '[1.5]' is not a list of strings in quotes"),
        ("xid = [79]", "devices.xid: '[79]' is not a table of strings"),
        ("xid = { 79 = 1 }", "devices.xid: \"{'79': 1}\" is not a table of strings"),
        (
            'xid = { 79 = "stop" }',
            "devices.xid: 79 = 'stop' is not valid. Write a number and one of: restart,",
        ),
        ('xid = { abc = "hold" }', "devices.xid: abc = 'hold' is not valid"),
        ('compute_type = { 0 = "int7" }', "devices.compute_type: 'int7' of 0 is not a valid value"),
        ("workers_per_device = 0", "devices.workers_per_device: 0 is out of range"),
        ('compute = "gpu"', "devices.compute: 'gpu' is not a valid value"),
    ],
)
def test_mistakes_about_devices_are_told(folder: Folder, line: str, mistake: str) -> None:
    folder.config.write_text(f"[devices]\n{line}\n")

    assert [told for told in folder.mistakes() if mistake in told]


def test_simulated_gpus_compute_on_the_cpu(folder: Folder) -> None:
    assert folder.load({"devices.fake_gpus": 2}).settings.devices.compute == "cpu"
    assert folder.load(REM_COMPUTE="cpu").settings.devices.compute == "cpu"
    assert (
        "is not supported on the CPU" in folder.mistakes(REM_COMPUTE="cpu", WHISPER_COMPUTE_TYPE="float16")[0]
    )


def test_what_was_given_to_load_is_kept_to_load_it_again(folder: Folder) -> None:
    """A reload once forgot --config and read the working folder's file instead."""
    loaded = folder.load({"devices.fake_gpus": 2})

    assert loaded.config == str(folder.config)
    assert loaded.flags == {"devices.fake_gpus": 2}
