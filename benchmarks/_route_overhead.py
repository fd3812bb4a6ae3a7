"""What a route that learns adds to a request: CPU of its two decisions, and of learning anew beside them."""

from __future__ import annotations

import random
import time
from statistics import median

from router.after.signs import AnswerSigns, SmallAnswer, signs_of
from router.before.query import Query
from router.before.query_signs import query_signs
from router.online.experience import ROWS, Experience, fit
from router.online.tried import Tried
from router.policy.base import Facts
from router.policy.knob import Knob, Quality
from router.policy.of_many import OfMany, Terms

_ROUNDS = 5
_EACH = 200
_TENANT = "default"


def overhead(tiers: int = 2, knob: Knob = Quality(0.95)) -> dict[str, float]:  # noqa: B008
    """Return milliseconds of CPU, medians of five rounds: `decide_ms` for first and after together,
    `judge_ms` for reading a question's and an answer's signs, `fit_ms` for learning from 1,000 outcomes of
    each tier."""
    draw = random.Random(1)
    names = [f"tier{at}" for at in range(tiers)]
    experience = Experience(names, knob, None)
    for number in range(ROWS):
        answer, right = _answer(draw)
        signs, query = signs_of(answer), query_signs(answer.prompt)
        experience.add(
            Tried(f"{name} {number}", _TENANT, name, 1.0 + number, query, signs, right) for name in names[:-1]
        )
    work = experience.work()
    begun = time.process_time()
    beliefs = fit(work, knob, None)
    fit_ms = (time.process_time() - begun) * 1000
    experience.believe(work, beliefs)
    terms = [Terms(name, 1e-6 * 3**at, 2e-6 * 3**at) for at, name in enumerate(names)]
    policy = OfMany(terms, experience)
    answer, _ = _answer(draw)
    facts = Facts(Query(None, query_signs(answer.prompt)), 0.5, (True,) * tiers, tenant=_TENANT)
    signs = signs_of(answer)
    decide, judge = [], []
    for _ in range(_ROUNDS):
        decide.append(_ms(lambda: _decide(policy, facts, signs)))
        judge.append(_ms(lambda: (query_signs(answer.prompt), signs_of(answer))))
    return {
        "decide_ms": round(median(decide), 4),
        "judge_ms": round(median(judge), 4),
        "fit_ms": round(fit_ms, 1),
    }


def _decide(policy: OfMany, facts: Facts, signs: AnswerSigns) -> None:
    policy.first(facts)
    policy.after(facts, {0: signs})


def _answer(draw: random.Random) -> tuple[SmallAnswer, bool]:
    a, b, right = draw.randint(3, 90), draw.randint(3, 90), draw.random() < 0.7
    text = f"There are {a} boxes of {b}, so {a} * {b} = {a * b if right else a * b + 7}."
    return SmallAnswer(f"How many are {a} boxes of {b}?", text, "stop"), right


def _ms(work: object) -> float:
    assert callable(work)
    begun = time.process_time()
    for _ in range(_EACH):
        work()
    return (time.process_time() - begun) * 1000 / _EACH


if __name__ == "__main__":
    for count in (2, 3, 8):
        print(f"{count} tiers: {overhead(count)}")
