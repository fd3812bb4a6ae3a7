"""Builds a tokenizer from tokenizer.json and tokenizer_config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers

from backend_engine.errors import CheckpointError, UnsupportedModel
from backend_engine.loading.json_file import read_json_object
from backend_engine.tokenizer.pieces import PieceBytes, byte_level_bytes, sentencepiece_bytes
from backend_engine.tokenizer.tokenizer import Tokenizer


def tokenizer_from_directory(directory: Path) -> Tokenizer:
    """Build the tokenizer in `directory`.

    What `add_special` adds is what tokenizer.json says; `add_bos_token` and `add_eos_token` of
    tokenizer_config.json have no effect beside it, as in `transformers`. Raises CheckpointError for files
    that are missing or unreadable, UnsupportedModel for a decoder that is neither byte-level nor
    SentencePiece's.
    """
    path = directory / "tokenizer.json"
    if not path.exists():
        raise CheckpointError(f"{path}: no such file")
    try:
        backend = tokenizers.Tokenizer.from_buffer(path.read_bytes())
    except Exception as error:  # `tokenizers` raises plain Exception or ValueError
        raise CheckpointError(f"{path}: the tokenizer cannot be built: {error}") from error
    backend.no_truncation()
    backend.no_padding()
    settings = read_json_object(directory / "tokenizer_config.json", optional=True)

    def named(key: str) -> int | None:
        content = token_content(settings.get(key))
        return None if content is None else backend.token_to_id(content)

    bos, eos = named("bos_token"), named("eos_token")
    return Tokenizer(
        backend,
        _piece_bytes(path, backend),
        bos_id=bos,
        eos_ids=frozenset() if eos is None else frozenset({eos}),
    )


def token_content(entry: Any) -> str | None:
    """Return the text of a token in tokenizer_config.json, which is a string or an object."""
    content = entry.get("content") if isinstance(entry, dict) else entry
    return content if isinstance(content, str) else None


def _piece_bytes(path: Path, backend: tokenizers.Tokenizer) -> PieceBytes:
    decoder = json.loads(backend.decoder.__getstate__()) if backend.decoder is not None else {}
    kinds = {decoder.get("type"), *(step.get("type") for step in decoder.get("decoders", ()))}
    if "ByteLevel" in kinds:
        return byte_level_bytes
    if kinds & {"ByteFallback", "Metaspace"}:
        return sentencepiece_bytes
    raise UnsupportedModel(
        f"{path}: decoder {decoder.get('type')!r} is neither byte-level nor SentencePiece's"
    )
