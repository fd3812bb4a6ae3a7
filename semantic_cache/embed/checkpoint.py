"""Reads a BERT text encoder from a Hugging Face directory in the layout of sentence-transformers.

    config.json, model.safetensors, tokenizer.json      the network
    modules.json, 1_Pooling/config.json                 how token states become one vector
    sentence_bert_config.json                           the longest text

Linear weights are rounded to eight bits here (absmax / 127 of each 32 inputs, as the engine rounds its own);
tables, norms and biases stay fp32, the tables in the file's own pages.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from backend_engine.native.encoder import BLOCK, EightBitLinear, EncoderLayer, EncoderWeights
from semantic_cache.embed.errors import BadEmbedder

_LEVELS = 127
_OFFSET = 128
_SMALLEST = 2.0**-24
"""The smallest fp16 above 0."""
_HEAD_STEP = 16
_DIGEST_CHARS = 12


class UnsupportedNetwork(BadEmbedder):
    """A model that is not a BERT of the shape that our kernels compute; its library may load it."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A text encoder, ready for a runtime."""

    weights: EncoderWeights
    tokenizer: Tokenizer
    """Adds the special tokens, cuts at the longest text, and pads nothing."""
    digest: str
    """Of everything that decides what the vectors are, numerics apart."""


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read `folder`. Raises BadEmbedder if it cannot be read, UnsupportedNetwork if it is no such encoder."""
    try:
        config, pooling = _json(folder / "config.json"), _pooling(folder)
        _check(config)
        digest = _digest(folder)
        tensors = _Tensors(folder / "model.safetensors")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        longest = min(_longest(folder), int(config["max_position_embeddings"]))
        weights = EncoderWeights(
            heads=config["num_attention_heads"],
            eps=config["layer_norm_eps"],
            first_token_pools=pooling == "cls",
            words=tensors["embeddings.word_embeddings.weight"],
            positions=tensors["embeddings.position_embeddings.weight"],
            type=tensors["embeddings.token_type_embeddings.weight"][0],
            norm=tensors.pair("embeddings.LayerNorm"),
            layers=[_layer(tensors, f"encoder.layer.{at}.") for at in range(config["num_hidden_layers"])],
        )
    except OSError as error:
        raise BadEmbedder(f"The embedder in {folder} cannot be read: {error}.") from error
    except (KeyError, ValueError, TypeError) as error:
        raise BadEmbedder(f"The embedder in {folder} is not whole: {error}.") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    if tokenizer.get_vocab_size() > len(weights.words):
        raise BadEmbedder(f"The tokenizer in {folder} knows more tokens than the weights.")
    return Checkpoint(weights, tokenizer, digest)


class _Tensors:
    """The arrays of a safetensors file, mapped, by name; a prefix `bert.` is passed over."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        self._bytes = np.memmap(path, np.uint8, "r", offset=8 + length)
        self._entries: dict[str, Any] = {name.removeprefix("bert."): entry for name, entry in header.items()}

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        entry = self._entries[name]
        dtype = {"F32": np.float32, "F16": np.float16}.get(entry["dtype"])
        if dtype is None:
            raise UnsupportedNetwork(f"Weights of type {entry['dtype']} are not read here.")
        begin, end = entry["data_offsets"]
        return self._bytes[begin:end].view(dtype).reshape(entry["shape"]).astype(np.float32, copy=False)

    def pair(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return a norm's weight and bias."""
        return self[f"{name}.weight"], self[f"{name}.bias"]


def _layer(tensors: _Tensors, prefix: str) -> EncoderLayer:
    attention = [f"{prefix}attention.self.{part}" for part in ("query", "key", "value")]
    return EncoderLayer(
        qkv=_linear(tensors, *attention),
        output=_linear(tensors, f"{prefix}attention.output.dense"),
        up=_linear(tensors, f"{prefix}intermediate.dense"),
        down=_linear(tensors, f"{prefix}output.dense"),
        attention_norm=tensors.pair(f"{prefix}attention.output.LayerNorm"),
        output_norm=tensors.pair(f"{prefix}output.LayerNorm"),
    )


def _linear(tensors: _Tensors, *names: str) -> EightBitLinear:
    weight = np.concatenate([tensors[f"{name}.weight"] for name in names])
    bias = np.concatenate([tensors[f"{name}.bias"] for name in names])
    blocks = weight.reshape(len(weight), -1, BLOCK)
    scales = np.maximum(np.abs(blocks).max(axis=2) / np.float32(_LEVELS), _SMALLEST).astype(np.float16)
    codes = np.clip(np.rint(blocks / scales[:, :, None].astype(np.float32)), -_LEVELS, _LEVELS) + _OFFSET
    return EightBitLinear(codes.astype(np.uint8), scales, bias)


def _check(config: dict[str, Any]) -> None:
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    fits = (
        config.get("model_type") == "bert"
        and config.get("hidden_act") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and hidden % BLOCK == 0
        and int(config["intermediate_size"]) % BLOCK == 0
        and hidden % (heads * _HEAD_STEP) == 0
    )
    if not fits:
        raise UnsupportedNetwork("This model is not a BERT with GELU and heads of whole vectors.")


def _pooling(folder: Path) -> str:
    modules = _json(folder / "modules.json")
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling", "Normalize"], ["Transformer", "Pooling"]):
        raise UnsupportedNetwork(f"A model of the modules {', '.join(kinds)} is not computed here.")
    pooling = _json(folder / modules[1]["path"] / "config.json")
    chosen = [name for name, value in pooling.items() if name.startswith("pooling_mode_") and value is True]
    if chosen == ["pooling_mode_mean_tokens"]:
        return "mean"
    if chosen == ["pooling_mode_cls_token"]:
        return "cls"
    raise UnsupportedNetwork("Only pooling by mean or by the first token is computed here.")


def _longest(folder: Path) -> int:
    path = folder / "sentence_bert_config.json"
    return int(_json(path)["max_seq_length"]) if path.exists() else 512


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in ("model.safetensors", "tokenizer.json"):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    for shape in (_json(folder / "config.json"), _pooling(folder), _longest(folder)):
        digest.update(json.dumps(shape, sort_keys=True).encode())
    return digest.hexdigest()[:_DIGEST_CHARS]


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())
