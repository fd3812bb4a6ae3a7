"""Decides before every step what is drafted for whom, and learns from what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from backend_engine.request import Request
from backend_engine.spec.acceptance import AcceptanceRates, Tally
from backend_engine.spec.base import Draft, Drafter, Want
from backend_engine.spec.draft_length import Candidate, draft_lengths
from backend_engine.spec.step_cost import StepCost

MOST_DRAFTED = 16
"""Longest draft. Beyond this even certain tokens add little to what a step costs anyway."""


@dataclass(slots=True)
class SpeculationStats:
    """Counts since the start, in vLLM's terms."""

    num_drafts: int = 0
    num_draft_tokens: int = 0
    num_accepted_tokens: int = 0


@dataclass(slots=True)
class _Drafting:
    """What is known of one sequence's drafts."""

    tally: Tally = field(default_factory=Tally)
    evidence: int = 0


class Speculator:
    """Fills `Request.draft` of decoding sequences from one drafter, as far as it pays."""

    def __init__(self, drafter: Drafter, *, max_tokens: int) -> None:
        """At most `max_tokens` are drafted for a step in all."""
        self.stats = SpeculationStats()
        self.step_cost = StepCost()
        """Whoever runs the steps tells it what they took."""
        self._drafter = drafter
        self._max_tokens = max_tokens
        self._rates = AcceptanceRates()
        self._sequences: dict[Request, _Drafting] = {}

    def propose(self, running: Sequence[Request]) -> None:
        """Set the drafts of `running` for the next step."""
        for request in running:
            request.draft = []
        decoding = [
            request for request in running if request.num_output_tokens and request.num_uncomputed == 1
        ]
        # The last token that a request may have need not be drafted: it comes from verification itself.
        wants = [
            Want(request, min(MOST_DRAFTED, request.num_tokens_left - 1))
            for request in decoding
            if request.num_tokens_left > 1
        ]
        if not wants:
            return
        drafts = self._drafter.propose(wants)
        sequences = [self._sequences.setdefault(want.request, _Drafting()) for want in wants]
        lengths = draft_lengths(
            [
                Candidate(self._rates.rate(sequence.tally, draft.evidence), len(draft.token_ids))
                for sequence, draft in zip(sequences, drafts, strict=True)
            ],
            num_sequences=len(decoding),
            seconds=self.step_cost.seconds,
            budget=self._max_tokens,
        )
        for want, sequence, draft, length in zip(wants, sequences, drafts, lengths, strict=True):
            self._set(want.request, sequence, draft, length)

    def verified(self, request: Request, num_drafted: int, num_accepted: int) -> None:
        """Learn that the first `num_accepted` tokens of a draft were right and not the one after them."""
        self.stats.num_drafts += 1
        self.stats.num_draft_tokens += num_drafted
        self.stats.num_accepted_tokens += num_accepted
        # One that ended half way through its draft says nothing about the rest.
        if request in self._sequences:
            sequence = self._sequences[request]
            self._rates.verified(sequence.tally, sequence.evidence, num_drafted, num_accepted)

    def finished(self, request: Request) -> None:
        """Let go of `request`, whether or not it ever ran."""
        self._sequences.pop(request, None)
        self._drafter.finished(request)

    def _set(self, request: Request, sequence: _Drafting, draft: Draft, length: int) -> None:
        request.draft = list(draft.token_ids[:length])
        if request.draft and request.guide is not None:
            # What the grammar forbids would be verified for nothing.
            del request.draft[request.guide.num_allowed(request.draft) :]
        sequence.evidence = draft.evidence
        if draft.token_ids and not length:
            self._rates.passed_over(sequence.tally, draft.evidence)
