"""What a dead process's last lines tell of the reason."""

from __future__ import annotations

import json

import pytest

from supervisor.last_words import NOTHING, Words, read


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
    return json.dumps({"level": "error", "message": "device can't be used", "reason": reason})


def test_a_worker_that_gives_up_says_why() -> None:
    lines = [error("old"), error("CUDA failed"), json.dumps({"level": "info", "reason": "not this"}), "text"]

    assert read(lines, 71) == Words("CUDA failed")


def test_one_that_was_killed_had_no_words_on_it() -> None:
    assert read([error("of a job before")], -9) == NOTHING
    assert read([], 71) == NOTHING
