"""What the process does for each call."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import msgspec
import numpy as np

from semantic_cache.decision.base import Candidate, Decider, Decision, Observations
from semantic_cache.decision.label import agree
from semantic_cache.decision.vouch import vouches
from semantic_cache.embed.base import Encoding
from semantic_cache.scope import ExactKey
from semantic_cache.semantic.protocol import (
    LATE,
    MAX_TEXTS,
    Block,
    Call,
    Considered,
    Embed,
    Embedded,
    Explain,
    Failed,
    Found,
    Hurry,
    Learn,
    Learned,
    Look,
    Looked,
    Near,
    Numbers,
    Rank,
    Ranked,
    Reply,
    Search,
    Stats,
    Steps,
    Verdict,
    Vouch,
    Withdraw,
)
from semantic_cache.semantic.service.encodings import Encodings
from semantic_cache.semantic.service.follower import Encode, Follower
from semantic_cache.semantic.service.shelf import Neighbour, Shelf
from semantic_cache.semantic.service.teacher import Teacher, observations_of, pool_of
from semantic_cache.semantic.service.tickets import Ticket, Tickets

FLOOR = 0.5
"""Similarity below which a record is no candidate: nothing that far off was ever the same question."""
POOLS = 256
"""Groups whose labels are kept together."""
COMPARISONS = 64
"""Pairs of answers that may wait to be encoded; one more gives no label."""
_POOL = 2000
"""Labels of a group that are looked at; the last ones."""


class Service:
    """Answers calls on the event loop, decisions included: they are as short as the way to another thread."""

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
        self._decider = decider
        self._teacher = teacher
        self._follower = follower
        self._candidates = candidates
        self._encodings = Encodings()
        self._tickets = Tickets()
        self._comparing = 0
        self._pools: OrderedDict[tuple[str, str], tuple[int, Observations]] = OrderedDict()
        """Labels by group, with the version that they are of; the group looked at longest ago makes room."""
        self._thread = ThreadPoolExecutor(1, "forebay-compare")

    async def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    async def answer(self, call: Call) -> Reply | None:
        """Return the answer to a call; None for one that has none. Raises CacheError."""
        match call:
            case Look():
                return await self._look(call)
            case Explain():
                return await self._look(call.look, explain=True)
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

    async def _look(self, look: Look, *, explain: bool = False) -> Reply:
        # Not the loop's clock, which stands still while something runs on it.
        began = time.monotonic()
        left_s = look.patience_s
        try:
            async with asyncio.timeout(left_s):
                (encoding,) = await self._encode([look.text])
        except TimeoutError:
            return Failed(LATE)
        moments = began, time.monotonic()
        if _cut(look.text, encoding):
            # What the embedder has not read cannot have been compared.
            return Looked("too_long")
        if not np.any(encoding.vector):
            return Looked("no_vector")
        looked = await self._weigh(look, encoding, self._servable(look, encoding), moments, explain=explain)
        if not look.peers or not isinstance(looked, Looked) or looked.serve is not None:
            return looked
        quarantined = self._quarantined(look, encoding)
        if not quarantined:
            return looked
        other = await self._weigh(look, encoding, quarantined, moments, explain=True)
        if not isinstance(other, Looked) or other.serve is None:
            return looked
        # It would have been served if it were the tenant's own: the fresh answer may confirm it.
        return msgspec.structs.replace(
            looked,
            reason="quarantined",
            explored=other.serve,
            similarity=other.similarity,
            ticket=0,
            considered=[*looked.considered, *(other.considered if explain else [])],
            holder=other.holder,
        )

    def _servable(self, look: Look, encoding: Encoding) -> list[Neighbour]:
        """Return candidates that the tenant may be given: its own, and those that its group has confirmed."""
        near = self._near(look, look.tenant, encoding)
        if not look.group:
            return near
        own = {neighbour.stored.key.digest for neighbour in near}
        near += [
            other for other in self._near(look, look.group, encoding) if other.stored.key.digest not in own
        ]
        return sorted(near, key=lambda neighbour: -neighbour.similarity)[: self._candidates]

    def _quarantined(self, look: Look, encoding: Encoding) -> list[Neighbour]:
        """Return candidates that only one of the group's other tenants has had.

        Of one that has any, whom the question's digest chooses: nobody can fill all places by himself, and so
        keep the others' answers from ever being confirmed.
        """
        found = [
            [one for one in near if self._shelf.find(one.stored.key.held_by(look.group)) is None]
            for peer in look.peers
            if (near := self._near(look, peer, encoding))
        ]
        found = [near for near in found if near]
        return found[int.from_bytes(look.key[:8], "big") % len(found)] if found else []

    def _near(self, look: Look, holder: str, encoding: Encoding) -> list[Neighbour]:
        near = self._shelf.near(holder, look.scope, look.key, encoding.vector, self._candidates)
        return [neighbour for neighbour in near if neighbour.similarity >= FLOOR]

    async def _weigh(
        self,
        look: Look,
        encoding: Encoding,
        near: list[Neighbour],
        moments: tuple[float, float],
        *,
        explain: bool,
    ) -> Looked | Failed:
        """Decide about some candidates; `moments` are when the look began and when its text was embedded."""
        began, _ = moments
        vector = encoding.vector.astype("<f2").tobytes()
        searched = time.monotonic()
        if not near:
            self._encodings.put(look.text, encoding)
            steps = _steps((*moments, searched))
            return Looked("no_candidates", embedder=self._embedder, vector=vector, steps=steps)
        gates = self._decider.screen(look.text, [neighbour.stored.record.text for neighbour in near])
        screened = time.monotonic()
        least = look.threshold or 0.0
        passed = [
            neighbour
            for neighbour, seen in zip(near, gates, strict=True)
            if seen[-1].passed and neighbour.similarity >= least
        ]
        left_s = look.patience_s
        try:
            if left_s is not None:
                left_s = max(0.0, left_s - (screened - began))
            async with asyncio.timeout(left_s):
                # Only what may be served: to encode a text takes longer than all the rest.
                encodings = await self._encodings_of(passed)
        except TimeoutError:
            return Failed(LATE)
        encoded = time.monotonic()
        if look.patience_s is not None and encoded - began > look.patience_s:
            # Whoever asked has gone on; those behind have not.
            return Failed(LATE)
        decision = self._decider.decide(
            look.text,
            encoding,
            [
                Candidate(
                    neighbour.id,
                    neighbour.stored.record.text,
                    neighbour.similarity,
                    encodings.get(neighbour.stored.record.text),
                    observations_of(neighbour.stored),
                    seen,
                )
                for neighbour, seen in zip(near, gates, strict=True)
            ],
            error_budget=look.error_budget,
            seed=look.key,
            threshold=look.threshold,
            pool=self._pool((look.tenant, look.model)),
        )
        if decision.serve is None:
            # Likely to be stored in a moment, and to be asked for in other words soon after.
            self._encodings.put(look.text, encoding)
        steps = _steps((*moments, searched, screened, encoded, time.monotonic()))
        return self._looked(look.tenant, decision, near, vector, steps, explain=explain)

    def _looked(
        self,
        tenant: str,
        decision: Decision,
        near: list[Neighbour],
        vector: bytes,
        steps: Steps,
        *,
        explain: bool,
    ) -> Looked:
        by_id = {neighbour.id: neighbour for neighbour in near}
        chosen = decision.serve if decision.serve is not None else decision.explored
        assessment = next((found for found in decision.verdicts if found.id == chosen), None)
        ticket = 0
        if chosen is not None and assessment is not None and not explain:
            ticket = self._tickets.issue(tenant, Ticket(by_id[chosen].stored.key, assessment))
        considered = [
            Considered(
                by_id[found.id].stored.key.digest,
                by_id[found.id].similarity,
                [Verdict(gate.gate, gate.passed, gate.detail if explain else "") for gate in found.gates],
                found.verifier,
                found.probability,
                found.bound,
                by_id[found.id].stored.record.text if explain else "",
            )
            for found in decision.verdicts
        ]
        serve = None if decision.serve is None else by_id[decision.serve].stored.key.digest
        explored = None
        if decision.explore and decision.explored is not None:
            explored = by_id[decision.explored].stored.key.digest
        similarity = near[0].similarity if chosen is None else by_id[chosen].similarity
        return Looked(
            decision.reason,
            serve,
            explored,
            similarity,
            decision.probability,
            decision.bound,
            ticket,
            self._embedder,
            vector,
            considered,
            steps,
            "" if chosen is None else by_id[chosen].stored.key.tenant,
        )

    async def _encodings_of(self, near: list[Neighbour]) -> dict[str, Encoding]:
        """Return the encodings of stored questions by their texts."""
        found: dict[str, Encoding] = {}
        missing = []
        for text in dict.fromkeys(neighbour.stored.record.text for neighbour in near):
            if (known := self._encodings.get(text)) is not None:
                found[text] = known
            else:
                missing.append(text)
        if missing:
            for text, encoding in zip(missing, await self._encode(missing), strict=True):
                self._encodings.put(text, encoding)
                found[text] = encoding
        return found

    def _pool(self, group: tuple[str, str]) -> Observations | None:
        """Return the labels of all records of a group together."""
        version = self._shelf.labels_version(group)
        known = self._pools.pop(group, None)
        if known is None or known[0] != version:
            pool = pool_of(self._shelf.group(group), _POOL)
            if pool is None:
                return None
            known = version, pool
        self._pools[group] = known
        if len(self._pools) > POOLS:
            self._pools.popitem(last=False)
        return known[1]

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
        if _cut(fresh, one) or _cut(stored, other):
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


def _steps(stamps: Sequence[float]) -> Steps:
    return Steps(*(round((end - begin) * 1000, 3) for begin, end in pairwise(stamps)))


def _cut(text: str, encoding: Encoding) -> bool:
    """Return whether the embedder has left out the end of the text."""
    if not len(encoding.spans):
        return False
    return int(encoding.spans[:, 1].max()) < len(text.rstrip())
