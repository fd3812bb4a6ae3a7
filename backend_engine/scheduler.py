"""Decides, step by step, which tokens of which sequences are computed.

There are no prefill and decode phases: every running request wants its uncomputed tokens, one if it is
decoding, and the step's token budget is shared out, short wants first. What is left admits waiting requests.

Invariants
    A running request holds blocks for all tokens it has, so a step never runs out half way. Drafted tokens
    get blocks that are free, and never another request's.
    A request is admitted only when blocks for its whole context are free (the next chunk would not do:
    several half-admitted prompts could starve each other for ever).
    Requests have one order, by arrival and priority, which never changes. The first in the queue is admitted
    before any other, and preemption takes the last of the running ones, which keeps its tokens and recomputes
    its KV. So the first of all always gets on, and every request is the first one day.
"""

from __future__ import annotations

import itertools
import math
import time
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass

from backend_engine.admission_rate import AdmissionRate
from backend_engine.errors import ContextLengthExceeded, EngineError, EngineOverloaded
from backend_engine.kv.block_pool import BlockPool
from backend_engine.kv.hashing import extend_chain
from backend_engine.kv.offload import Offload
from backend_engine.request import FinishReason, Request, Status
from backend_engine.step_time import Load, StepTime

PRIORITY_STEP_S = 10.0
"""How much earlier a request must have come than one of the next better priority to go before it."""
LEAST_CHUNK = 4
"""Prompt tokens in a step however long they make it: with none, a prompt would never end."""
MOST_RETRY_AFTER_S = 120


@dataclass(frozen=True, slots=True)
class Scheduled:
    """`num_tokens` tokens of `request` to compute in this step, from `request.num_computed` on.

    After them the tokens of `draft`, whose KV is overwritten later if they turn out wrong.
    """

    request: Request
    num_tokens: int
    draft: tuple[int, ...] = ()

    @property
    def reaches_end(self) -> bool:
        """The last of these tokens is the request's last, so its logits choose the next token."""
        return self.num_tokens == self.request.num_uncomputed


@dataclass(slots=True)
class PrefixStats:
    """Prompt tokens looked up in the prefix cache and found there, each request counted once."""

    queries: int = 0
    hits: int = 0


class Scheduler:
    """One queue and one batch over one pool of KV blocks."""

    def __init__(
        self,
        pool: BlockPool,
        *,
        max_batch_tokens: int,
        max_sequences: int,
        max_waiting: int,
        prefix_cache: bool = True,
        offload: Offload | None = None,
        max_decode_stretch: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`max_decode_stretch` bounds a step with prompt tokens, in times of the step without them."""
        if max_batch_tokens < 1 or max_sequences < 1:
            raise ValueError("a step needs room for at least one token of one sequence")
        if not max_decode_stretch > 1:
            raise ValueError(
                f"max_decode_stretch {max_decode_stretch} leaves prompts no time; it must be over 1"
            )
        self.pool = pool
        self.max_batch_tokens = max_batch_tokens
        self.max_sequences = max_sequences
        self.max_waiting = max_waiting
        self.prefix_cache = prefix_cache
        self._offload = offload
        self.waiting: list[Request] = []
        """In the order of `_rank`."""
        self.running: list[Request] = []
        self.prefix_stats = PrefixStats()
        self.num_preemptions = 0
        self.step_time = StepTime()
        """Whoever runs the steps tells it what they took."""
        self._max_decode_stretch = max_decode_stretch
        self._clock = clock
        self._admission_rate = AdmissionRate()
        self._serials = itertools.count()
        self._in_flight: dict[bytes, Request] = {}
        """Block names that a running request is going to publish."""

    @property
    def capacity_tokens(self) -> int:
        return self.pool.num_blocks * self.pool.block_size

    def add(self, request: Request) -> None:
        """Queue `request`.

        Raises ContextLengthExceeded if it could not run even alone, EngineOverloaded if the queue is full.
        """
        longest = request.num_tokens + request.params.max_tokens
        if longest > self.capacity_tokens:
            raise ContextLengthExceeded(
                f"This request may need {longest} tokens ({request.num_tokens} of prompt and "
                f"{request.params.max_tokens} of completion), but the KV cache holds {self.capacity_tokens}."
            )
        if len(self.waiting) >= self.max_waiting:
            raise EngineOverloaded(
                f"{len(self.waiting)} requests are already waiting, which is the limit.",
                self._retry_after_s(),
            )
        request.serial = next(self._serials)
        request.status = Status.WAITING
        insort(self.waiting, request, key=_rank)

    def schedule(self) -> list[Scheduled]:
        """Return this step's work, allocating its blocks; empty if there is nothing to do."""
        for request in sorted(self.running, key=_rank):
            if request.status is Status.RUNNING:
                self._grow(request)
        step = _Step(self.max_batch_tokens, self.step_time, self._max_decode_stretch)
        for request in sorted(self.running, key=lambda r: (r.num_uncomputed > 1, _rank(r))):
            if step.full:
                break
            step.add(request, self._draft(request))
        while not step.full and self.waiting and len(self.running) < self.max_sequences:
            if not self._admit(self.waiting[0]):
                break
            request = self.waiting.pop(0)
            self.running.append(request)
            step.add(request)
        return step.items

    def overdue(self) -> list[Request]:
        """Return the requests whose deadline has passed."""
        now = self._clock()
        return [
            request
            for request in (*self.running, *self.waiting)
            if request.deadline is not None and request.deadline <= now
        ]

    def computed(self, request: Request, num_tokens: int) -> None:
        """Record that the KV of so many more of the request's tokens is there, and publish full blocks."""
        request.num_computed += num_tokens
        if not self.prefix_cache:
            return
        extend_chain(request.block_names, request.chain_root, request.token_ids, self.pool.block_size)
        for index in range(request.num_published, request.num_computed // self.pool.block_size):
            name = request.block_names[index]
            self.pool.publish(request.block_table[index], name)
            self._landed(name, request)
            request.num_published = index + 1

    def finish(self, request: Request, reason: FinishReason) -> None:
        """Take `request`, wherever it is, out of the schedule and free its blocks.

        One that was refused is nowhere; its caller need not know.
        """
        if request.status is Status.RUNNING:
            self.running.remove(request)
            self._free(request)
        elif request.status is Status.WAITING:
            self.waiting.remove(request)
        request.status = Status.FINISHED
        request.finish_reason = reason

    def close(self) -> None:
        """Save cached blocks for the next run, if there is where."""
        if self._offload is not None:
            self._offload.close(self.pool.published())

    def check(self) -> None:
        """Verify the pool, and that an idle scheduler holds no block."""
        self.pool.check()
        held = {block for request in self.running for block in request.block_table}
        if self.pool.num_used != len(held):
            raise EngineError(f"{self.pool.num_used} KV blocks are used, but requests hold {len(held)}")

    def _admit(self, request: Request) -> bool:
        """Give a waiting request blocks for its whole context, shared ones first, if they are free."""
        cached = self._cached_prefix(request)
        if cached is None:
            return False
        fresh = self.pool.blocks_for(request.num_tokens) - len(cached)
        if fresh + self.pool.num_revived(cached) > self.pool.num_free:
            return False
        # Before blocks are taken: what they held goes to the second tier, and may push these out of it.
        fetched = self._fetch(request, len(cached))
        self.pool.hold(cached)
        request.block_table = cached + self.pool.allocate(fresh)
        found = len(cached) + len(fetched)
        for index, data in enumerate(fetched, start=len(cached)):
            self._restore(request, index, data)
        request.num_computed = found * self.pool.block_size
        request.num_published = found
        request.status = Status.RUNNING
        if self.prefix_cache:
            for name in request.block_names[found:]:
                self._in_flight.setdefault(name, request)
        if not request.num_preemptions:
            self._admission_rate.admitted(self._clock())
            # Tokens that a preempted request finds again are its own: they are no hits.
            if self._may_use_cache(request):
                request.num_cached = request.num_computed
                self.prefix_stats.queries += request.num_tokens
                self.prefix_stats.hits += request.num_computed
        return True

    def _may_use_cache(self, request: Request) -> bool:
        # Log-probabilities of the prompt need its logits, which a cached block no longer yields.
        return self.prefix_cache and request.params.prompt_logprobs is None

    def _cached_prefix(self, request: Request) -> list[int] | None:
        """Return the blocks to share, or None if a running request is about to publish more of them."""
        if not self.prefix_cache:
            return []
        extend_chain(request.block_names, request.chain_root, request.token_ids, self.pool.block_size)
        if not self._may_use_cache(request):
            return []
        names = self._reusable(request)
        cached = self.pool.match(names)
        if len(cached) < len(names) and names[len(cached)] in self._in_flight:
            return None
        return cached

    def _reusable(self, request: Request) -> list[bytes]:
        # The last token is always recomputed: its logits are what the next token is drawn from.
        return request.block_names[: (request.num_tokens - 1) // self.pool.block_size]

    def _fetch(self, request: Request, num_cached: int) -> list[bytes]:
        """Return the KV of the blocks after `num_cached` that the second tier has."""
        if self._offload is None or not self._may_use_cache(request):
            return []
        return self._offload.fetch(self._reusable(request)[num_cached:])

    def _restore(self, request: Request, index: int, data: bytes) -> None:
        assert self._offload is not None
        self._offload.restore(request.block_table[index], data)
        self.pool.publish(request.block_table[index], request.block_names[index])

    def _grow(self, request: Request) -> None:
        """Make room for the request's tokens, preempting the last of all, if need be this one."""
        missing = self.pool.blocks_for(request.num_tokens) - len(request.block_table)
        while missing > self.pool.num_free:
            last = max(self.running, key=_rank)
            self._preempt(last)
            if last is request:
                return
        if missing > 0:
            request.block_table += self.pool.allocate(missing)

    def _draft(self, request: Request) -> tuple[int, ...]:
        """Take the draft of a decoding request, as far as there are blocks for it."""
        if not request.draft or request.num_uncomputed > 1:
            return ()
        missing = self.pool.blocks_for(request.num_tokens + len(request.draft)) - len(request.block_table)
        request.block_table += self.pool.allocate(max(0, min(missing, self.pool.num_free)))
        room = len(request.block_table) * self.pool.block_size - request.num_tokens
        return tuple(request.draft[:room])

    def _preempt(self, request: Request) -> None:
        self.running.remove(request)
        self._free(request)
        request.status = Status.WAITING
        request.num_computed = 0
        request.num_published = 0
        request.num_preemptions += 1
        self.num_preemptions += 1
        if not request.num_output_tokens:
            request.prompt_logprobs.clear()
        insort(self.waiting, request, key=_rank)

    def _free(self, request: Request) -> None:
        self.pool.release(request.block_table)
        request.block_table = []
        for name in request.block_names:
            self._landed(name, request)

    def _landed(self, name: bytes, request: Request) -> None:
        if self._in_flight.get(name) is request:
            del self._in_flight[name]

    def _retry_after_s(self) -> float | None:
        """Return when half of the queue should have gone: room for who comes back, and work until then."""
        seconds = self._admission_rate.seconds_for(max(1, len(self.waiting) // 2), self._clock())
        return None if seconds is None else min(seconds, MOST_RETRY_AFTER_S)


class _Step:
    """A step being put together: tokens are left until the budget or the time for prompts is used up."""

    def __init__(self, budget: int, step_time: StepTime, max_decode_stretch: float) -> None:
        self.items: list[Scheduled] = []
        self.full = False
        self._budget = budget
        self._step_time = step_time
        self._max_decode_stretch = max_decode_stretch
        self._load = Load()
        self._seconds = math.inf
        self._has_chunk = False

    def add(self, request: Request, draft: tuple[int, ...] = ()) -> None:
        """Give `request` what it wants of what is left; the decoding ones must come first."""
        wanted = min(request.num_uncomputed, self._budget)
        tokens = wanted if request.num_uncomputed == 1 else self._in_time(request, wanted)
        if tokens:
            draft = draft[: self._budget - tokens]
            self.items.append(Scheduled(request, tokens, draft))
            self._budget -= tokens + len(draft)
            self._load = self._load.plus(request.num_computed, tokens + len(draft))
        self.full = tokens < wanted or self._budget == 0

    def _in_time(self, request: Request, wanted: int) -> int:
        if not self._has_chunk:
            self._has_chunk = True
            # Nobody waits for a step that only prompts are in.
            if self.items and self._max_decode_stretch < math.inf and self._step_time.fitted:
                self._seconds = self._max_decode_stretch * self._step_time.seconds(self._load)
            least = min(wanted, LEAST_CHUNK)
        else:
            least = 0
        if self._seconds == math.inf:
            return wanted
        return max(
            least, self._step_time.tokens_within(self._seconds, self._load, request.num_computed, wanted)
        )


def _rank(request: Request) -> tuple[float, int]:
    """A request's place among all: priorities are a head start in time, so that none waits for ever."""
    return request.timings.arrived + request.priority * PRIORITY_STEP_S, request.serial
