"""The verifier: NumPy says what the network in PyTorch says, and it abstains when blind."""

import numpy as np
import pytest
import torch

from semantic_cache.decision.tokens import MAX_TOKENS, sides
from semantic_cache.decision.train.fit import collate
from semantic_cache.decision.train.network import Network
from semantic_cache.decision.verifier import Verifier, coverage
from semantic_cache.gates.text import parse
from tests.semantic_cache.support.word_encodings import WordEncoding, encode

PAIRS = [
    ("How do I repair a kettle?", "What is the best way to fix a kettle?"),
    ("Is Alma a judge?", "Is Alma hungry?"),
    ("Why?", "Why not use a much longer question with many more words in it than the other one has?"),
]


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier.load()


def score(verifier: Verifier, a: str, b: str) -> float | None:
    return verifier.score(parse(a), parse(b), encode(a), encode(b))


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_numpy_and_torch_agree(verifier: Verifier, a: str, b: str) -> None:
    network = Network()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in verifier.weights.items()})
    network.eval()
    one, other = encode(a), encode(b)
    pair = sides(parse(a), parse(b), one, other)
    longer = sides(parse(PAIRS[2][1]), parse(PAIRS[2][1]), encode(PAIRS[2][1]), encode(PAIRS[2][1]))
    assert pair is not None
    assert longer is not None
    # The second, longer pair makes padding of the first.
    (x, fx, mx, y, fy, my, cosine), _ = collate(
        [(*pair, float(one.vector @ other.vector), 1.0), (*longer, 1.0, 1.0)]
    )
    with torch.no_grad():
        expected = float(network(network.joined(x, y, (fx, fy), (mx, my), cosine))[0])
    assert score(verifier, a, b) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_it_is_symmetric(verifier: Verifier, a: str, b: str) -> None:
    assert score(verifier, a, b) == pytest.approx(score(verifier, b, a), abs=1e-3)


def test_it_abstains_without_tokens_on_cut_or_overlong_texts_and_on_another_width(verifier: Verifier) -> None:
    text = parse("How do I repair a kettle?")
    whole = encode(text.raw)
    none = WordEncoding(whole.vector, whole.tokens[:0], whole.spans[:0])
    cut = WordEncoding(whole.vector, whole.tokens[:4], whole.spans[:4])
    narrow = WordEncoding(whole.vector[:8], whole.tokens[:, :8], whole.spans)
    endless = "How long is it " * MAX_TOKENS
    assert verifier.score(text, text, whole, none) is None
    assert verifier.score(text, text, cut, whole) is None
    assert verifier.score(text, text, narrow, narrow) is None
    assert verifier.score(text, parse(endless), whole, encode(endless)) is None
    assert verifier.score(text, text, whole, whole) is not None


def test_coverage_sees_a_stretch_that_nothing_matches() -> None:
    alike = np.eye(8, dtype=np.float32)
    alike[3:6, 3:6] = 0
    full, gap = coverage(np.eye(8, dtype=np.float32)), coverage(alike)
    assert np.all(gap <= full)
    assert gap[3] == 0
    assert full[3] == 1
