"""Tokenizers from GGUF metadata give the ids of transformers, and broken metadata is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import pytest
from tokenizers import Regex, pre_tokenizers
from tokenizers.normalizers import NFC

from backend_engine.errors import CheckpointError, ModelError, UnsupportedModel
from backend_engine.tokenizer import Tokenizer
from backend_engine.tokenizer.from_gguf import tokenizer_from_gguf
from tests.backend_engine.support.nasty_texts import NASTY_TEXTS
from tests.backend_engine.support.references import reference_from_gguf, reference_ids
from tests.backend_engine.support.trained_tokenizers import (
    gguf_metadata,
    train_byte_level,
    train_sentencepiece,
)

_LETTERS_AND_REST = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
KINDS = ["gpt-2", "default", "llama-bpe", "qwen2", "llama"]


def metadata_of(kind: str) -> dict[str, Any]:
    if kind == "llama":
        return gguf_metadata(train_sentencepiece(), "llama")
    # Trained on a split that leaves numbers of several digits together, so that a wrong one would show.
    split = pre_tokenizers.Split(Regex(_LETTERS_AND_REST), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trained = train_byte_level(pre_tokenizers.Sequence([split, byte_level]), vocab_size=900)
    return gguf_metadata(trained, "gpt2", kind)


def write_gguf(metadata: dict[str, Any], path: Path) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in metadata.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Any]:
    metadata = metadata_of(request.param)
    path = write_gguf(metadata, tmp_path_factory.mktemp("gguf") / "vocabulary.gguf")
    reference = reference_from_gguf(path)
    if request.param == "qwen2":
        # Qwen's own tokenizer.json normalises; what transformers makes of a GGUF file leaves that out.
        reference.backend_tokenizer.normalizer = NFC()
    return tokenizer_from_gguf(path, metadata), reference


@pytest.mark.parametrize("text", NASTY_TEXTS)
def test_ids_and_text_are_those_of_transformers(text: str, pair: tuple[Tokenizer, Any]) -> None:
    tokenizer, reference = pair
    for add_special in (False, True):
        ids = tokenizer.encode(text, add_special=add_special)
        assert ids == reference_ids(reference, text, add_special=add_special)
        for skip in (False, True):
            assert tokenizer.decode(ids, skip_special=skip) == reference.decode(ids, skip_special_tokens=skip)


def test_sentencepiece_adds_bos_by_default_and_byte_level_does_not() -> None:
    sentencepiece = tokenizer_from_gguf(Path("a"), metadata_of("llama"))
    assert sentencepiece.encode("hi", add_special=True)[0] == sentencepiece.bos_id
    byte_level = tokenizer_from_gguf(Path("a"), metadata_of("gpt-2"))
    assert byte_level.encode("hi", add_special=True) == byte_level.encode("hi")


def test_llama3_takes_whole_words_without_merging() -> None:
    metadata = metadata_of("llama-bpe")
    metadata["tokenizer.ggml.tokens"].append("qqq")
    metadata["tokenizer.ggml.token_type"].append(1)
    assert tokenizer_from_gguf(Path("a"), metadata).encode("qqq") == [900]
    metadata["tokenizer.ggml.pre"] = "gpt-2"
    assert len(tokenizer_from_gguf(Path("a"), metadata).encode("qqq")) > 1


def test_flags_put_bos_and_eos_around() -> None:
    metadata = metadata_of("gpt-2")
    metadata |= {"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.add_eos_token": True}
    tokenizer = tokenizer_from_gguf(Path("a"), metadata)
    assert tokenizer.encode("hi", add_special=True) == [1, *tokenizer.encode("hi"), 2]


def test_every_kind_of_end_token_ends() -> None:
    metadata = metadata_of("gpt-2") | {"tokenizer.ggml.eot_token_id": 0}
    assert tokenizer_from_gguf(Path("a"), metadata).eos_ids == {0, 2}


def test_user_defined_tokens_stay_whole_but_are_text() -> None:
    metadata = metadata_of("gpt-2")
    metadata["tokenizer.ggml.tokens"].append("<think>")
    metadata["tokenizer.ggml.token_type"].append(4)
    tokenizer = tokenizer_from_gguf(Path("a"), metadata)
    last = len(metadata["tokenizer.ggml.tokens"]) - 1
    assert tokenizer.encode("<think>") == [last]
    assert not tokenizer.is_special(last)
    assert tokenizer.token_bytes(last) == b"<think>"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model": "bert"}, UnsupportedModel, "bert"),
        ({"model": None}, UnsupportedModel, "None"),
        ({"pre": "tekken"}, UnsupportedModel, "tekken"),
        ({"tokens": None}, CheckpointError, "tokens"),
        ({"tokens": [1, 2]}, CheckpointError, "tokens"),
        ({"merges": None}, CheckpointError, "merges"),
        ({"merges": ["lonely"]}, CheckpointError, "lonely"),
        ({"merges": [7]}, CheckpointError, "7"),
        ({"merges": ["not known"]}, CheckpointError, "cannot be built"),
        ({"bos_token_id": 99_999}, CheckpointError, "99999"),
        ({"eos_token_id": "2"}, CheckpointError, "'2'"),
    ],
)
def test_broken_metadata_is_refused(changes: dict[str, Any], error: type[ModelError], words: str) -> None:
    metadata = metadata_of("gpt-2")
    for key, value in changes.items():
        if value is None:
            del metadata[f"tokenizer.ggml.{key}"]
        else:
            metadata[f"tokenizer.ggml.{key}"] = value
    with pytest.raises(error, match=words):
        tokenizer_from_gguf(Path("a.gguf"), metadata)


def test_sentencepiece_scores_must_match_the_tokens() -> None:
    metadata = metadata_of("llama")
    metadata["tokenizer.ggml.scores"].pop()
    with pytest.raises(CheckpointError, match="scores"):
        tokenizer_from_gguf(Path("a.gguf"), metadata)
