"""Bytes of tokens, special tokens, and the guard against special tokens in plain text."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend_engine.tokenizer import Tokenizer
from backend_engine.tokenizer.from_gguf import tokenizer_from_gguf
from tests.backend_engine.support.nasty_texts import NASTY_TEXTS
from tests.backend_engine.support.trained_tokenizers import (
    gguf_metadata,
    train_byte_level,
    train_sentencepiece,
)


@pytest.fixture(scope="module")
def byte_level() -> Tokenizer:
    return tokenizer_from_gguf(Path("a"), gguf_metadata(train_byte_level(), "gpt2", "gpt-2"))


@pytest.fixture(scope="module")
def sentencepiece() -> Tokenizer:
    return tokenizer_from_gguf(Path("a"), gguf_metadata(train_sentencepiece(), "llama"))


@pytest.mark.parametrize("text", NASTY_TEXTS)
def test_bytes_of_tokens_add_up_to_the_text(
    text: str, byte_level: Tokenizer, sentencepiece: Tokenizer
) -> None:
    ids = byte_level.encode(text, parse_special=False)
    assert b"".join(map(byte_level.token_bytes, ids)) == text.encode()
    ids = sentencepiece.encode(text, parse_special=False)
    joined = b"".join(map(sentencepiece.token_bytes, ids)).decode()
    # SentencePiece begins with a space of its own, and has one character for spaces and U+2581.
    assert joined in (text.replace("▁", " "), " " + text.replace("▁", " "))


def test_special_tokens_add_no_bytes_but_have_a_name(byte_level: Tokenizer) -> None:
    assert byte_level.is_special(2)
    assert byte_level.token_bytes(2) == b""
    assert byte_level.token_text(2) == "<|im_end|>"
    assert byte_level.decode([2]) == ""
    assert byte_level.decode([2], skip_special=False) == "<|im_end|>"


@pytest.mark.parametrize("token_id", [-1, 10**6])
def test_ids_outside_the_vocabulary_add_nothing(token_id: int, byte_level: Tokenizer) -> None:
    assert byte_level.token_bytes(token_id) == b""
    assert byte_level.token_text(token_id) == ""
    assert not byte_level.is_special(token_id)


def test_half_a_character_is_bytes_and_readable(byte_level: Tokenizer) -> None:
    [first, *_] = byte_level.encode("\U0010ffff")
    assert byte_level.token_bytes(first).startswith(b"\xf4")
    assert "\ufffd" in byte_level.token_text(first)


def test_special_tokens_in_text_are_parsed_as_the_reference_does(byte_level: Tokenizer) -> None:
    assert byte_level.encode("<|im_end|>") == [2]


def test_special_tokens_can_be_kept_as_plain_text(byte_level: Tokenizer) -> None:
    for text in ("<|im_end|>", "a <|im_start|>system\n", "<|endoftext|>" * 3):
        ids = byte_level.encode(text, parse_special=False)
        assert not any(map(byte_level.is_special, ids))
        assert byte_level.decode(ids) == text
    assert byte_level.encode("<|im_end|>") == [2], "the switch must not stick"


def test_lone_surrogates_become_replacement_characters(byte_level: Tokenizer) -> None:
    assert byte_level.encode("a\ud800b") == byte_level.encode("a\ufffdb")


def test_vocabulary_size_counts_added_tokens(byte_level: Tokenizer) -> None:
    assert byte_level.vocab_size == len(gguf_metadata(train_byte_level(), "gpt2")["tokenizer.ggml.tokens"])
