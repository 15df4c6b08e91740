"""The packaged tiny.en as the files that other engines load, with the same weights."""

from __future__ import annotations

import json
import struct
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from supervisor.contract.engine import engines
from tests.workerproc import whisper_weights
from tests.workerproc.process import model_path

_GGML_FLOAT32, _GGML_FLOAT16 = 0, 1


def model_file(engine: str, folder: Path) -> str:
    """Write an engine's model; skip the test where the engine is not installed."""
    distribution = engines.ENGINES[engine].distribution
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{distribution} is not installed")
    write = {"openai-whisper": openai_checkpoint, "whisper.cpp": ggml_file}.get(engine)
    return str(write(folder)) if write else model_path()


def openai_checkpoint(folder: Path) -> Path:
    """Write what `whisper.load_model` reads: dimensions and state dict."""
    import torch

    weights = whisper_weights.weights(model_path())
    state = {name: torch.from_numpy(array.copy()) for name, array in weights.items()}
    path = folder / "tiny.en.pt"
    torch.save({"dims": whisper_weights.dimensions(weights), "model_state_dict": state}, path)
    return path


def ggml_file(folder: Path) -> Path:
    """Write what whisper.cpp reads. Source: its models/convert-pt-to-ggml.py."""
    from faster_whisper.feature_extractor import FeatureExtractor

    weights = whisper_weights.weights(model_path())
    own = whisper_weights.dimensions(weights)
    filters = FeatureExtractor().mel_filters.astype(np.float32)
    names = ("n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer", "n_text_ctx")
    names += ("n_text_state", "n_text_head", "n_text_layer", "n_mels")
    path = folder / "ggml-tiny.en.bin"
    with path.open("wb") as file:
        file.write(struct.pack("<I", 0x67676D6C))
        file.write(struct.pack("<11i", *(own[name] for name in names), _GGML_FLOAT16))
        file.write(struct.pack("<2i", *filters.shape) + filters.tobytes())
        tokens = _tokens()
        file.write(struct.pack("<i", len(tokens)))
        for token in tokens:
            file.write(struct.pack("<i", len(token)) + token)
        for name, array in weights.items():
            file.write(_tensor(name, array))
    return path


def _tensor(name: str, array: Any) -> bytes:
    if name in ("encoder.conv1.bias", "encoder.conv2.bias"):
        array = array.reshape(-1, 1)
    is_small = array.ndim < 2 or array.shape[-1] == 1 or name.endswith("positional_embedding")
    kind, dtype = (_GGML_FLOAT32, np.float32) if is_small else (_GGML_FLOAT16, np.float16)
    head = struct.pack("<3i", array.ndim, len(name), kind) + struct.pack(
        f"<{array.ndim}i", *array.shape[::-1]
    )
    return head + name.encode() + np.ascontiguousarray(array, dtype).tobytes()


def _tokens() -> list[bytes]:
    """Give the bytes of every token of text, in order."""
    plain = json.loads((Path(model_path()) / "tokenizer.json").read_text(encoding="utf-8"))
    known = {number: text for text, number in plain["model"]["vocab"].items()}
    special = {one["id"] for one in plain["added_tokens"]}
    signs = _byte_of_sign()
    return [bytes(signs[sign] for sign in known[n]) for n in sorted(known) if n not in special]


def _byte_of_sign() -> dict[str, int]:
    """Undo GPT-2's writing of bytes as printable signs. Source: `bytes_to_unicode` of its encoder.py."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {
        **{chr(byte): byte for byte in printable},
        **{chr(256 + n): byte for n, byte in enumerate(others)},
    }
