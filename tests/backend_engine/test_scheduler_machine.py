"""Allocator and scheduler through random histories, beside a model that only knows what must hold."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backend_engine.errors import ContextLengthExceeded, EngineOverloaded
from backend_engine.request import Request, Status
from tests.backend_engine.support.scheduling import (
    BLOCK,
    Clock,
    Simulation,
    make_request,
    make_scheduler,
    plain_output,
)

MAX_WAITING = 6


class SchedulerMachine(RuleBasedStateMachine):
    """The model keeps every request it sent, and all contexts whose KV was ever computed, by salt."""

    @initialize(
        blocks=st.integers(3, 14),
        budget=st.integers(1, 24),
        sequences=st.integers(1, 5),
        prefix_cache=st.booleans(),
        drafter=st.none() | st.randoms(use_true_random=False),
    )
    def start(
        self, blocks: int, budget: int, sequences: int, prefix_cache: bool, drafter: random.Random | None
    ) -> None:
        self.clock = Clock()
        self.scheduler = make_scheduler(
            blocks,
            clock=self.clock,
            max_batch_tokens=budget,
            max_sequences=sequences,
            max_waiting=MAX_WAITING,
            prefix_cache=prefix_cache,
        )
        self.simulation = Simulation(self.scheduler, drafter)
        self.requests: list[Request] = []
        self.computed: set[tuple[object, ...]] = set()
        self.hits = self.queries = 0

    @rule(
        prompt=st.lists(st.integers(0, 1), min_size=1, max_size=24),
        max_tokens=st.integers(1, 16),
        salt=st.sampled_from(["a", "b"]),
        priority=st.integers(-3, 3),
        patience=st.none() | st.floats(0.5, 30),
        prompt_logprobs=st.none() | st.just(0),
    )
    def add(
        self,
        prompt: list[int],
        max_tokens: int,
        salt: str,
        priority: int,
        patience: float | None,
        prompt_logprobs: int | None,
    ) -> None:
        request = make_request(
            prompt,
            max_tokens,
            salt=salt,
            priority=priority,
            deadline=None if patience is None else self.clock.now + patience,
            arrived=self.clock.now,
            prompt_logprobs=prompt_logprobs,
        )
        waiting = len(self.scheduler.waiting)
        if len(prompt) + max_tokens > self.scheduler.pool.num_blocks * BLOCK:
            with pytest.raises(ContextLengthExceeded):
                self.scheduler.add(request)
        elif waiting >= MAX_WAITING:
            with pytest.raises(EngineOverloaded):
                self.scheduler.add(request)
        else:
            self.scheduler.add(request)
            self.requests.append(request)
            waiting += 1
        assert len(self.scheduler.waiting) == waiting

    @rule(steps=st.integers(1, 6))
    def step(self, steps: int) -> None:
        for _ in range(steps):
            before = {r: r.num_preemptions for r in self.scheduler.waiting if not r.num_preemptions}
            ranks = [(r.timings.arrived + 10 * r.priority, r.serial) for r in self.scheduler.waiting]
            assert ranks == sorted(ranks)
            has_work = bool(self.scheduler.running or self.scheduler.waiting)
            items = self.simulation.step()
            assert bool(items) == has_work
            for request in before:
                if request.status is not Status.WAITING:
                    self._admitted(request)
            for item in items:
                tokens = item.request.token_ids[: item.request.num_computed]
                self.computed |= {(item.request.salt, *tokens[:end]) for end in range(len(tokens) + 1)}
            self.clock.now += 0.1

    def _admitted(self, request: Request) -> None:
        """What a first admission found in the cache must have been computed before, and be counted once."""
        assert request.num_cached % BLOCK == 0
        assert request.num_cached < request.num_prompt_tokens
        assert (
            request.salt,
            *request.token_ids[: request.num_cached],
        ) in self.computed or not request.num_cached
        if self.scheduler.prefix_cache and request.params.prompt_logprobs is None:
            self.queries += request.num_prompt_tokens
            self.hits += request.num_cached
        else:
            assert request.num_cached == 0

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.requests))
        if request.status is not Status.FINISHED:
            self.scheduler.finish(request, "abort")

    @rule(seconds=st.floats(0.1, 20))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds
        late = [r for r in self.requests if r.deadline is not None and r.deadline <= self.clock.now]
        expected = {r for r in late if r.status is not Status.FINISHED}
        assert set(self.scheduler.overdue()) == expected
        for request in expected:
            self.scheduler.finish(request, "deadline")

    @invariant()
    def books_balance(self) -> None:
        self.scheduler.check()
        running = [r for r in self.requests if r.status is Status.RUNNING]
        assert set(running) == set(self.scheduler.running)
        assert {r for r in self.requests if r.status is Status.WAITING} == set(self.scheduler.waiting)
        for request in self.requests:
            holds = request.status is Status.RUNNING
            assert bool(request.block_table) == holds
            if holds:
                assert len(request.block_table) * BLOCK >= request.num_computed
        assert self.scheduler.num_preemptions == sum(r.num_preemptions for r in self.requests)
        stats = self.scheduler.prefix_stats
        assert (stats.queries, stats.hits) == (self.queries, self.hits)

    def teardown(self) -> None:
        if not hasattr(self, "simulation"):
            return
        # Bounded by the work there is, were every request recomputed for every other: more is a livelock.
        self.simulation.run(limit=self.simulation.steps + 5000)
        for request in self.requests:
            assert request.status is Status.FINISHED
            prompt = request.token_ids[: request.num_prompt_tokens]
            wanted = plain_output(prompt, request.params.max_tokens)
            assert request.output_ids == wanted[: request.num_output_tokens]
            if request.finish_reason == "length":
                assert request.num_output_tokens == request.params.max_tokens


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(max_examples=120, stateful_step_count=25, deadline=None)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_many_more_histories() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    many = settings(max_examples=1000, stateful_step_count=50, deadline=None)
    run_state_machine_as_test(SchedulerMachine, settings=many)
