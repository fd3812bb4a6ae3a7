"""Looks for a stored answer to a question: embed, search, gates, decision."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np

from semantic_cache.decision.base import Candidate, Decider, Decision, Observations
from semantic_cache.embed.base import Encoding
from semantic_cache.semantic.protocol import LATE, Considered, Failed, Look, Looked, Steps, Verdict
from semantic_cache.semantic.service.encodings import Encodings, was_cut
from semantic_cache.semantic.service.follower import Encode
from semantic_cache.semantic.service.shelf import Neighbour, Shelf
from semantic_cache.semantic.service.teacher import observations_of, pool_of
from semantic_cache.semantic.service.tickets import Ticket, Tickets

FLOOR = 0.5
"""Similarity below which a record is no candidate: nothing that far off was ever the same question."""
POOLS = 256
"""Groups whose labels are kept together."""
_POOL = 2000
"""Labels of a group that are looked at; the last ones."""


class Looks:
    """Decides on the event loop: that is as short as the way to another thread."""

    def __init__(
        self, embedder: str, encode: Encode, shelf: Shelf, decider: Decider, tickets: Tickets, candidates: int
    ) -> None:
        """`candidates` records are looked at for a question; `embedder` is that of `encode`."""
        self._embedder = embedder
        self._encode = encode
        self._shelf = shelf
        self._decider = decider
        self._tickets = tickets
        self._candidates = candidates
        self._encodings = Encodings()
        self._pools: OrderedDict[tuple[str, str], tuple[int, Observations]] = OrderedDict()
        """Labels by group, with the version that they are of; the group looked at longest ago makes room."""

    async def look(self, look: Look, *, explain: bool = False) -> Looked | Failed:
        """Decide what may be served for a question; `explain` tells of all candidates and gives no ticket."""
        # Not the loop's clock, which stands still while something runs on it.
        began = time.monotonic()
        left_s = look.patience_s
        try:
            async with asyncio.timeout(left_s):
                (encoding,) = await self._encode([look.text])
        except TimeoutError:
            return Failed(LATE)
        moments = began, time.monotonic()
        if was_cut(look.text, encoding):
            # What the embedder has not read cannot have been compared.
            return Looked("too_long")
        if not np.any(encoding.vector):
            return Looked("no_vector")
        looked = await self._weigh(look, encoding, self._servable(look, encoding), moments, explain=explain)
        if not look.peers or not isinstance(looked, Looked) or looked.serve is not None:
            return looked
        if looked.explored is not None and look.key[8] % 2:
            # A fresh answer is compared with one other: every second with what the tenant may be given.
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
        near += [
            other
            for other in self._near(look, look.group, encoding)
            # Its own answer to a question goes first, and if it is blocked, then so is the group's.
            if self._shelf.find(other.stored.key.held_by(look.tenant)) is None
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
        candidates = [
            Candidate(
                neighbour.id,
                neighbour.stored.record.text,
                neighbour.similarity,
                encodings.get(neighbour.stored.record.text),
                observations_of(neighbour.stored),
                seen,
            )
            for neighbour, seen in zip(near, gates, strict=True)
        ]
        decision = self._decide(look, encoding, candidates, look.tenant)
        served = next((one for one in near if one.id == decision.serve), None)
        if served is not None and served.stored.key.tenant == look.group:
            # What was learnt of the group's answers, whoever was given them, can only say no.
            by_group = self._decide(look, encoding, candidates, look.group)
            decision = decision if by_group.serve is not None else by_group
        if decision.serve is None:
            # Likely to be stored in a moment, and to be asked for in other words soon after.
            self._encodings.put(look.text, encoding)
        steps = _steps((*moments, searched, screened, encoded, time.monotonic()))
        return self._looked(look.tenant, decision, near, vector, steps, explain=explain)

    def _decide(self, look: Look, encoding: Encoding, candidates: list[Candidate], holder: str) -> Decision:
        """Decide by the labels of what one holder has."""
        return self._decider.decide(
            look.text,
            encoding,
            candidates,
            error_budget=look.error_budget,
            seed=look.key,
            threshold=look.threshold,
            pool=self._pool((holder, look.model)),
        )

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


def _steps(stamps: Sequence[float]) -> Steps:
    return Steps(*(round((end - begin) * 1000, 3) for begin, end in pairwise(stamps)))
