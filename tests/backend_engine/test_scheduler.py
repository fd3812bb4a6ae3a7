"""What the scheduler promises, one promise a test, over a simulated model and KV memory."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend_engine.errors import ContextLengthExceeded, EngineOverloaded
from backend_engine.request import Status
from backend_engine.scheduler import LEAST_CHUNK, MOST_RETRY_AFTER_S, PRIORITY_STEP_S
from tests.backend_engine.support.scheduling import Clock, Simulation, make_request, make_scheduler, teach

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
    drafts=st.booleans(),
)
def test_every_request_finishes_and_reads_only_its_own_past(
    jobs: list[tuple[list[int], int, str]],
    num_blocks: int,
    budget: int,
    sequences: int,
    prefix_cache: bool,
    seed: int,
    drafts: bool,
) -> None:
    scheduler = make_scheduler(
        num_blocks, max_batch_tokens=budget, max_sequences=sequences, prefix_cache=prefix_cache
    )
    chance = random.Random(seed)
    simulation = Simulation(scheduler, random.Random(seed + 1) if drafts else None)
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
    scheduler.computed(first, 8)
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


def test_a_refused_caller_is_told_when_half_of_the_queue_will_have_gone() -> None:
    clock = Clock()
    scheduler = make_scheduler(clock=clock, max_sequences=1, max_waiting=8)
    simulation = Simulation(scheduler)

    def refusal() -> float | None:
        while len(scheduler.waiting) < 8:
            scheduler.add(make_request([1], max_tokens=1))
        with pytest.raises(EngineOverloaded) as caught:
            scheduler.add(make_request([1], max_tokens=1))
        return caught.value.retry_after_s

    assert refusal() is None, "nothing was measured yet"
    for _ in range(6):
        simulation.step()
        clock.now += 3.0
    # Six admissions, the first 18 s ago: one in 3.6 s, and four of eight have to go.
    assert refusal() == pytest.approx(4 * 18 / 5)
    clock.now += 1e6
    assert refusal() == MOST_RETRY_AFTER_S


def test_lower_priorities_go_first_and_equal_ones_as_they_came() -> None:
    scheduler = make_scheduler(max_sequences=1)
    priorities = [3, 0, -2, 0, 3, -2]
    requests = [make_request([1], 1, priority=p, arrived=i * 0.01) for i, p in enumerate(priorities)]
    for request in requests:
        scheduler.add(request)
    simulation = Simulation(scheduler)
    order = [requests.index(item.request) for _ in requests for item in simulation.step()]
    assert order == [2, 5, 1, 3, 0, 4]


def test_no_priority_starves_under_an_endless_stream_of_better_ones() -> None:
    clock = Clock()
    scheduler = make_scheduler(clock=clock, max_sequences=1)
    simulation = Simulation(scheduler)
    patient = make_request([1] * 6, 2, priority=5, arrived=clock.now)
    scheduler.add(patient)
    while patient.status is not Status.FINISHED:
        if len(scheduler.waiting) < 3:
            scheduler.add(make_request([2] * 6, 2, arrived=clock.now))
        simulation.step()
        clock.now += 0.5
    waited = clock.now - patient.timings.arrived
    assert 5 * PRIORITY_STEP_S < waited < 5 * PRIORITY_STEP_S + 10


def test_a_preempted_request_keeps_its_place_and_ends() -> None:
    clock = Clock()
    scheduler = make_scheduler(num_blocks=5, clock=clock, prefix_cache=False)
    simulation = Simulation(scheduler)
    victim = make_request([1] * 6, 10, priority=1, arrived=clock.now)
    scheduler.add(victim)
    for number in itertools.count():
        if victim.status is Status.FINISHED:
            break
        # Ever new ones of better priority, each of which needs most of the pool.
        if not scheduler.waiting:
            scheduler.add(make_request([number % 3] * 6, 8, arrived=clock.now))
        simulation.step()
        clock.now += 0.5
    assert victim.num_preemptions > 0
    assert victim.num_output_tokens == 10


def test_pressure_preempts_the_worst_priority_whenever_it_came() -> None:
    scheduler = make_scheduler(num_blocks=4, prefix_cache=False)
    simulation = Simulation(scheduler)
    minor = make_request([1] * 7, 9, priority=1)
    major = make_request([2] * 7, 9, arrived=1.0)
    scheduler.add(minor)
    simulation.step()
    scheduler.add(major)
    simulation.run()
    assert (minor.num_preemptions, major.num_preemptions) == (1, 0)


def test_requests_past_their_deadline_are_found_wherever_they_are() -> None:
    clock = Clock()
    scheduler = make_scheduler(clock=clock, max_sequences=1)
    running, waiting, later, patient = (
        make_request([1] * 5, deadline=deadline)
        for deadline in (clock.now + 1, clock.now + 1, clock.now + 2, None)
    )
    for request in (running, waiting, later, patient):
        scheduler.add(request)
    Simulation(scheduler).step()
    assert scheduler.overdue() == []
    clock.now += 1
    assert scheduler.overdue() == [running, waiting]
    scheduler.finish(running, "deadline")
    assert scheduler.pool.num_used == 0
    assert scheduler.overdue() == [waiting]


@pytest.mark.parametrize(("stretch", "tokens"), [(2.0, 10), (3.0, 20), (5.0, 40), (math.inf, 90)])
def test_a_prompt_takes_only_the_time_that_decoding_sequences_can_spare(stretch: float, tokens: int) -> None:
    scheduler = make_scheduler(64, max_batch_tokens=91, max_decode_stretch=stretch)
    simulation = Simulation(scheduler)
    decoding = make_request([1] * 5, max_tokens=50)
    scheduler.add(decoding)
    simulation.step()
    # A decoding step takes 10 s, of which its token is 1: a stretch of 3 leaves 20 s for as many tokens.
    teach(scheduler, step=9.0, token=1.0)
    scheduler.add(make_request([2] * 200, max_tokens=2))
    sizes = [item.num_tokens for item in simulation.step()]
    assert sizes == [1, pytest.approx(max(tokens, LEAST_CHUNK), abs=1)]


def test_a_prompt_gets_on_however_slow_it_is() -> None:
    scheduler = make_scheduler(64, max_batch_tokens=64, max_decode_stretch=1.01)
    simulation = Simulation(scheduler)
    scheduler.add(make_request([1] * 5, max_tokens=50))
    simulation.step()
    teach(scheduler, step=0.001, token=1.0)
    prompts = [make_request([2] * 100, max_tokens=2), make_request([3] * 100, max_tokens=2)]
    for request in prompts:
        scheduler.add(request)
    assert [item.num_tokens for item in simulation.step()] == [1, LEAST_CHUNK]
    simulation.run()
    assert all(request.num_output_tokens == 2 for request in prompts)


def test_prompts_alone_fill_the_step() -> None:
    scheduler = make_scheduler(64, max_batch_tokens=64, max_decode_stretch=2.0)
    teach(scheduler, step=1.0, token=1.0)
    scheduler.add(make_request([2] * 200, max_tokens=2))
    assert [item.num_tokens for item in Simulation(scheduler).step()] == [64]


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


def test_aborting_a_refused_request_changes_nothing() -> None:
    scheduler = make_scheduler(max_waiting=1)
    scheduler.add(make_request([1]))
    refused = make_request([1])
    with pytest.raises(EngineOverloaded):
        scheduler.add(refused)
    scheduler.finish(refused, "abort")
    assert len(scheduler.waiting) == 1


def test_drafts_shrink_to_the_room_that_is_free() -> None:
    scheduler = make_scheduler(3, max_batch_tokens=64)
    first, second = make_request([0, 1, 0], max_tokens=4), make_request([1, 0, 1], max_tokens=4)
    for request in (first, second):
        scheduler.add(request)
    simulation = Simulation(scheduler)
    simulation.step()
    # Both are decoding, one token short of a full block, and one block is free.
    first.draft = second.draft = [1, 1]
    items = scheduler.schedule()
    assert [item.draft for item in items] == [(1, 1), ()]
    assert scheduler.num_preemptions == 0


def test_drafts_and_prompts_share_the_budget_of_a_step() -> None:
    scheduler = make_scheduler(32, max_batch_tokens=10)
    decoding = make_request([0, 1, 0], max_tokens=20)
    scheduler.add(decoding)
    Simulation(scheduler).step()
    decoding.draft = [1] * 6
    scheduler.add(make_request([0] * 20))
    items = scheduler.schedule()
    assert [(item.num_tokens, len(item.draft)) for item in items] == [(1, 6), (3, 0)]
