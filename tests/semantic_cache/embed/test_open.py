"""Which embedder a source gets."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from semantic_cache.embed.bert import BertEmbedder
from semantic_cache.embed.errors import BadEmbedder
from semantic_cache.embed.open import LocalModel, UpstreamModel, open_embedder
from semantic_cache.embed.sentence_transformers import SentenceTransformersEmbedder
from tests.semantic_cache.support.bert_folder import write_bert


def test_a_bert_runs_on_our_kernels(tiny: Path) -> None:
    assert isinstance(open_embedder(LocalModel("tiny", tiny)), BertEmbedder)


def test_another_model_runs_in_its_library(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "max", pooling="max_tokens")
    assert isinstance(open_embedder(LocalModel("max", folder)), SentenceTransformersEmbedder)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadEmbedder, match="nowhere"):
        open_embedder(LocalModel("x", tmp_path / "nowhere"))


def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(BadEmbedder, match="cannot be reached"):
        open_embedder(UpstreamModel("http://127.0.0.1:9/v1", "embed-1"))


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(BadEmbedder, match="pip install"):
        open_embedder(LocalModel("some/model"))


def test_library_and_kernels_agree_on_a_model_that_both_know(tiny: Path) -> None:
    library, kernels = SentenceTransformersEmbedder("tiny", str(tiny)), BertEmbedder("tiny", tiny)
    texts = ["how do i reset my account", "red stone", ""]
    alone = [library.encode([text])[0] for text in texts]
    for one, other, ours in zip(library.encode(texts), alone, kernels.encode(texts), strict=True):
        assert one.vector.tobytes() == other.vector.tobytes()
        assert float(one.vector @ ours.vector) > 0.999
        assert one.tokens.shape == ours.tokens.shape
        assert np.array_equal(one.spans, ours.spans)
    assert library.dim == kernels.dim
    assert library.id != kernels.id
