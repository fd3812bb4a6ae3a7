"""The default embedder: right against fp32, and the same bits in any company."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel

from backend_engine.native.encoder import NativeEncoder
from semantic_cache.embed.base import Encoding
from semantic_cache.embed.bert import BertEmbedder
from semantic_cache.embed.checkpoint import load_checkpoint
from semantic_cache.embed.numpy_encoder import NumpyEncoder
from tests.semantic_cache.support.bert_folder import write_bert
from tests.semantic_cache.support.questions import QUESTIONS


def bits(encoding: Encoding) -> tuple[bytes, bytes, bytes]:
    return encoding.vector.tobytes(), encoding.tokens.tobytes(), encoding.spans.tobytes()


def reference(folder: Path, text: str, first_token: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vector and token states in fp32."""
    ids = load_checkpoint(folder).tokenizer.encode(text).ids
    with torch.inference_mode():
        states = AutoModel.from_pretrained(folder).eval()(torch.tensor([ids])).last_hidden_state[0]
    pooled = states[0] if first_token else states.mean(0)
    return (pooled / pooled.norm()).numpy(), states.numpy()


def test_a_vector_is_the_same_bits_alone_and_in_any_batch(embedder: BertEmbedder) -> None:
    alone = [bits(embedder.encode([text])[0]) for text in QUESTIONS]
    order = list(range(len(QUESTIONS)))
    for seed in range(4):
        random.Random(seed).shuffle(order)
        for size in (2, 5, len(order)):
            for begin in range(0, len(order), size):
                batch = order[begin : begin + size]
                encodings = embedder.encode([QUESTIONS[at] for at in batch])
                assert [bits(one) for one in encodings] == [alone[at] for at in batch]


def test_more_threads_change_no_bit(embedder: BertEmbedder, minilm: Path) -> None:
    two = BertEmbedder("minilm-l6", minilm, lambda weights: NativeEncoder(weights, threads=2))
    assert two.id == embedder.id
    for one, other in zip(embedder.encode(QUESTIONS), two.encode(QUESTIONS), strict=True):
        assert bits(one) == bits(other)


def test_it_is_near_fp32(embedder: BertEmbedder, minilm: Path) -> None:
    for text in [QUESTIONS[0], QUESTIONS[2], QUESTIONS[5], QUESTIONS[6], QUESTIONS[10]]:
        vector, states = reference(minilm, text)
        ours = embedder.encode([text])[0]
        assert float(vector @ ours.vector) > 0.999
        assert ours.tokens.shape == states.shape
        cosines = np.sum(ours.tokens * states, axis=1)
        cosines /= np.linalg.norm(ours.tokens, axis=1) * np.linalg.norm(states, axis=1)
        assert cosines.min() > 0.99


def test_the_first_token_pools_where_the_model_says_so(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "cls", pooling="cls_token")
    ours = BertEmbedder("cls", folder).encode(["how do i reset my account"])[0]
    vector, _ = reference(folder, "how do i reset my account", first_token=True)
    assert float(vector @ ours.vector) > 0.999
    assert float(reference(folder, "how do i reset my account")[0] @ ours.vector) < 0.99


def test_paraphrases_are_nearer_than_other_questions(embedder: BertEmbedder) -> None:
    reset, again, capital = (one.vector for one in embedder.encode(QUESTIONS[:3]))
    assert float(reset @ again) > 0.8
    assert float(reset @ capital) < 0.2


def test_spans_point_at_the_words(embedder: BertEmbedder) -> None:
    text = "Ærøskøbing, 😀 Paris?"
    encoding = embedder.encode([text])[0]
    words = [text[begin:end] for begin, end in encoding.spans.tolist()]
    assert words[0] == words[-1] == ""
    assert words[-3:-1] == ["Paris", "?"]
    assert "".join(words).replace(" ", "") == text.replace(" ", "")
    assert len(encoding.tokens) == len(encoding.spans)


def test_a_long_text_is_cut_and_its_spans_show_where(embedder: BertEmbedder) -> None:
    encoding = embedder.encode(["stone " * 1000])[0]
    assert len(encoding.tokens) == 256
    assert encoding.spans[-2].tolist() == [6 * 253, 6 * 253 + 5]


def test_nothing_is_no_work(embedder: BertEmbedder) -> None:
    assert embedder.encode([]) == []


def test_vectors_have_unit_length(embedder: BertEmbedder) -> None:
    for encoding in embedder.encode(QUESTIONS):
        assert abs(float(np.linalg.norm(encoding.vector.astype(np.float64))) - 1) < 1e-6


def test_the_id_stands_for_these_bits(embedder: BertEmbedder, tiny: Path) -> None:
    """If this fails, stored vectors are of another space: NUMERICS must change with the arithmetic."""
    assert embedder.id == "minilm-l6:7ec90ad28148:int8"
    digest = hashlib.sha256(b"".join(one.vector.tobytes() for one in embedder.encode(QUESTIONS))).hexdigest()
    assert digest[:16] == "db03231e8bbd076e"
    assert BertEmbedder("minilm-l6", tiny).id != embedder.id


def test_without_a_compiler_numpy_gives_the_same_bits(embedder: BertEmbedder, minilm: Path) -> None:
    slow = BertEmbedder("minilm-l6", minilm, NumpyEncoder)
    assert slow.id == embedder.id
    texts = [QUESTIONS[0], QUESTIONS[7]]
    for one, other in zip(embedder.encode(texts), slow.encode(texts), strict=True):
        assert bits(one) == bits(other)
