"""Which MIG devices an event of their GPU is about."""

from __future__ import annotations

import pytest

from supervisor.gpuwatch.mig_events import NOT_NAMED, Part, affected

PARTS = [Part("MIG-a", 1, 0), Part("MIG-b", 2, 0), Part("MIG-c", 2, 1), Part("MIG-d", None, None)]


@pytest.mark.parametrize(
    ("gpu_instance", "compute_instance", "uuids"),
    [
        (NOT_NAMED, NOT_NAMED, ("GPU-0",)),  # all of the GPU
        (1, 0, ("MIG-a",)),
        (2, 1, ("MIG-c",)),
        (2, NOT_NAMED, ("MIG-b", "MIG-c")),
        (2, 7, ("MIG-b", "MIG-c")),  # made since the last look, in an instance that is known
        (9, 0, ("GPU-0",)),  # not known: better too many than none
    ],
)
def test_an_event_is_about_the_instance_that_it_names(
    gpu_instance: int, compute_instance: int, uuids: tuple[str, ...]
) -> None:
    assert affected("GPU-0", PARTS, gpu_instance, compute_instance) == uuids


def test_a_gpu_that_is_not_in_mig_mode_is_affected_itself() -> None:
    assert affected("GPU-0", [], NOT_NAMED, NOT_NAMED) == ("GPU-0",)
