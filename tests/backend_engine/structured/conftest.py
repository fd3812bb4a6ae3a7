"""The real model's vocabulary, shared by the grammar tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend_engine.loading.checkpoint import load_checkpoint
from backend_engine.structured.compiler import GrammarCompiler
from backend_engine.structured.vocabulary import Vocabulary
from backend_engine.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def tokenizer(smollm2_path: Path) -> Tokenizer:
    return load_checkpoint(smollm2_path).tokenizer


@pytest.fixture(scope="session")
def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    return Vocabulary(tokenizer, vocab_size=tokenizer.vocab_size, end_ids=tokenizer.eos_ids)


@pytest.fixture
def compiler(vocabulary: Vocabulary) -> GrammarCompiler:
    return GrammarCompiler(vocabulary)
