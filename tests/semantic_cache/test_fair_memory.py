"""What is remembered of whom when there is too much of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from semantic_cache.fair_memory import FairMemory

CAPACITY = 12


def test_a_flood_takes_nothing_from_who_has_less_than_his_share() -> None:
    memory: FairMemory[int, str] = FairMemory(CAPACITY)
    for key in range(3):
        memory.put("small", key, "kept")
    for key in range(100, 10_000):
        memory.put("flood", key, "x")
        assert len(memory) <= CAPACITY
    assert [memory.get(key) for key in range(3)] == ["kept"] * 3
    # The flood's own newest are there, its oldest are not.
    assert memory.count("flood") == CAPACITY - 3
    assert memory.get(9_999) == "x" and memory.get(100) is None


def test_many_tenants_at_once_have_the_newest() -> None:
    memory: FairMemory[int, int] = FairMemory(CAPACITY)
    for key in range(100):
        memory.put(f"tenant {key}", key, key)
        assert len(memory) <= CAPACITY and memory.get(key) == key
    assert memory.get(100 - CAPACITY) is not None and memory.get(99 - CAPACITY) is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=60))
def test_it_is_bounded_and_forgets_only_of_who_has_most(steps: list[tuple[str, int]]) -> None:
    memory: FairMemory[int, int] = FairMemory(CAPACITY)
    held: dict[str, list[int]] = {}
    for key, (tenant, forget) in enumerate(steps):
        mine = held.setdefault(tenant, [])
        memory.put(tenant, key, -key)
        mine.append(key)
        if sum(map(len, held.values())) > CAPACITY:
            most = max(map(len, held.values()))
            (gone,) = [one for keys in held.values() for one in keys if memory.get(one) is None]
            loser = next(keys for keys in held.values() if gone in keys)
            # Of several who have as much as most, or more than their share, any one.
            assert len(loser) * len([keys for keys in held.values() if keys]) > CAPACITY or len(loser) == most
            assert loser[0] == gone
            loser.pop(0)
        if not forget and mine:
            assert memory.pop(mine[-1]) == -mine.pop()
        for name, keys in held.items():
            assert memory.count(name) == len(keys)
            assert all(memory.get(one) == -one for one in keys)
        assert len(memory) == sum(map(len, held.values()))
    assert memory.get(-1) is None and memory.pop(-1) is None
