"""Lets the tenants of a group have each other's answers, once two of them have got the same.

What a tenant's request stores in a shared scope is its own at first: it lies under the tenant's name, and
nobody else is given it. When another tenant's fresh answer to the same question comes, or to one that the
semantic tier would have given it to, the two are compared. If they agree, a copy goes where the whole group
looks; the first one stays there while it is fresh. If they do not, both stay what they were.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec

from gateway.agreement import agree
from gateway.cache_state import CacheState
from gateway.exchange import Exchange
from gateway.judge import Judge
from semantic_cache.entry import Entry
from semantic_cache.errors import StoreUnavailable
from semantic_cache.record import Stored
from semantic_cache.scope import ExactKey
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.protocol import Hurry
from semantic_cache.semantic.question import AnswerTexts, answer_texts, text_of
from semantic_cache.store.base import Store
from telemetry.metrics import GatewayMetrics

MAX_COMPARISONS = 64
"""Fresh answers compared at once; one more goes without."""
MOST_PEERS = 2
"""Answers of others that one fresh answer is compared with by more than their letters; by a model, one."""
PATIENCE_S = 10.0

_Found: TypeAlias = tuple[ExactKey, Entry, AnswerTexts]
"""An answer that another tenant of the group has, and what it says."""


class Confirmer:
    """Compares fresh answers with those that other tenants of the group have had."""

    def __init__(
        self,
        store: Store,
        client: SemanticClient | None,
        judge: Judge | None,
        metrics: GatewayMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Without a `client` only equal answers agree; `judge` is asked where the client cannot tell."""
        self._store = store
        self._client = client
        self._judge = judge
        self._metrics = metrics
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Break off what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def same_question(self, ex: Exchange, state: CacheState, fresh: bytes) -> None:
        """Compare a fresh answer (`Entry.answer`) with those of the group's other tenants to its question."""
        self._begin(lambda: self._look_around(ex, state, fresh))

    def other_question(self, ex: Exchange, state: CacheState, found: ExactKey) -> Callable[[bytes], None]:
        """Return what compares the fresh answer with another tenant's answer to another question."""
        return lambda fresh: self._begin(lambda: self._look_at(ex, state, fresh, [found]))

    def _begin(self, work: Callable[[], Awaitable[str]]) -> None:
        if len(self._tasks) >= MAX_COMPARISONS:
            self._metrics.cache_confirmation("busy")
            return

        async def run() -> None:
            outcome = "unavailable"
            try:
                outcome = await work()
            except StoreUnavailable:
                pass
            finally:
                self._metrics.cache_confirmation(outcome)

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_around(self, ex: Exchange, state: CacheState, fresh: bytes) -> str:
        assert state.group is not None and state.key is not None and state.shared is not None
        known = await self._store.get(state.shared)
        if known is not None and known.fresh(self._clock()):
            return "late"
        others = [state.key.held_by(peer) for peer in state.group.tenants if peer != state.key.tenant]
        return await self._look_at(ex, state, fresh, others)

    async def _look_at(self, ex: Exchange, state: CacheState, fresh: bytes, keys: list[ExactKey]) -> str:
        """Confirm the first of these answers that the fresh one vouches for; return what became of it."""
        assert state.shared is not None
        # As of now: what is purged meanwhile must not come back by this.
        epoch = (await self._store.epochs(state.shared.tenant)).now
        mine = answer_texts(fresh)
        found: list[_Found] = []
        for key in keys:
            entry = await self._store.get(key)
            if entry is not None and entry.fresh(self._clock()) and entry.tenant == key.tenant:
                found.append((key, entry, answer_texts(entry.answer)))
        # By chance, so that nobody is always looked at before the others; but all equal ones first.
        random.shuffle(found)
        equal = [one for one in found if one[2] == mine and mine.said.strip()]
        outcome = "disagrees" if found else "alone"
        if equal:
            return await self._confirm(state.shared.tenant, equal[0], found, epoch)
        unsure: list[_Found] = []
        for one in [one for one in found if one[2] != mine][:MOST_PEERS]:
            same = await agree(self._client, mine, one[2], PATIENCE_S)
            if same:
                return await self._confirm(state.shared.tenant, one, found, epoch)
            if same is None:
                unsure.append(one)
        for one in unsure[:1]:
            same = await self._judged(ex, state, mine, one[2])
            if same:
                return await self._confirm(state.shared.tenant, one, found, epoch)
            if same is None or len(unsure) > 1:
                return "unsure"
        return outcome

    async def _judged(
        self, ex: Exchange, state: CacheState, mine: AnswerTexts, theirs: AnswerTexts
    ) -> bool | None:
        if self._judge is None or state.question is None:
            return None
        question = text_of(state.question)
        return None if question is None else await self._judge.agrees(ex, question, mine.said, theirs.said)

    async def _confirm(self, owner: str, chosen: _Found, found: list[_Found], epoch: int) -> str:
        """Give the group one of the answers `found`, unless it has been called wrong, whoever has it."""
        source, entry, texts = chosen
        target = source.held_by(owner)
        shared: dict[str, Any] = {
            "contributor": source.tenant,
            "contributed": entry.epoch,
            "epoch": epoch,
        }
        stored: Stored | None = None
        for key, _, said in found:
            if said != texts:
                continue
            other = await self._store.beside(key)
            if other is not None and other.learnt.withdrawn:
                return "withdrawn"
            if key == source:
                stored = other
        if stored is not None:
            record = msgspec.structs.replace(stored.record, **shared)
            stored = Stored(target, record, stored.learnt)
        if not await self._store.confirm(
            target, msgspec.structs.replace(entry, tenant=owner, **shared), stored
        ):
            return "late"
        if self._client is not None and stored is not None:
            self._client.tell(Hurry())
        return "confirmed"
