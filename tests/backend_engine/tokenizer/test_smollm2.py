"""SmolLM2's tokenizer, read from its GGUF file, against transformers'."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

from backend_engine.loading.checkpoint import load_checkpoint
from backend_engine.tokenizer import Tokenizer
from tests.backend_engine.support.nasty_texts import NASTY_TEXTS
from tests.backend_engine.support.references import reference_from_gguf, reference_ids

_CUT_ELSEWHERE = re.compile(r"\s\s[0-9]|[²³½٠-٩०-९Ⅻ]")
"""Numbers behind a run of spaces, and digits that are not ASCII: see `published`."""


@pytest.fixture(scope="module")
def tokenizer(smollm2_path: Path) -> Tokenizer:
    return load_checkpoint(smollm2_path).tokenizer


@pytest.fixture(scope="module")
def reference(smollm2_path: Path) -> Any:
    return reference_from_gguf(smollm2_path)


@pytest.fixture(scope="module")
def published(smollm2_path: Path) -> Any:
    """The reference with the pre-tokenizer of SmolLM2's own tokenizer.json.

    The GGUF file names it (`smollm`: digits stand alone), but transformers does not know the name and
    falls back to GPT-2's, which takes a number together with the space before it.
    """
    tokenizer = reference_from_gguf(smollm2_path)
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    )
    return tokenizer


@pytest.mark.parametrize("text", NASTY_TEXTS)
def test_ids_are_those_of_the_published_tokenizer(text: str, tokenizer: Tokenizer, published: Any) -> None:
    assert tokenizer.encode(text) == reference_ids(published, text)


@pytest.mark.parametrize("text", [text for text in NASTY_TEXTS if not _CUT_ELSEWHERE.search(text)])
def test_ids_are_those_of_transformers(text: str, tokenizer: Tokenizer, reference: Any) -> None:
    assert tokenizer.encode(text) == reference_ids(reference, text)


def test_ids_of_random_texts_are_those_of_the_published_tokenizer(
    tokenizer: Tokenizer, published: Any
) -> None:
    chance = random.Random(11)
    pieces = [char for text in NASTY_TEXTS for char in set(text)] + ["<|im_end|>", "  ", "\n\n", "the "]
    for _ in range(400):
        text = "".join(chance.choices(pieces, k=chance.randrange(1, 60)))
        assert tokenizer.encode(text) == reference_ids(published, text), repr(text)


@pytest.mark.parametrize("text", NASTY_TEXTS)
def test_decoding_gives_what_transformers_gives(text: str, tokenizer: Tokenizer, published: Any) -> None:
    ids = tokenizer.encode(text)
    for skip in (True, False):
        assert tokenizer.decode(ids, skip_special=skip) == published.decode(ids, skip_special_tokens=skip)


def test_texts_that_differ_from_transformers_are_numbers_behind_runs_of_space(
    tokenizer: Tokenizer, reference: Any
) -> None:
    text = "x  12"
    assert tokenizer.encode(text) != reference_ids(reference, text)


def test_special_ids(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 49152
    assert tokenizer.bos_id == 1
    assert tokenizer.eos_ids == {2}
    assert [token for token in range(20) if tokenizer.is_special(token)] == list(range(17))
