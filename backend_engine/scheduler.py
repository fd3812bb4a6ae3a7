"""Decides, step by step, which tokens of which sequences are computed.

There are no prefill and decode phases: every running request wants its uncomputed tokens, one if it is
decoding, and the step's token budget is shared out, short wants first. What is left admits waiting requests.

Invariants
    A running request holds blocks for all tokens it has, so a step never runs out half way.
    A request is admitted only when blocks for its whole context are free (the next chunk would not do:
    several half-admitted prompts could starve each other for ever).
    Preemption takes the newest running request, so the oldest always gets on; it keeps its tokens and
    recomputes its KV.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from backend_engine.errors import ContextLengthExceeded, EngineError, EngineOverloaded
from backend_engine.kv.block_pool import BlockPool
from backend_engine.kv.hashing import extend_chain
from backend_engine.request import FinishReason, Request, Status


@dataclass(frozen=True, slots=True)
class Scheduled:
    """`num_tokens` tokens of `request` to compute in this step, from `request.num_computed` on."""

    request: Request
    num_tokens: int

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
    """First come, first served, over one pool of KV blocks."""

    def __init__(
        self,
        pool: BlockPool,
        *,
        max_batch_tokens: int,
        max_sequences: int,
        max_waiting: int,
        prefix_cache: bool = True,
    ) -> None:
        if max_batch_tokens < 1 or max_sequences < 1:
            raise ValueError("a step needs room for at least one token of one sequence")
        self.pool = pool
        self.max_batch_tokens = max_batch_tokens
        self.max_sequences = max_sequences
        self.max_waiting = max_waiting
        self.prefix_cache = prefix_cache
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        """In order of admission, the newest last."""
        self.prefix_stats = PrefixStats()
        self.num_preemptions = 0
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
            raise EngineOverloaded(f"{len(self.waiting)} requests are already waiting, which is the limit.")
        self.waiting.append(request)

    def schedule(self) -> list[Scheduled]:
        """Return this step's work, allocating its blocks; empty if there is nothing to do."""
        budget = self.max_batch_tokens
        step: list[Scheduled] = []
        # A stable sort by want: decodes first, and prompts still in admission order among themselves.
        for request in sorted(self.running, key=lambda r: r.num_uncomputed > 1):
            if budget == 0:
                break
            if request.status is not Status.RUNNING or not self._grow(request):
                continue
            step.append(Scheduled(request, min(request.num_uncomputed, budget)))
            budget -= step[-1].num_tokens
        # Growing may have preempted a request that already had its place in this step.
        step = [item for item in step if item.request.status is Status.RUNNING]
        while budget and self.waiting and len(self.running) < self.max_sequences:
            admitted = self._admit(self.waiting[0])
            if not admitted:
                break
            request = self.waiting.popleft()
            self.running.append(request)
            step.append(Scheduled(request, min(request.num_uncomputed, budget)))
            budget -= step[-1].num_tokens
        return step

    def computed(self, item: Scheduled) -> None:
        """Record that `item` was computed, and publish the blocks that this completed."""
        request = item.request
        request.num_computed += item.num_tokens
        if not self.prefix_cache:
            return
        extend_chain(request.block_names, request.chain_root, request.token_ids, self.pool.block_size)
        for index in range(request.num_published, request.num_computed // self.pool.block_size):
            name = request.block_names[index]
            self.pool.publish(request.block_table[index], name)
            self._landed(name, request)
            request.num_published = index + 1

    def finish(self, request: Request, reason: FinishReason) -> None:
        """Take `request`, wherever it is, out of the schedule and free its blocks."""
        if request.status is Status.RUNNING:
            self.running.remove(request)
            self._free(request)
        elif request.status is Status.WAITING:
            self.waiting.remove(request)
        request.status = Status.FINISHED
        request.finish_reason = reason

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
        self.pool.hold(cached)
        request.block_table = cached + self.pool.allocate(fresh)
        request.num_computed = len(cached) * self.pool.block_size
        request.num_published = len(cached)
        request.status = Status.RUNNING
        if self.prefix_cache:
            for name in request.block_names[len(cached) :]:
                self._in_flight.setdefault(name, request)
        # Tokens that a preempted request finds again are its own: they are no hits.
        if not request.num_preemptions and self._may_use_cache(request):
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
        # The last token is always recomputed: its logits are what the next token is drawn from.
        names = request.block_names[: (request.num_tokens - 1) // self.pool.block_size]
        cached = self.pool.match(names)
        if len(cached) < len(names) and names[len(cached)] in self._in_flight:
            return None
        return cached

    def _grow(self, request: Request) -> bool:
        """Make room for the request's tokens, preempting newer ones; False if it was preempted itself."""
        missing = self.pool.blocks_for(request.num_tokens) - len(request.block_table)
        while missing > self.pool.num_free:
            newest = self.running[-1]
            self._preempt(newest)
            if newest is request:
                return False
        if missing:
            request.block_table += self.pool.allocate(missing)
        return True

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
        self.waiting.appendleft(request)

    def _free(self, request: Request) -> None:
        self.pool.release(request.block_table)
        request.block_table = []
        for name in request.block_names:
            self._landed(name, request)

    def _landed(self, name: bytes, request: Request) -> None:
        if self._in_flight.get(name) is request:
            del self._in_flight[name]
