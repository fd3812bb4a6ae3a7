"""The scheduler against a simulation that knows, slot by slot, whose KV every block really holds."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.errors import ContextLengthExceeded, EngineOverloaded
from backend_engine.kv.block_pool import BlockPool
from backend_engine.request import Request, Status
from backend_engine.sampling.params import SamplingParams
from backend_engine.scheduler import Scheduled, Scheduler

BLOCK = 4


def make_request(
    prompt: Iterable[int], max_tokens: int = 4, *, salt: str = "", prompt_logprobs: int | None = None
) -> Request:
    params = SamplingParams(max_tokens=max_tokens, prompt_logprobs=prompt_logprobs)
    return Request("r", list(prompt), params, IncrementalDetokenizer(lambda token: b"x"), salt=salt)


def make_scheduler(num_blocks: int = 16, **options: int | bool) -> Scheduler:
    settings_ = {"max_batch_tokens": 8, "max_sequences": 4, "max_waiting": 100, **options}
    return Scheduler(BlockPool(num_blocks, BLOCK), **settings_)


class Simulation:
    """Plays engine and KV memory: what is written where, and whether a step reads only its own past."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.memory: dict[tuple[int, int], tuple[object, ...]] = {}
        self.steps = 0

    def step(self) -> list[Scheduled]:
        items = self.scheduler.schedule()
        assert sum(item.num_tokens for item in items) <= self.scheduler.max_batch_tokens
        assert len(self.scheduler.running) <= self.scheduler.max_sequences
        assert len({item.request for item in items}) == len(items)
        for item in items:
            self._compute(item)
        for item in items:
            reaches_end = item.reaches_end
            self.scheduler.computed(item)
            if reaches_end:
                self._sample(item.request)
        self.scheduler.pool.check()
        self.steps += 1
        return items

    def run(self, limit: int = 2000) -> None:
        while self.scheduler.waiting or self.scheduler.running:
            assert self.step(), "nothing was scheduled although requests wait"
            assert self.steps < limit, "livelock"
        self.scheduler.check()
        assert self.scheduler.pool.num_used == 0
        assert not self.scheduler._in_flight

    def _compute(self, item: Scheduled) -> None:
        request = item.request
        assert request.status is Status.RUNNING
        assert item.num_tokens > 0
        for at in range(request.num_computed + item.num_tokens):
            slot = (request.block_table[at // BLOCK], at % BLOCK)
            content = (request.salt, *request.token_ids[: at + 1])
            if at < request.num_computed:
                assert self.memory.get(slot) == content, "a sequence reads KV that is not its own past"
            else:
                self.memory[slot] = content

    def _sample(self, request: Request) -> None:
        # The token follows from the context alone, so recomputation must reproduce it.
        request.token_ids.append(hash(tuple(request.token_ids)) % 3)
        if request.num_output_tokens >= request.params.max_tokens:
            self.scheduler.finish(request, "length")


prompts = st.lists(st.integers(0, 2), min_size=1, max_size=20)
jobs = st.lists(st.tuples(prompts, st.integers(1, 12), st.sampled_from(["a", "b"])), min_size=1, max_size=10)


@settings(max_examples=150, deadline=None)
@given(
    jobs=jobs,
    num_blocks=st.integers(8, 20),
    budget=st.integers(1, 24),
    sequences=st.integers(1, 6),
    prefix_cache=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_every_request_finishes_and_reads_only_its_own_past(
    jobs: list[tuple[list[int], int, str]],
    num_blocks: int,
    budget: int,
    sequences: int,
    prefix_cache: bool,
    seed: int,
) -> None:
    scheduler = make_scheduler(
        num_blocks, max_batch_tokens=budget, max_sequences=sequences, prefix_cache=prefix_cache
    )
    simulation = Simulation(scheduler)
    chance = random.Random(seed)
    requests = []
    for prompt, max_tokens, salt in jobs:
        request = make_request(prompt, max_tokens, salt=salt)
        scheduler.add(request)
        requests.append(request)
        for _ in range(chance.randrange(3)):
            simulation.step()
        if chance.random() < 0.2:
            victim = chance.choice(requests)
            if victim.status is not Status.FINISHED:
                scheduler.finish(victim, "abort")
    simulation.run()
    for request in requests:
        assert request.status is Status.FINISHED
        if request.finish_reason == "length":
            assert request.num_output_tokens == request.params.max_tokens


def test_decodes_come_first_and_prompts_share_what_is_left() -> None:
    scheduler = make_scheduler(max_batch_tokens=8)
    simulation = Simulation(scheduler)
    decoding = make_request([1] * 5, max_tokens=8)
    scheduler.add(decoding)
    simulation.step()
    prompt = make_request([2] * 20, max_tokens=2)
    scheduler.add(prompt)
    sizes = [(item.request is decoding, item.num_tokens) for item in simulation.step()]
    assert sizes == [(True, 1), (False, 7)]


def test_a_prompt_is_admitted_exactly_when_its_blocks_are_free() -> None:
    scheduler = make_scheduler(num_blocks=6, prefix_cache=False)
    first = make_request([1] * 12, max_tokens=1)
    scheduler.add(first)
    scheduler.schedule()
    too_long = make_request([2] * 13, max_tokens=1)
    scheduler.add(too_long)
    assert too_long not in [item.request for item in scheduler.schedule()]
    scheduler.finish(too_long, "abort")
    fits = make_request([2] * 12, max_tokens=1)
    scheduler.add(fits)
    scheduler.computed(Scheduled(first, 8))
    assert fits in [item.request for item in scheduler.schedule()]


def test_a_request_larger_than_the_whole_pool_is_refused_with_the_limit() -> None:
    scheduler = make_scheduler(num_blocks=4)
    with pytest.raises(ContextLengthExceeded, match=r"10 of prompt and 7 of completion.*holds 16"):
        scheduler.add(make_request([1] * 10, max_tokens=7))
    scheduler.add(make_request([1] * 10, max_tokens=6))


def test_a_full_queue_refuses_one_more() -> None:
    scheduler = make_scheduler(max_waiting=1)
    scheduler.add(make_request([1]))
    with pytest.raises(EngineOverloaded):
        scheduler.add(make_request([1]))


def test_growth_preempts_the_newest_and_the_oldest_gets_on() -> None:
    scheduler = make_scheduler(num_blocks=4, prefix_cache=False)
    simulation = Simulation(scheduler)
    old, new = make_request([1] * 7, max_tokens=9), make_request([2] * 7, max_tokens=9)
    scheduler.add(old)
    scheduler.add(new)
    while old.status is not Status.FINISHED:
        simulation.step()
    assert (old.num_preemptions, new.num_preemptions) == (0, 1)
    simulation.run()
    assert new.num_output_tokens == 9


def test_a_second_request_reuses_full_blocks_and_recomputes_at_least_one_token() -> None:
    scheduler = make_scheduler()
    simulation = Simulation(scheduler)
    for _ in range(2):
        request = make_request([1, 2, 3, 4, 5, 6, 7, 8])
        scheduler.add(request)
        simulation.run()
    assert request.num_cached == 4, "the block with the last token is recomputed for its logits"
    assert (scheduler.prefix_stats.queries, scheduler.prefix_stats.hits) == (16, 4)


def test_salts_do_not_share_blocks() -> None:
    scheduler = make_scheduler()
    simulation = Simulation(scheduler)
    for salt in ("a", "b"):
        request = make_request([1] * 12, salt=salt)
        scheduler.add(request)
        simulation.run()
        assert request.num_cached == 0


def test_equal_prompts_that_arrive_together_are_computed_once() -> None:
    scheduler = make_scheduler(num_blocks=32, max_batch_tokens=64)
    simulation = Simulation(scheduler)
    requests = [make_request(range(18), max_tokens=4) for _ in range(3)]
    for request in requests:
        scheduler.add(request)
    computed = sum(item.num_tokens for item in simulation.step())
    assert computed == 18
    computed = sum(item.num_tokens for item in simulation.step())
    assert computed == 1 + 2 + 2, "one decodes, two recompute what follows the shared blocks"
    simulation.run()
    assert [request.num_cached for request in requests] == [0, 16, 16]


def test_prompt_logprobs_bypass_the_cache_they_could_not_be_read_from() -> None:
    scheduler = make_scheduler()
    simulation = Simulation(scheduler)
    scheduler.add(make_request([1] * 12))
    simulation.run()
    request = make_request([1] * 12, prompt_logprobs=1)
    scheduler.add(request)
    simulation.run()
    assert request.num_cached == 0


def test_tokens_found_again_after_preemption_are_no_hits() -> None:
    scheduler = make_scheduler(num_blocks=4)
    simulation = Simulation(scheduler)
    old, new = make_request([1] * 7, max_tokens=9), make_request([2] * 7, max_tokens=9)
    scheduler.add(old)
    scheduler.add(new)
    simulation.run()
    assert new.num_preemptions > 0
    assert new.num_cached == 0
    assert scheduler.prefix_stats.hits == 0
