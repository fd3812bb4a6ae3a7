"""A scheduler without a model: a simulation that knows, slot by slot, whose KV every block really holds."""

from __future__ import annotations

import random
from collections.abc import Iterable

from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.kv.block_pool import BlockPool
from backend_engine.request import Request, Status
from backend_engine.sampling.params import SamplingParams
from backend_engine.scheduler import Scheduled, Scheduler
from backend_engine.step_time import Load

BLOCK = 4


class Clock:
    """A clock that its test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_request(
    prompt: Iterable[int],
    max_tokens: int = 4,
    *,
    salt: str = "",
    priority: int = 0,
    deadline: float | None = None,
    arrived: float = 0.0,
    prompt_logprobs: int | None = None,
) -> Request:
    params = SamplingParams(max_tokens=max_tokens, prompt_logprobs=prompt_logprobs)
    detokenizer = IncrementalDetokenizer(lambda token: b"x")
    request = Request("r", list(prompt), params, detokenizer, salt=salt, priority=priority, deadline=deadline)
    request.timings.arrived = arrived
    return request


def make_scheduler(num_blocks: int = 16, *, clock: Clock | None = None, **options: float | bool) -> Scheduler:
    settings = {"max_batch_tokens": 8, "max_sequences": 4, "max_waiting": 100, **options}
    return Scheduler(BlockPool(num_blocks, BLOCK), clock=clock or Clock(), **settings)  # type: ignore[arg-type]


def teach(scheduler: Scheduler, *, step: float, token: float) -> None:
    """Let the scheduler see steps that take `step` seconds and `token` more for each token."""
    for tokens in (1, 2, 3, 4):
        decodes = Load.of([(10 * tokens, 1)] * tokens)
        scheduler.step_time.observe(decodes, step + token * tokens)
        mixed = decodes.plus(7 * tokens, 20 * tokens)
        scheduler.step_time.observe(mixed, step + token * 21 * tokens)


class Simulation:
    """Plays engine and KV memory: what is written where, and whether a step reads only its own past.

    With a `drafter` decoding sequences have drafts, which overshoot, go wrong and are right as it happens.
    """

    def __init__(self, scheduler: Scheduler, drafter: random.Random | None = None) -> None:
        self.scheduler = scheduler
        self._drafter = drafter
        self.memory: dict[tuple[int, int], tuple[object, ...]] = {}
        self.steps = 0

    def step(self) -> list[Scheduled]:
        for request in self.scheduler.running:
            request.draft = self._draft(request)
        preemptions = self.scheduler.num_preemptions
        missing = sum(
            max(0, self.scheduler.pool.blocks_for(request.num_tokens) - len(request.block_table))
            for request in self.scheduler.running
        )
        short = missing > self.scheduler.pool.num_free
        items = self.scheduler.schedule()
        assert short or self.scheduler.num_preemptions == preemptions, "a draft took another's blocks"
        assert sum(item.num_tokens + len(item.draft) for item in items) <= self.scheduler.max_batch_tokens
        assert len(self.scheduler.running) <= self.scheduler.max_sequences
        assert len({item.request for item in items}) == len(items)
        for item in items:
            self._compute(item)
        for item in items:
            reaches_end = item.reaches_end
            self.scheduler.computed(item.request, item.num_tokens)
            if reaches_end:
                self._sample(item)
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
        assert not item.draft or item.reaches_end
        for at, end in enumerate(range(request.num_tokens + 1, request.num_tokens + len(item.draft) + 1)):
            slot = (request.block_table[(end - 1) // BLOCK], (end - 1) % BLOCK)
            self.memory[slot] = (request.salt, *request.token_ids, *item.draft[: at + 1])

    def _sample(self, item: Scheduled) -> None:
        request = item.request
        for drafted in (*item.draft, None):
            token = next_token(request.token_ids)
            request.token_ids.append(token)
            if request.num_output_tokens >= request.params.max_tokens:
                self.scheduler.finish(request, "length")
            if token != drafted or request.status is Status.FINISHED:
                return
            self.scheduler.computed(request, 1)

    def _draft(self, request: Request) -> list[int]:
        if self._drafter is None or request.num_tokens_left < 2:
            return []
        draft: list[int] = []
        for _ in range(self._drafter.randrange(min(7, request.num_tokens_left))):
            right = next_token([*request.token_ids, *draft])
            draft.append(right if self._drafter.random() < 0.8 else self._drafter.randrange(3))
        return draft


def next_token(context: list[int]) -> int:
    """A "model": the token follows from the context alone, so recomputation must reproduce it."""
    return hash(tuple(context)) % 3


def plain_output(prompt: list[int], max_tokens: int) -> list[int]:
    """What a request gives when nothing is batched, cached, preempted or reordered."""
    context = list(prompt)
    for _ in range(max_tokens):
        context.append(next_token(context))
    return context[len(prompt) :]
