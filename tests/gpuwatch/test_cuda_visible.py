"""CUDA_VISIBLE_DEVICES means to us what it means to CUDA."""

from __future__ import annotations

from typing import Optional

import pytest

from supervisor.gpuwatch.cuda_visible import ordinals_may_differ, visible

A, B, C = "GPU-aaaa1111", "GPU-aaaa2222", "GPU-cccc3333"
M, N = "MIG-1111", "MIG-2222"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, (A, B, C)),
        ("", ()),
        ("  ", ()),
        ("0", (A,)),
        ("2,0", (C, A)),
        (" 1 , 2 ", (B, C)),
        ("-1", ()),
        ("0,-1,2", (A,)),
        ("0,3,1", (A,)),
        ("3,0", ()),
        ("0,,1", (A,)),
        ("1,1", ()),
        ("0,1,0", ()),
        ("0,9,0", (A,)),  # the bad entry ended the list before the duplicate came
        ("NoDevFiles", ()),
        ("0x1", ()),
        ("٢", ()),  # a digit, but not one of CUDA's
        (B, (B,)),
        (f"{C},{A}", (C, A)),
        ("GPU-c", (C,)),
        ("GPU-aaaa2", (B,)),
        ("GPU-aaaa", ()),  # fits two
        ("GPU-c,GPU-zzzz,GPU-aaaa1", (C,)),
        (f"GPU-c,{C}", ()),  # one GPU by two names
        (f"0,{B}", (A,)),  # the first entry fixes the kind
        (f"{A},1", (A,)),
        ("aaaa1111", ()),
    ],
)
def test_the_list_shows_what_cuda_would_show(value: Optional[str], shown: tuple[str, ...]) -> None:
    assert visible(value, (A, B, C)).uuids == shown


def test_one_mig_device_at_most_is_shown() -> None:
    assert visible(f"{N},{M}", (A, B), {A: (M, N)}).uuids == (N,)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, (M, N, B)),
        ("0", (M,)),
        ("1,0", (B, M)),
        ("0,1", (M,)),  # the list ends at the first MIG device
        (A, (M,)),
        ("MIG-2", (N,)),
        (f"MIG-2,{B}", (N,)),
        ("MIG-9", ()),
        ("MIG-", ()),
    ],
)
def test_a_gpu_that_is_cut_up_stands_for_its_parts(value: Optional[str], shown: tuple[str, ...]) -> None:
    assert visible(value, (A, B), {A: (M, N)}).uuids == shown


@pytest.mark.parametrize(
    ("value", "note"),
    [
        (None, ""),
        ("0,1,2", ""),
        ("", "CUDA_VISIBLE_DEVICES is set and empty, which hides every GPU. Unset it to use them"),
        (
            "0,7",
            "CUDA_VISIBLE_DEVICES=0,7: '7' matches no GPU or several, so the rest of the list is ignored. "
            "Correct or unset it",
        ),
        (
            "7,0",
            "CUDA_VISIBLE_DEVICES=7,0: '7' matches no GPU or several, so no GPU is visible. "
            "Correct or unset it",
        ),
        ("1,1", "CUDA_VISIBLE_DEVICES=1,1 lists a GPU twice, so CUDA shows none. List it once"),
    ],
)
def test_what_may_surprise_is_said(value: Optional[str], note: str) -> None:
    assert visible(value, (A, B, C)).note == note


@pytest.mark.parametrize(
    ("value", "order", "names", "differ"),
    [
        ("1", None, ("A10", "T4"), True),
        ("1", "FASTEST_FIRST", ("A10", "T4"), True),
        ("1", "PCI_BUS_ID", ("A10", "T4"), False),
        ("1", None, ("A10", "A10"), False),
        ("GPU-aaaa1", None, ("A10", "T4"), False),
        (None, None, ("A10", "T4"), False),
        ("", None, ("A10", "T4"), False),
    ],
)
def test_ordinals_are_doubted_only_where_cuda_may_count_otherwise(
    value: Optional[str], order: Optional[str], names: tuple[str, ...], differ: bool
) -> None:
    assert ordinals_may_differ(value, order, names) is differ
