"""The quick path of a look, which encodes only what the gates let through, decides as the plain one."""

from __future__ import annotations

import hashlib
from collections import Counter
from random import Random

import numpy as np
import pytest

from semantic_cache.decision.base import Candidate, Decision, Observation, Observations
from semantic_cache.decision.decider import CalibratedDecider
from semantic_cache.decision.train.passages import passages
from semantic_cache.decision.train.questions import questions
from semantic_cache.gates.text import parse
from tests.semantic_cache.support.word_encodings import WordEncoding, encode

PAIRS = [*questions(Random(2), 240), *passages(Random(3), 60)]
Asked = tuple[str, list[str]]


@pytest.fixture(scope="module")
def asked() -> list[Asked]:
    """Each question with the one it was made from and with others."""
    chance = Random(4)
    return [(pair.b, [pair.a, *(other.a for other in chance.sample(PAIRS, 3))]) for pair in PAIRS]


@pytest.fixture(scope="module")
def encodings(asked: list[Asked]) -> dict[str, WordEncoding]:
    return {text: encode(text) for one, others in asked for text in (one, *others)}


def labels(decider: CalibratedDecider, chance: Random, most: int) -> Observations:
    seen = (Observation(chance.uniform(-4, 8), chance.random() < 0.9) for _ in range(chance.randrange(most)))
    return Observations(decider.calibration.id, tuple(seen))


def decide(
    decider: CalibratedDecider,
    one: str,
    others: list[str],
    encodings: dict[str, WordEncoding],
    *,
    screened: bool,
) -> Decision:
    chance = Random(one)
    gates = decider.screen(one, others) if screened else [()] * len(others)
    vector = encodings[one].vector
    candidates = [
        Candidate(
            number,
            other,
            float(np.clip(vector @ encodings[other].vector, -1, 1)),
            None if seen and not seen[-1].passed else encodings[other],
            labels(decider, chance, 6),
            seen,
        )
        for number, (other, seen) in enumerate(zip(others, gates, strict=True))
    ]
    return decider.decide(
        one,
        encodings[one],
        candidates,
        error_budget=chance.choice((0.01, 0.3)),
        seed=hashlib.sha256(one.encode()).digest(),
        threshold=chance.choice((None, None, 0.9)),
        pool=labels(decider, chance, 60),
    )


def test_screening_first_changes_no_decision(asked: list[Asked], encodings: dict[str, WordEncoding]) -> None:
    decider = CalibratedDecider()
    ends: Counter[str] = Counter()
    for one, others in asked:
        plain = decide(decider, one, others, encodings, screened=False)
        assert decide(decider, one, others, encodings, screened=True) == plain
        ends[plain.reason] += 1
    # All ways to end are among them.
    assert {"served", "unsure", "premises", "negation"} <= ends.keys()


def test_what_is_remembered_of_texts_changes_no_decision(
    asked: list[Asked], encodings: dict[str, WordEncoding]
) -> None:
    decider = CalibratedDecider()
    for one, others in asked[::3]:
        known = decide(decider, one, others, encodings, screened=True)
        parse.cache_clear()
        fresh = {text: encode(text) for text in (one, *others)}
        assert decide(CalibratedDecider(), one, others, fresh, screened=True) == known
