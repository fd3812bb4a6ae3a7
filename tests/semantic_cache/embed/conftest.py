from __future__ import annotations

from pathlib import Path

import pytest

from gateway.models.store import ModelStore
from semantic_cache.embed.bert import BertEmbedder
from tests.semantic_cache.support.bert_folder import write_bert


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT that pools by mean."""
    return write_bert(tmp_path_factory.mktemp("tiny-bert") / "model")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """MiniLM-L6, which `make models` has pulled."""
    return ModelStore().path("minilm-l6")


@pytest.fixture(scope="session")
def embedder(minilm: Path) -> BertEmbedder:
    return BertEmbedder("minilm-l6", minilm)
