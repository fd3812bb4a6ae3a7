"""What plan and judgement take is measured on answers of some length."""

from __future__ import annotations

import json
from itertools import cycle, islice

from benchmarks._live_answers import LongAnswer
from benchmarks._live_overhead import overhead
from router.after.confidence import Confidence
from router.after.logprobs import Token
from router.after.signs import SmallAnswer
from router.isotonic import Isotonic
from router.logistic import Logistic, Weight
from router.policy.escalation import Escalation
from router.policy.learned import Learned

WORDS = list(islice(cycle(["Water", " turns", " a", " wheel", ".", " It", " grinds", " corn", ".\n"]), 400))
LEARNED = Learned(
    0.95,
    300,
    "answer",
    Escalation(0.0, 0.5),
    None,
    Confidence(Logistic(0.0, {"own_least": Weight(1.0, -2.0, 1.0)}), Isotonic((-1.0, 1.0), (0.2, 0.8))),
    (),
)


def answer(tokens: int) -> LongAnswer:
    text = "".join(WORDS[:tokens])
    said = SmallAnswer(
        "What is a mill for?", text, "stop", None, [Token(-0.5, (-0.5, -1.5), w) for w in WORDS[:tokens]]
    )
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return LongAnswer(said, json.dumps({"choices": [choice]}).encode())


def test_only_answers_of_a_hundred_to_three_hundred_tokens_count() -> None:
    found = overhead(LEARNED, [answer(40), answer(100), answer(300), answer(400)])

    assert (found["answers"], found["tokens"]) == (2, 200)
    for step in ("judge", "read", "vector"):
        assert 0 < found[f"{step}_p50_ms"] <= found[f"{step}_p99_ms"]
