"""What a dead process's last lines tell of the reason."""

from __future__ import annotations

import json

import pytest

from supervisor.service.exit_words import NOTHING, ExitWords, read


@pytest.mark.parametrize(
    ("line", "library"),
    [
        ("RuntimeError: Library libcublas.so.12 is not found or cannot be loaded", "libcublas.so.12"),
        (
            "Unable to load any of {libcudnn_ops.so.9.1.0, libcudnn_ops.so.9.1, libcudnn_ops.so}",
            "libcudnn_ops.so.9.1.0",
        ),
        ("Could not load library libcudnn_ops_infer.so.8. Error: no such file", "libcudnn_ops_infer.so.8"),
        ("libcudart.so.12: cannot open shared object file: No such file or directory", "libcudart.so.12"),
    ],
)
def test_a_cuda_library_that_is_missing_is_named_with_the_cure(line: str, library: str) -> None:
    words = read(["loading", line, "Invalid handle. Cannot load symbol cudnnCreateTensorDescriptor"], -6)

    assert words.said == f"the library {library} is missing"
    assert "rem-supervisor[cuda]" in words.cure


def test_the_drivers_own_library_comes_with_the_driver() -> None:
    assert "driver" in read(["libcuda.so.1: cannot open shared object file"], 1).cure


def error(reason: str) -> str:
    return json.dumps({"level": "error", "message": "device cannot be used", "reason": reason})


def test_a_worker_that_gives_up_says_why() -> None:
    lines = [error("old"), error("CUDA failed"), json.dumps({"level": "info", "reason": "not this"}), "text"]

    assert read(lines, 71) == ExitWords("CUDA failed")


def test_one_that_was_killed_had_no_words_on_it() -> None:
    assert read([error("of a job before")], -9) == NOTHING
    assert read([], 71) == NOTHING


# --- a child that ends at start -----------------------------------------------------------------

TRACEBACK = [
    "Traceback (most recent call last):",
    '  File "/opt/broker/__main__.py", line 22, in <module>',
    "    main()",
    "    ^^^^^^",
]


@pytest.mark.parametrize(
    "end",
    [
        "botocore.exceptions.ProfileNotFound: The config profile (nosuch) could not be found",
        "botocore.exceptions.InvalidCredentialsError: Could not read the file",
        "ModuleNotFoundError: No module named 'boto3'",
        "ImportError: libz.so.1: cannot open shared object file: No such file or directory",
        "SyntaxError: invalid syntax",
        "sqlite3.OperationalError: unable to open database file",
        "KeyError: 'REM_LINK_FD'",
        "MemoryError",
    ],
)
def test_the_end_of_a_traceback_is_the_reason(end: str) -> None:
    """A broker that ended at start because of AWS_PROFILE was shown as "exit 1"."""
    assert read(["something before", *TRACEBACK, end], 1).said == end


def test_a_traceback_in_its_own_log_is_the_reason() -> None:
    stack = "\n".join([*TRACEBACK, "ValueError: no such region", ""])

    line = json.dumps({"level": "error", "message": "broker broke", "error": stack})

    assert read([line], 1).said == "ValueError: no such region"


@pytest.mark.parametrize(
    "line",
    [
        "/usr/bin/python3: No module named supervisor.broker",
        "python: error while loading shared libraries: libpython3.11.so.1.0: cannot open shared object file",
        "Intel oneMKL FATAL ERROR: Cannot load libctranslate2.so.",
        "Fatal Python error: init_fs_encoding: failed to get the Python codec",
    ],
)
def test_what_a_program_prints_that_cannot_even_start_is_the_reason(line: str) -> None:
    information = json.dumps({"level": "info", "message": "starts"})

    assert read([information, line, "", "  indented"], 2).said == line


def test_the_reason_is_one_bounded_line_without_secrets() -> None:
    text = (
        "ValueError: https://me:hunter2@host/q?X-Amz-Signature=hunter2&X-Amz-Security-Token=hunter2 "
        "aws_secret_access_key = hunter2 'password': 'hunter2' AKIAIOSFODNN7EXAMPLE \x1b[31m" + "x" * 5_000
    )

    said = read([text], 1).said

    assert "hunter2" not in said
    assert "AKIA" not in said
    assert said.isprintable()
    assert len(said) <= 300
    assert said.startswith("ValueError: https://[removed]@host/q?X-Amz-Signature=[removed]&")
