"""Prompts are many, whole, and the same for a seed."""

from __future__ import annotations

import random

from backend_engine.spec.distil.prompts import FOLLOW_UPS, compose
from benchmarks._speculation_prompts import WORKLOADS, natural_prompts


def test_prompts_are_many_whole_and_the_same_for_a_seed() -> None:
    one, other = random.Random(1), random.Random(1)
    found = [compose(one) for _ in range(3000)]
    assert found == [compose(other) for _ in range(3000)]
    assert len(set(found)) > 2000
    assert not any("{" in text or "}" in text for text in (*found, *FOLLOW_UPS))


def test_the_benchmarks_prompts_are_none_of_them() -> None:
    chance = random.Random(2)
    taught = {compose(chance) for _ in range(5000)}
    for workload in WORKLOADS:
        assert taught.isdisjoint(natural_prompts(workload, 40, 0))
