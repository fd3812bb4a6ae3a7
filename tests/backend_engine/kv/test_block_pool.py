"""The block pool against a plain model of it, driven through random sequences of operations."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backend_engine.errors import EngineError
from backend_engine.kv.block_pool import BlockPool, NoFreeBlocks

NUM_BLOCKS = 6
names = st.integers(0, 9).map(lambda n: f"name-{n}".encode())


class PoolMachine(RuleBasedStateMachine):
    """Holders take and drop runs of blocks; the model remembers who holds what and what was published."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(NUM_BLOCKS, 4)
        self.holders: list[list[int]] = []
        self.published: dict[bytes, int] = {}

    def held(self) -> set[int]:
        return {block for blocks in self.holders for block in blocks}

    @rule(count=st.integers(1, NUM_BLOCKS))
    def allocate(self, count: int) -> None:
        free_before = self.pool.num_free
        if count > free_before:
            with pytest.raises(NoFreeBlocks):
                self.pool.allocate(count)
            assert self.pool.num_free == free_before
            return
        blocks = self.pool.allocate(count)
        assert len(set(blocks)) == count
        assert not self.held() & set(blocks), "a held block was handed out"
        self.holders.append(blocks)
        self.published = {name: block for name, block in self.published.items() if block not in blocks}

    @precondition(lambda self: self.holders)
    @rule(data=st.data(), name=names)
    def publish(self, data: st.DataObject, name: bytes) -> None:
        block = data.draw(st.sampled_from(sorted(self.held())))
        self.pool.publish(block, name)
        if name not in self.published and block not in self.published.values():
            self.published[name] = block

    @rule(wanted=st.lists(names, max_size=4, unique=True))
    def share(self, wanted: list[bytes]) -> None:
        blocks = self.pool.match(wanted)
        expected = []
        for name in wanted:
            if name not in self.published:
                break
            expected.append(self.published[name])
        assert blocks == expected
        if blocks:
            free_before = self.pool.num_free
            revived = self.pool.num_revived(blocks)
            self.pool.hold(blocks)
            assert self.pool.num_free == free_before - revived
            self.holders.append(blocks)

    @precondition(lambda self: self.holders)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        holder = data.draw(st.integers(0, len(self.holders) - 1))
        self.pool.release(self.holders.pop(holder))

    @invariant()
    def books_balance(self) -> None:
        self.pool.check()
        assert self.pool.num_used == len(self.held())
        assert self.pool.num_free + self.pool.num_used == NUM_BLOCKS


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)


def test_eviction_takes_unnamed_blocks_first_then_the_tail_of_the_oldest_prefix() -> None:
    pool = BlockPool(4, 16)
    prefix = pool.allocate(3)
    for block, name in zip(prefix, (b"a", b"b", b"c"), strict=True):
        pool.publish(block, name)
    pool.release(prefix)

    pool.allocate(1)
    assert pool.match([b"a", b"b", b"c"]) == prefix, "a block that nobody could match again went first"
    pool.allocate(1)
    assert pool.match([b"a", b"b", b"c"]) == prefix[:2], "the prefix lost its end, not its beginning"


def test_a_block_released_twice_is_an_error() -> None:
    pool = BlockPool(2, 16)
    blocks = pool.allocate(1)
    pool.release(blocks)
    with pytest.raises(EngineError, match="released twice"):
        pool.release(blocks)


def test_check_notices_a_block_that_is_free_and_held() -> None:
    pool = BlockPool(2, 16)
    (block,) = pool.allocate(1)
    pool._free[block] = None
    with pytest.raises(EngineError, match=f"block {block}"):
        pool.check()


def test_a_pool_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one block"):
        BlockPool(0, 16)
