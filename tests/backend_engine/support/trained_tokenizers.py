"""Small tokenizers, trained on the spot, in the two families and as GGUF metadata."""

from __future__ import annotations

from typing import Any

import tokenizers
from tokenizers import decoders, pre_tokenizers, trainers
from tokenizers.models import BPE

from tests.backend_engine.support.nasty_texts import NASTY_TEXTS

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SENTENCEPIECE_SPECIAL = ["<unk>", "<s>", "</s>"]
_CORPUS = [*NASTY_TEXTS, *(f"Some more words number {number} of a small corpus" for number in range(300))]


def train_byte_level(
    pre_tokenizer: pre_tokenizers.PreTokenizer | None = None, vocab_size: int = 700
) -> tokenizers.Tokenizer:
    """Train a byte-level BPE; ids 0 to 2 are SPECIAL."""
    tokenizer = tokenizers.Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


def train_sentencepiece(vocab_size: int = 600) -> tokenizers.Tokenizer:
    """Train a BPE in SentencePiece's manner with byte fallback; ids 0 to 2 are SENTENCEPIECE_SPECIAL."""
    byte_pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = tokenizers.Tokenizer(BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SENTENCEPIECE_SPECIAL, *byte_pieces],
        limit_alphabet=80,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


def gguf_metadata(trained: tokenizers.Tokenizer, kind: str, pre: str | None = None) -> dict[str, Any]:
    """Return `trained` as the values of GGUF's `tokenizer.ggml.*` keys.

    SentencePiece vocabularies carry no merges there but scores, which fall with the id.
    """
    vocab = trained.get_vocab(with_added_tokens=True)
    tokens = sorted(vocab, key=vocab.__getitem__)
    values: dict[str, Any] = {"model": kind, "tokens": tokens}
    if kind == "gpt2":
        values["pre"] = pre
        values["token_type"] = [3 if token in SPECIAL else 1 for token in tokens]
        values["merges"] = [" ".join(merge) for merge in bpe_state(trained)["merges"]]
        values["bos_token_id"], values["eos_token_id"] = 1, 2
    else:
        types = {"<unk>": 2, "<s>": 3, "</s>": 3}
        values["token_type"] = [types.get(token, 6 if token.startswith("<0x") else 1) for token in tokens]
        values["scores"] = [0.0 if values["token_type"][i] != 1 else -float(i) for i in range(len(tokens))]
        values["bos_token_id"], values["eos_token_id"], values["unknown_token_id"] = 1, 2, 0
    return {f"tokenizer.ggml.{key}": value for key, value in values.items()}


def bpe_state(trained: tokenizers.Tokenizer) -> dict[str, Any]:
    """Return vocabulary and merges of `trained`."""
    import json

    model: dict[str, Any] = json.loads(trained.to_str())["model"]
    return model
