"""What plan and judgement take of a request, on answers of 100 to 300 tokens that the small model gave.

`judge_…` is all that the router does for a request that is judged: signs of the query, the policy's first
choice, signs of the answer with its token probabilities, and the policy's decision. `read_…` is reading the
answer's JSON before that, and `vector_…` what a query's vector of 384 numbers and 64 neighbours take more.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from math import sqrt
from typing import TypeVar

from benchmarks._live_answers import LongAnswer
from benchmarks.report import Figures
from gateway.wire.reply import read_reply
from router.after.signs import SmallAnswer, signs_of
from router.before.linear import Linear
from router.before.neighbours import NEAREST
from router.before.query import Query, QueryModel
from router.before.query_signs import query_signs
from router.before.topics import fit_topics
from router.policy.base import Facts
from router.policy.learned import Learned
from router.policy.of_two import OfTwo

_DIM = 384
_ROUNDS = 20
_TARGET_MS = 0.3
T = TypeVar("T")


def overhead(learned: Learned, answers: Sequence[LongAnswer]) -> Figures:
    """Return milliseconds of CPU time: it is what the event loop is kept busy for, on a busy machine too."""
    policy = OfTwo(learned)
    said = [answer.said for answer in answers if 100 <= len(answer.said.tokens) <= 300]
    bodies = [answer.body for answer in answers]

    def judge(answer: SmallAnswer) -> None:
        facts = Facts(Query(None, query_signs(answer.prompt)), 0.5, (True, True))
        policy.first(facts)
        policy.after(facts, {0: signs_of(answer)})

    def read(body: bytes) -> None:
        read_reply(body)

    model, queries = _with_vectors()

    def vector(query: Query) -> None:
        model.score(query)

    found: Figures = {
        "answers": len(said),
        "tokens": round(statistics.fmean(len(one.tokens) for one in said)),
    }
    found |= _timed("judge", judge, said) | _timed("read", read, bodies) | _timed("vector", vector, queries)
    found["target_ms"] = _TARGET_MS
    return found


def _timed(name: str, call: Callable[[T], None], items: Sequence[T]) -> Figures:
    times = []
    for _ in range(_ROUNDS):
        for item in items:
            begun = time.thread_time()
            call(item)
            times.append(1000 * (time.thread_time() - begun))
    cuts = statistics.quantiles(times, n=100)
    return {f"{name}_p50_ms": round(cuts[49], 3), f"{name}_p99_ms": round(cuts[98], 3)}


def _with_vectors() -> tuple[QueryModel, list[Query]]:
    """Return a model of vectors and queries that have them; what they say does not matter here."""
    chance = random.Random(0)

    def unit() -> list[float]:
        values = [chance.gauss(0, 1) for _ in range(_DIM)]
        length = sqrt(sum(value * value for value in values))
        return [value / length for value in values]

    model = QueryModel(fit_topics([None], [0.2]), Linear(0.1, tuple(unit())), None)
    near = [(chance.random(), float(chance.randrange(-1, 2))) for _ in range(NEAREST)]
    return model, [Query(None, {}, unit(), near) for _ in range(20)]
