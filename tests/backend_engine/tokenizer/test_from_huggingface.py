"""Tokenizers from tokenizer.json give the ids of transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import AddedToken, decoders
from tokenizers.processors import TemplateProcessing

from backend_engine.errors import CheckpointError, UnsupportedModel
from backend_engine.tokenizer.from_huggingface import tokenizer_from_directory
from tests.backend_engine.support.nasty_texts import NASTY_TEXTS
from tests.backend_engine.support.references import reference_ids
from tests.backend_engine.support.trained_tokenizers import train_byte_level, train_sentencepiece

BYTE_LEVEL_SETTINGS = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<|im_start|>",
    "eos_token": {"content": "<|im_end|>", "__type": "AddedToken"},
}


def byte_level() -> tokenizers.Tokenizer:
    trained = train_byte_level()
    trained.add_tokens([AddedToken("<think>", normalized=False, special=False)])
    trained.post_processor = TemplateProcessing(
        single="<|im_start|> $A", pair=None, special_tokens=[("<|im_start|>", 1)]
    )
    return trained


def sentencepiece() -> tokenizers.Tokenizer:
    trained = train_sentencepiece()
    trained.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return trained


def write(directory: Path, trained: tokenizers.Tokenizer, settings: dict[str, Any]) -> Path:
    trained.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory


KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "byte level, BOS by its post-processor": (byte_level, BYTE_LEVEL_SETTINGS),
    "byte level, flags that have no effect": (
        byte_level,
        {**BYTE_LEVEL_SETTINGS, "add_bos_token": False, "add_eos_token": True},
    ),
    "sentencepiece": (
        sentencepiece,
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_text_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    make, settings = KINDS[kind]
    directory = write(tmp_path, make(), settings)
    tokenizer, reference = tokenizer_from_directory(directory), AutoTokenizer.from_pretrained(directory)
    assert (tokenizer.bos_id, tokenizer.eos_ids) == (reference.bos_token_id, {reference.eos_token_id})
    assert tokenizer.vocab_size == len(reference)
    for text in NASTY_TEXTS:
        for add_special in (False, True):
            ids = tokenizer.encode(text, add_special=add_special)
            assert ids == reference_ids(reference, text, add_special=add_special), text
            assert tokenizer.decode(ids) == reference.decode(ids, skip_special_tokens=True), text


def test_truncation_and_padding_saved_with_the_tokenizer_are_ignored(tmp_path: Path) -> None:
    trained = byte_level()
    trained.enable_truncation(4)
    trained.enable_padding(length=50)
    tokenizer = tokenizer_from_directory(write(tmp_path, trained, BYTE_LEVEL_SETTINGS))
    assert 4 < len(tokenizer.encode("a b c d e f")) < 50


def test_settings_are_optional(tmp_path: Path) -> None:
    train_byte_level().save(str(tmp_path / "tokenizer.json"))
    tokenizer = tokenizer_from_directory(tmp_path)
    assert (tokenizer.bos_id, tokenizer.eos_ids) == (None, frozenset())


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: no such file"):
        tokenizer_from_directory(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0", "model": ')
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: .*cannot be built"):
        tokenizer_from_directory(tmp_path)
    write(tmp_path, byte_level(), {})
    (tmp_path / "tokenizer_config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: not a JSON object"):
        tokenizer_from_directory(tmp_path)


def test_a_decoder_of_another_family_is_refused(tmp_path: Path) -> None:
    trained = train_byte_level()
    trained.decoder = decoders.WordPiece()
    with pytest.raises(UnsupportedModel, match="WordPiece"):
        tokenizer_from_directory(write(tmp_path, trained, {}))
