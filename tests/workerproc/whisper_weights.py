"""The weights of the packaged CTranslate2 model, under the names that OpenAI's checkpoints have."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

# The numbers that model.bin gives its types. Source: CTranslate2 4.8, python/ctranslate2/specs/model_spec.py.
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
# CTranslate2's names -> OpenAI's, of a layer and of all else.
_LAYER = {
    "self_attention/layer_norm": "attn_ln",
    "self_attention/linear_1": "attn.out",
    "attention/layer_norm": "cross_attn_ln",
    "attention/linear_0": "cross_attn.query",
    "attention/linear_2": "cross_attn.out",
    "ffn/layer_norm": "mlp_ln",
    "ffn/linear_0": "mlp.0",
    "ffn/linear_1": "mlp.2",
}
_ENDS = {"gamma": "weight", "beta": "bias", "weight": "weight", "bias": "bias"}
# Projections that CTranslate2 joins in one matrix; Whisper's keys have no bias.
_JOINED = {
    "self_attention/linear_0": ("attn.query", "attn.key", "attn.value"),
    "attention/linear_1": ("cross_attn.key", "cross_attn.value"),
}
_WHOLE = {
    "encoder/conv1/weight": "encoder.conv1.weight",
    "encoder/conv1/bias": "encoder.conv1.bias",
    "encoder/conv2/weight": "encoder.conv2.weight",
    "encoder/conv2/bias": "encoder.conv2.bias",
    "encoder/position_encodings/encodings": "encoder.positional_embedding",
    "encoder/layer_norm/gamma": "encoder.ln_post.weight",
    "encoder/layer_norm/beta": "encoder.ln_post.bias",
    "decoder/embeddings/weight": "decoder.token_embedding.weight",
    "decoder/position_encodings/encodings": "decoder.positional_embedding",
    "decoder/layer_norm/gamma": "decoder.ln.weight",
    "decoder/layer_norm/beta": "decoder.ln.bias",
}


def weights(model_path: str) -> dict[str, Any]:
    """Read a model that was converted without quantization: float32 arrays by OpenAI's names."""
    found = {}
    for name, array in _variables((Path(model_path) / "model.bin").read_bytes()):
        if name in _WHOLE:
            found[_WHOLE[name]] = array.astype(np.float32)
        elif "/layer_" in name:
            found.update({key: one.astype(np.float32) for key, one in _of_layer(name, array)})
    return found


def dimensions(weights: dict[str, Any]) -> dict[str, int]:
    """Give a model's `ModelDimensions`. Every Whisper model has heads of 64 numbers."""
    vocabulary, width = weights["decoder.token_embedding.weight"].shape
    layers = {side: len({name.split(".")[2] for name in weights if name.startswith(f"{side}.blocks.")})
              for side in ("encoder", "decoder")}  # fmt: skip
    return {
        "n_mels": weights["encoder.conv1.weight"].shape[1],
        "n_audio_ctx": len(weights["encoder.positional_embedding"]),
        "n_audio_state": width,
        "n_audio_head": width // 64,
        "n_audio_layer": layers["encoder"],
        "n_vocab": vocabulary,
        "n_text_ctx": len(weights["decoder.positional_embedding"]),
        "n_text_state": width,
        "n_text_head": width // 64,
        "n_text_layer": layers["decoder"],
    }


def _of_layer(name: str, array: Any) -> Iterator[tuple[str, Any]]:
    side, layer, *inner, end = name.split("/")
    part, prefix = "/".join(inner), f"{side}.blocks.{layer[len('layer_') :]}"
    if part in _JOINED:
        names = _JOINED[part]
        for one, piece in zip(names, np.split(array, len(names))):
            if not (one.endswith("key") and end == "bias"):
                yield f"{prefix}.{one}.{end}", piece
    elif part in _LAYER:
        yield f"{prefix}.{_LAYER[part]}.{_ENDS[end]}", array


def _variables(data: bytes) -> Iterator[tuple[str, Any]]:
    """Read model.bin of format 6: name, shape, type and bytes of each variable."""
    at = 0

    def number(kind: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(f"<{kind}", data, at)
        at += struct.calcsize(f"<{kind}")
        return int(value)

    def text() -> str:
        nonlocal at
        size = number("H")
        at += size
        return data[at - size : at].rstrip(b"\0").decode()

    version, spec, _revision = number("I"), text(), number("I")
    assert (version, spec) == (6, "WhisperSpec"), "another format of model.bin"
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        dtype, size = np.dtype(_TYPES[number("B")]), number("I")
        yield name, np.frombuffer(data, dtype, size // dtype.itemsize, at).reshape(shape)
        at += size
