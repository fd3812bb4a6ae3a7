"""What the process does for each call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from semantic_cache.decision.base import Decider
from semantic_cache.decision.label import agree
from semantic_cache.decision.vouch import vouches
from semantic_cache.scope import ExactKey
from semantic_cache.semantic.protocol import (
    MAX_TEXTS,
    Block,
    Call,
    Embed,
    Embedded,
    Explain,
    Failed,
    Found,
    Hurry,
    Learn,
    Learned,
    Look,
    Near,
    Numbers,
    Rank,
    Ranked,
    Reply,
    Search,
    Stats,
    Vouch,
    Withdraw,
)
from semantic_cache.semantic.service.encodings import was_cut
from semantic_cache.semantic.service.follower import Encode, Follower
from semantic_cache.semantic.service.looks import Looks
from semantic_cache.semantic.service.shelf import Shelf
from semantic_cache.semantic.service.teacher import Teacher
from semantic_cache.semantic.service.tickets import Tickets

COMPARISONS = 64
"""Pairs of answers that may wait to be encoded; one more gives no label."""


class Service:
    """Answers calls on the event loop."""

    def __init__(
        self,
        embedder: str,
        dim: int,
        encode: Encode,
        shelf: Shelf,
        decider: Decider,
        teacher: Teacher,
        follower: Follower,
        *,
        encode_later: Encode,
        candidates: int,
    ) -> None:
        """`candidates` records are looked at for a question; `embedder` and `dim` are those of `encode`.

        `encode_later` lets everything go first that somebody waits for.
        """
        self._embedder = embedder
        self._dim = dim
        self._encode = encode
        self._encode_later = encode_later
        self._shelf = shelf
        self._teacher = teacher
        self._follower = follower
        self._tickets = Tickets()
        self._looks = Looks(embedder, encode, shelf, decider, self._tickets, candidates)
        self._comparing = 0
        self._thread = ThreadPoolExecutor(1, "forebay-compare")

    async def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    async def answer(self, call: Call) -> Reply | None:
        """Return the answer to a call; None for one that has none. Raises CacheError."""
        match call:
            case Look():
                return await self._looks.look(call)
            case Explain():
                return await self._looks.look(call.look, explain=True)
            case Embed():
                return await self._embed(call)
            case Rank():
                return await self._rank(call)
            case Search():
                return await self._search(call)
            case Learn():
                # A worker that leaves now takes nothing back of what it said.
                return await asyncio.shield(asyncio.ensure_future(self._learn(call)))
            case Vouch():
                return Learned(await self._compare(call.fresh, call.stored, vouches))
            case Block():
                return await asyncio.shield(asyncio.ensure_future(self._block(call)))
            case Withdraw():
                return await asyncio.shield(asyncio.ensure_future(self._withdraw(call)))
            case Hurry():
                self._follower.hurry()
                return None
            case Stats():
                return self._stats()

    async def _embed(self, call: Embed) -> Reply:
        if len(call.texts) > MAX_TEXTS:
            return Failed("too_many_texts")
        encodings = await self._encode(call.texts) if call.texts else []
        vectors = [encoding.vector.astype("<f4").tobytes() for encoding in encodings]
        return Embedded(self._embedder, self._dim, vectors)

    async def _rank(self, call: Rank) -> Reply:
        if len(call.texts) > MAX_TEXTS:
            return Failed("too_many_texts")
        one, *others = await self._encode([call.text, *call.texts])
        return Ranked([float(one.vector @ other.vector) for other in others])

    async def _search(self, call: Search) -> Reply:
        (encoding,) = await self._encode([call.text])
        near = self._shelf.near(call.tenant, call.scope, b"", encoding.vector, min(call.k, MAX_TEXTS))
        return Found([Near(neighbour.stored.key.digest, neighbour.similarity) for neighbour in near])

    async def _learn(self, call: Learn) -> Learned:
        ticket = self._tickets.look(call.ticket)
        if ticket is None:
            return Learned(None)
        same = call.same
        if same is None:
            same = await self._compare(call.fresh, call.stored, agree)
        if same is None:
            # Somebody else may know.
            return Learned(None)
        if self._tickets.redeem(call.ticket) is None:
            return Learned(None)
        taken = await self._teacher.label(ticket.entry, ticket.assessment, same=same)
        return Learned(same if taken else None)

    async def _compare(
        self, fresh: str, stored: str, rule: Callable[[str, str, float | None], bool | None]
    ) -> bool | None:
        if not fresh.strip() or not stored.strip():
            return None
        loop = asyncio.get_running_loop()
        # On a thread: nobody waits for it, and an answer may be long.
        same = await loop.run_in_executor(self._thread, rule, stored, fresh, None)
        if same is not None or self._comparing >= COMPARISONS:
            return same
        self._comparing += 1
        try:
            one, other = await self._encode_later([fresh, stored])
        finally:
            self._comparing -= 1
        if was_cut(fresh, one) or was_cut(stored, other):
            # By their beginnings long answers are all alike.
            return None
        return await loop.run_in_executor(self._thread, rule, stored, fresh, float(one.vector @ other.vector))

    async def _block(self, call: Block) -> Learned:
        entry = ExactKey(call.tenant, call.entry)
        blocked = await self._teacher.block(entry, call.question)
        ticket = self._tickets.redeem(call.ticket)
        if ticket is not None and ticket.entry == entry:
            blocked = await self._teacher.label(entry, ticket.assessment, same=False) or blocked
        return Learned(False if blocked else None)

    async def _withdraw(self, call: Withdraw) -> Learned:
        withdrawn = await self._teacher.withdraw(ExactKey(call.tenant, call.entry))
        return Learned(False if withdrawn else None)

    def _stats(self) -> Numbers:
        return Numbers(
            self._embedder,
            len(self._shelf),
            self._shelf.scopes,
            self._shelf.waiting,
            self._follower.caught_up,
            self._shelf.index_bytes,
        )
