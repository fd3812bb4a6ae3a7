"""The decision: what it serves without labels, what labels change, and what it explores."""

import hashlib
from dataclasses import dataclass
from random import Random

import msgspec
import pytest

from semantic_cache.decision.base import Assessment, Candidate, Decision, Encoding, Observation, Observations
from semantic_cache.decision.calibration import Calibration
from semantic_cache.decision.decider import AUDIT, CalibratedDecider
from semantic_cache.decision.features import NAMES
from semantic_cache.decision.verifier import Verifier
from semantic_cache.gates.checks import check
from semantic_cache.gates.text import Text
from tests.semantic_cache.support.word_encodings import encode

ASKED, STORED = "How do I repair a kettle?", "What is the best way to fix a kettle?"
# A rung at 4 that keeps 1%, one at 2 that keeps 3%; the score is the verifier's word.
LADDER = Calibration(
    "test", 0.0, {name: float(name == "verifier") for name in NAMES}, (2.0, 4.0), (0.03, 0.01)
)


@dataclass
class Says(Verifier):
    """A verifier of one opinion."""

    said: float | None

    def score(self, a: Text, b: Text, encoding_a: Encoding, encoding_b: Encoding) -> float | None:
        return self.said


def seed(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def decide(
    said: float | None,
    *,
    text: str = ASKED,
    stored: str = STORED,
    budget: float = 0.01,
    history: Observations | None = None,
    pool: Observations | None = None,
    threshold: float | None = None,
    at: int = 0,
) -> Decision:
    candidate = Candidate(7, stored, 0.9, encode(stored), history or Observations())
    decider = CalibratedDecider(Says(said), LADDER)
    return decider.decide(
        text, encode(text), [candidate], error_budget=budget, seed=seed(at), threshold=threshold, pool=pool
    )


def labels(score: float, right: int, wrong: int = 0, eligible: bool = True) -> Observations:
    seen = [Observation(score, True, eligible)] * right + [Observation(score, False, eligible)] * wrong
    return Observations("test", tuple(seen))


def test_without_labels_the_ladder_decides() -> None:
    assert decide(4.5).serve == 7
    assert decide(3.0).serve is None
    assert decide(3.0, budget=0.03).serve == 7
    assert decide(1.0, budget=0.03).serve is None


def test_a_miss_that_passed_the_gates_is_labelled() -> None:
    decision = decide(3.0)
    assert (decision.explore, decision.explored, decision.reason) == (True, 7, "unsure")


def test_what_a_gate_refuses_is_neither_served_nor_labelled() -> None:
    decision = decide(20.0, stored="How do I not repair a kettle?")
    assert (decision.serve, decision.explore, decision.reason) == (None, False, "negation")


def test_an_abstaining_verifier_means_a_miss() -> None:
    assert decide(None).reason == "abstained"
    assert decide(None).serve is None


def test_a_threshold_only_tightens() -> None:
    assert decide(4.5, threshold=0.89).serve == 7
    assert decide(4.5, threshold=0.95).serve is None
    assert decide(3.0, threshold=0.1).serve is None


def test_one_wrong_label_stops_an_entry_and_not_its_scope() -> None:
    wrong = labels(4.5, 0, 1)
    pool = labels(4.5, 40, 1)
    assert decide(4.5, history=wrong, pool=pool).serve is None
    assert decide(4.5, pool=labels(4.5, 40)).serve == 7


def test_enough_agreeing_labels_let_a_scope_serve_lower_scores() -> None:
    assert (
        decide(3.0, pool=labels(2.9, 100)).serve is None or decide(3.0, pool=labels(2.9, 100)).bound <= 0.01
    )
    served = decide(1.0, pool=labels(1.2, 400))
    assert served.serve == 7 or served.reason == "audit"


def test_a_scope_whose_hits_are_wrong_serves_no_more() -> None:
    assert decide(4.5, pool=labels(4.6, 60, 20)).serve is None


def test_labels_of_another_calibration_count_for_nothing() -> None:
    foreign = Observations("other", labels(4.6, 60, 20).seen)
    assert decide(4.5, pool=foreign, history=foreign).serve == 7


def test_drift_goes_back_to_the_strictest_prior() -> None:
    before = [Observation(1.0, True, True)] * 400
    after = [Observation(1.0, False, True)] * 20
    assert decide(1.0, pool=Observations("test", tuple(before))).bound <= 0.01
    drifted = Observations("test", (*before, *after))
    assert decide(1.0, pool=drifted).reason == "drift"
    assert decide(4.5, pool=drifted).serve is None


def test_a_fixed_share_of_hits_is_audited_by_the_requests_digest() -> None:
    decisions = [decide(4.5, at=number) for number in range(600)]
    audited = [d for d in decisions if d.reason == "audit"]
    assert 0 < len(audited) < 600 * AUDIT * 3
    assert all(d.serve is None and d.explored == 7 for d in audited)
    assert [d.reason for d in decisions] == [decide(4.5, at=number).reason for number in range(600)]


def test_the_surest_of_several_candidates_is_served() -> None:
    refused = Candidate(1, "How do I not repair a kettle?", 0.99, encode("x"), Observations())
    good = Candidate(2, STORED, 0.9, encode(STORED), Observations())
    decision = CalibratedDecider(Says(5.0), LADDER).decide(
        ASKED, encode(ASKED), [refused, good], error_budget=0.01, seed=seed(0)
    )
    assert decision.serve == 2
    assert [v.score for v in decision.verdicts] == [None, 5.0]


def test_no_bound_holds_for_another_embedders_vectors() -> None:
    good = Candidate(2, STORED, 0.99, encode(STORED), Observations())
    for embedder, served in (("minilm-l6:7ec90ad28148:int8", 2), ("other:0123456789ab:int8", None)):
        decision = CalibratedDecider(Says(5.0), LADDER, embedder=embedder).decide(
            ASKED, encode(ASKED), [good], error_budget=0.01, seed=seed(0)
        )
        assert decision.serve == served


def test_learning_keeps_the_newest_labels_and_forgets_another_calibration() -> None:
    decider = CalibratedDecider(Says(4.5), LADDER)
    verdict: Assessment = decide(4.5).verdicts[0]
    history = Observations("other", labels(1.0, 5).seen)
    for number in range(40):
        history = decider.learn(history, verdict, same=number % 2 == 0, keep=10)
    assert (history.model, len(history.seen)) == ("test", 10)
    assert history.seen[-1] == Observation(4.5, False, True)
    refused = decide(4.5, stored="How do I not repair a kettle?").verdicts[0]
    assert decider.learn(history, refused, same=True) is history


@pytest.mark.parametrize("budget", [0.001, 0.01, 0.05])
def test_what_is_served_has_its_bound_within_the_budget(budget: float) -> None:
    for said in (-3.0, 1.0, 2.5, 3.9, 4.0, 9.0):
        decision = decide(said, budget=budget)
        assert decision.serve is None or decision.bound <= budget


def jumbled(number: int) -> str:
    """A long text of few words, which all such texts have in common."""
    draw = Random(number)
    words = [
        "river",
        "stone",
        "market",
        "harbour",
        "winter",
        "garden",
        "engine",
        "copper",
        "letter",
        "bridge",
        "valley",
        "window",
    ]
    return " ".join(" ".join(draw.choices(words, k=8)).capitalize() + "." for _ in range(7))


@pytest.mark.parametrize(
    ("said", "similarity", "served"), [(0.0, 0.9, True), (-4.0, 0.9, False), (0.0, 0.6, False)]
)
def test_long_texts_unlike_all_that_was_learned_from_are_not_served(
    said: float, similarity: float, served: bool
) -> None:
    """Whatever the sum of their features comes to, and nothing is learned of them."""
    stored, asked = f"How do I clean a kettle? {jumbled(1)}", f"How do I clean a kettle? {jumbled(2)}"
    generous = msgspec.structs.replace(LADDER, intercept=10.0)
    assert check(asked, stored)[-1].passed
    candidate = Candidate(7, stored, similarity, encode(stored), Observations())
    decision = CalibratedDecider(Says(said), generous).decide(
        asked, encode(asked), [candidate], error_budget=0.01, seed=seed(1)
    )
    assert (decision.serve == 7, decision.explore) == (served, False)
