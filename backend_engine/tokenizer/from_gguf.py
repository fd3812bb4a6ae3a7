"""Builds a tokenizer from the vocabulary in GGUF metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing

from backend_engine.errors import CheckpointError, UnsupportedModel
from backend_engine.tokenizer.pieces import byte_level_bytes, sentencepiece_bytes
from backend_engine.tokenizer.sentencepiece_merges import merges_from_scores
from backend_engine.tokenizer.text_rules import TEXT_RULES
from backend_engine.tokenizer.tokenizer import Tokenizer

_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 2, 3, 4, 6
_NAMED_KEYS = ("bos_token_id", "eos_token_id", "unknown_token_id", "padding_token_id")
_END_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")


def tokenizer_from_gguf(path: Path, metadata: Mapping[str, Any]) -> Tokenizer:
    """Build the tokenizer that `metadata`, read from the file at `path`, describes.

    Raises UnsupportedModel for a kind that is not built, CheckpointError for a vocabulary that
    contradicts itself.
    """
    kind = metadata.get("tokenizer.ggml.model")
    tokens = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise CheckpointError(f"{path}: tokenizer.ggml.tokens is missing or not a list of strings")
    try:
        if kind == "gpt2":
            backend = _byte_level(path, metadata, tokens)
            piece_bytes = byte_level_bytes
        elif kind == "llama":
            backend = _sentencepiece(path, metadata, tokens)
            piece_bytes = sentencepiece_bytes
        else:
            raise UnsupportedModel(f"{path}: tokenizer model {kind!r} is not supported (only gpt2 and llama)")
    except (UnsupportedModel, CheckpointError):
        raise
    except Exception as error:  # `tokenizers` raises plain Exception for vocabularies it cannot use
        raise CheckpointError(f"{path}: the tokenizer cannot be built: {error}") from error
    types = metadata.get("tokenizer.ggml.token_type", [])
    if not isinstance(types, list):
        raise CheckpointError(f"{path}: tokenizer.ggml.token_type is {types!r}, not a list")
    ids = {key: _token_id(path, metadata, key, len(tokens)) for key in (*_NAMED_KEYS, *_END_KEYS)}
    named = [token_id for key in _NAMED_KEYS if (token_id := ids[key]) is not None]
    _add_whole_tokens(backend, tokens, types, named)
    add_bos = metadata.get("tokenizer.ggml.add_bos_token", kind == "llama")
    add_eos = metadata.get("tokenizer.ggml.add_eos_token", False)
    _surround(
        backend,
        before=ids["bos_token_id"] if add_bos else None,
        after=ids["eos_token_id"] if add_eos else None,
    )
    eos_ids = frozenset(token_id for key in _END_KEYS if (token_id := ids[key]) is not None)
    return Tokenizer(backend, piece_bytes, bos_id=ids["bos_token_id"], eos_ids=eos_ids)


def _byte_level(path: Path, metadata: Mapping[str, Any], tokens: list[str]) -> tokenizers.Tokenizer:
    pre = metadata.get("tokenizer.ggml.pre", "default")
    if pre not in TEXT_RULES:
        known = ", ".join(TEXT_RULES)
        raise UnsupportedModel(f"{path}: pre-tokenizer {pre!r} is not supported (only {known})")
    merges = _merges(path, metadata)
    if merges is None:
        raise CheckpointError(f"{path}: tokenizer.ggml.merges is missing")
    rules = TEXT_RULES[pre]
    model = BPE(vocab=_vocab(tokens), merges=merges, ignore_merges=rules.whole_words_first)
    backend = tokenizers.Tokenizer(model)
    if rules.normalizer is not None:
        backend.normalizer = rules.normalizer()
    backend.pre_tokenizer = rules.pre_tokenizer()
    backend.decoder = decoders.ByteLevel()
    return backend


def _sentencepiece(path: Path, metadata: Mapping[str, Any], tokens: list[str]) -> tokenizers.Tokenizer:
    vocab = _vocab(tokens)
    merges = _merges(path, metadata)
    if merges is None:
        scores = metadata.get("tokenizer.ggml.scores")
        if not isinstance(scores, list) or len(scores) != len(tokens):
            raise CheckpointError(f"{path}: tokenizer.ggml.scores does not match the {len(tokens)} tokens")
        types = metadata.get("tokenizer.ggml.token_type", [])
        never = {index for index, kind in enumerate(types) if kind in (_UNKNOWN, _CONTROL, _BYTE)}
        merges = merges_from_scores(vocab, scores, never)
    unknown = _token_id(path, metadata, "unknown_token_id", len(tokens))
    backend = tokenizers.Tokenizer(
        BPE(
            vocab=vocab,
            merges=merges,
            fuse_unk=True,
            byte_fallback=True,
            unk_token=tokens[unknown] if unknown is not None else None,
        )
    )
    prefix_space = metadata.get("tokenizer.ggml.add_space_prefix", True)
    backend.pre_tokenizer = pre_tokenizers.Metaspace(
        replacement="▁", prepend_scheme="first" if prefix_space else "never", split=False
    )
    steps: list[decoders.Decoder] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if prefix_space:
        steps.append(decoders.Strip(content=" ", left=1))
    backend.decoder = decoders.Sequence(steps)
    return backend


def _vocab(tokens: Sequence[str]) -> dict[str, int]:
    return {token: index for index, token in enumerate(tokens)}


def _merges(path: Path, metadata: Mapping[str, Any]) -> list[tuple[str, str]] | None:
    lines = metadata.get("tokenizer.ggml.merges")
    if lines is None:
        return None
    merges: list[tuple[str, str]] = []
    for line in lines:
        left, space, right = line.partition(" ") if isinstance(line, str) else ("", "", "")
        if not (left and space and right):
            raise CheckpointError(f"{path}: {line!r} in tokenizer.ggml.merges is not a pair of tokens")
        merges.append((left, right))
    return merges


def _add_whole_tokens(
    backend: tokenizers.Tokenizer, tokens: Sequence[str], types: Sequence[int], named: Sequence[int]
) -> None:
    """Keep control and user-defined tokens in one piece; control tokens and `named` ones are special."""
    control = {index for index, kind in enumerate(types[: len(tokens)]) if kind == _CONTROL}
    special = [tokens[index] for index in sorted(control.union(named))]
    plain = [token for token, kind in zip(tokens, types, strict=False) if kind == _USER_DEFINED]
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    backend.add_tokens([AddedToken(token, normalized=False, special=False) for token in plain])


def _surround(backend: tokenizers.Tokenizer, *, before: int | None, after: int | None) -> None:
    """Make `add_special` put the token ids `before` and `after` around the text, where they are given."""
    prefix = [] if before is None else [f"t{before}"]
    suffix = [] if after is None else [f"t{after}"]
    names = {f"t{token_id}": token_id for token_id in (before, after) if token_id is not None}
    backend.post_processor = TemplateProcessing(
        single=[*prefix, "$A", *suffix], pair=None, special_tokens=list(names.items())
    )


def _token_id(path: Path, metadata: Mapping[str, Any], key: str, num_tokens: int) -> int | None:
    token_id = metadata.get(f"tokenizer.ggml.{key}")
    if token_id is None:
        return None
    if not isinstance(token_id, int) or not 0 <= token_id < num_tokens:
        raise CheckpointError(f"{path}: tokenizer.ggml.{key} is {token_id!r} in a vocabulary of {num_tokens}")
    return token_id
