"""Memory of a worker: known from the model's name and the compute type."""

from __future__ import annotations

import pytest

from supervisor.placement.model_memory import SIZES, memory_of, need_bytes

GIB = 1024**3


@pytest.mark.parametrize(
    ("model", "compute_type", "gib"),
    [
        ("tiny.en", "int8", 0.4),
        ("base", "int8", 0.5),
        ("small", "int8_float32", 1.2),
        ("medium.en", "int8", 3),
        ("large-v3", "int8", 6),
        ("distil-small.en", "int8", 1.2),
        ("large-v3-turbo", "int8", 6),
        ("turbo", "int8", 6),
        ("Systran/faster-whisper-tiny", "int8", 0.4),
        ("/models/small/our-own", "int8", 6),  # the folder's own name counts, and says nothing
        ("/models/whisper-base/", "int8", 0.5),
        ("base", "float32", 2),
        ("base", "int16", 1),
    ],
)
def test_the_need_on_a_cpu_is_known_by_the_models_name(model: str, compute_type: str, gib: float) -> None:
    assert need_bytes(model, "cpu", compute_type) == pytest.approx(gib * GIB, abs=1)


@pytest.mark.parametrize(
    ("model", "compute_type", "gib"),
    [
        ("tiny.en", "float16", 1), ("base", "float16", 1), ("small", "float16", 2),
        ("medium.en", "float16", 5),
        ("large-v3", "float16", 10), ("large-v3-turbo", "float16", 6), ("turbo", "float16", 6),
        ("large-v3", "float32", 20), ("large-v3", "int8_float16", 6), ("/models/our-own", "float16", 0),
    ],
)  # fmt: skip
def test_the_need_on_a_gpu_is_known_by_the_models_name(model: str, compute_type: str, gib: float) -> None:
    assert need_bytes(model, "cuda", compute_type) == gib * GIB


def test_a_recording_more_of_an_unknown_model_counts_as_one_of_large() -> None:
    assert memory_of("/models/our-own") == SIZES["large"]
