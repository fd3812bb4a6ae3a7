"""Suffix decoding: the longest match of a sequence's end in its own tokens and its tenant's past answers.

Source: Oliaro et al., SuffixDecoding (arXiv 2411.04975). Answers of one application resemble each other,
which a sequence's own tokens cannot know.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from backend_engine.request import Request
from backend_engine.spec.acceptance import LEAST_CHANCE
from backend_engine.spec.base import Draft, TextDrafter, Want
from backend_engine.spec.suffix_automaton import SEPARATOR, Cursor, SuffixAutomaton

_LOOK_BACK = 32
"""Tokens that a sequence which meets new text is matched by; no more evidence is ever needed."""


class SuffixDrafter(TextDrafter):
    """Remembers the last answers of the tenants that were served last, each tenant's for itself alone."""

    def __init__(self, *, tokens_per_tenant: int = 8192, max_tenants: int = 16) -> None:
        """At most twice `tokens_per_tenant` tokens are kept for each of `max_tenants` (about 0.4 KB each)."""
        self._tokens_per_tenant = tokens_per_tenant
        self._max_tenants = max_tenants
        self._tenants: OrderedDict[str, _Memory] = OrderedDict()
        self._sequences: dict[Request, _Sequence] = {}

    def propose(self, wants: Sequence[Want]) -> list[list[Draft]]:
        return [self._propose(want.request, want.limit) for want in wants]

    def finished(self, request: Request) -> None:
        self._sequences.pop(request, None)
        if request.num_output_tokens:
            self._memory(request.salt).learn(request.output_ids)

    def _propose(self, request: Request, limit: int) -> list[Draft]:
        sequence = self._sequences.get(request)
        if sequence is None:
            sequence = self._sequences[request] = _Sequence()
        memory = self._tenants.get(request.salt)
        return sequence.propose(request.token_ids, () if memory is None else memory.generations, limit)

    def _memory(self, tenant: str) -> _Memory:
        memory = self._tenants.pop(tenant, None) or _Memory(self._tokens_per_tenant)
        self._tenants[tenant] = memory
        if len(self._tenants) > self._max_tenants:
            self._tenants.popitem(last=False)
        return memory


class _Memory:
    """One tenant's past answers in two generations: an automaton cannot forget, so the elder goes whole."""

    def __init__(self, capacity: int) -> None:
        self.generations = (SuffixAutomaton(), SuffixAutomaton())
        """The younger first."""
        self._capacity = capacity

    def learn(self, answer: list[int]) -> None:
        if len(self.generations[0].tokens) + len(answer) >= self._capacity:
            self.generations = (SuffixAutomaton(), self.generations[0])
        young = self.generations[0]
        for token in answer[: self._capacity - 1]:
            young.extend(token)
        young.extend(SEPARATOR)


class _Sequence:
    """A running request's own automaton, and its places in its tenant's."""

    def __init__(self) -> None:
        self._own = SuffixAutomaton()
        self._cursors: tuple[Cursor, ...] = ()

    def propose(self, tokens: list[int], memory: Sequence[SuffixAutomaton], limit: int) -> list[Draft]:
        """Return what followed the longest match most often, in its own tokens and in parts of memory."""
        new = tokens[len(self._own.tokens) :]
        for token in new:
            self._own.extend(token)
        self._follow(tokens, len(new), memory)
        matches = [("own text", self._own, *self._own.repeated_suffix())]
        matches += [("answers", cursor.automaton, cursor.matched, cursor.state) for cursor in self._cursors]
        drafts = []
        for source, automaton, matched, state in matches:
            if matched:
                token_ids, shares = automaton.continuation(state, limit, LEAST_CHANCE)
                if token_ids:
                    drafts.append(Draft(token_ids, matched, shares, source))
        return drafts

    def _follow(self, tokens: list[int], num_new: int, memory: Sequence[SuffixAutomaton]) -> None:
        known = {cursor.automaton: cursor for cursor in self._cursors}
        cursors = []
        for automaton in memory:
            cursor, seen = known.get(automaton), num_new
            if cursor is None or seen > _LOOK_BACK:
                cursor, seen = Cursor(automaton), _LOOK_BACK
            for token in tokens[max(0, len(tokens) - seen) :]:
                cursor.advance(token)
            cursors.append(cursor)
        self._cursors = tuple(cursors)
