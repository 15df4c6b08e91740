"""Keeps the libraries of the engine from telling others about us, also where nobody started us with care.

onnxruntime's wheel uploads usage and keeps an id in ~/.cache/Microsoft; huggingface_hub counts what uses it.
"""

from __future__ import annotations

import os

_NAMES = ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK")


def switch_off() -> None:
    """Do so, and draw no progress bars. Before the first import of any of them."""
    os.environ.update(dict.fromkeys(_NAMES, "1"))
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
