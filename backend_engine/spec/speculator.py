"""Decides before every step what is drafted for whom, and learns from what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from backend_engine.request import Request
from backend_engine.spec.acceptance import AcceptanceRates, Calibration, Tally
from backend_engine.spec.base import Draft, Drafter, Want
from backend_engine.spec.draft_length import Candidate, draft_lengths
from backend_engine.spec.step_cost import StepCost

MOST_DRAFTED = 16
"""Longest draft. Beyond this even certain tokens add little to what a step costs anyway."""
LIKELY = 0.55
"""Probability of its first token from which a draft stands without asking a model, which takes time."""


@dataclass(slots=True)
class SpeculationStats:
    """Counts since the start, in vLLM's terms."""

    num_drafts: int = 0
    num_draft_tokens: int = 0
    num_accepted_tokens: int = 0
    num_accepted_tokens_per_pos: list[int] = field(default_factory=lambda: [0] * MOST_DRAFTED)
    """Entry i: how often the (i + 1)-th token of a draft was accepted."""


@dataclass(slots=True)
class _Drafting:
    """What is known of one sequence's drafts."""

    tally: Tally = field(default_factory=Tally)
    draft: Draft = field(default_factory=Draft)


class Speculator:
    """Fills `Request.draft` of decoding sequences, as far as it pays."""

    def __init__(self, drafter: Drafter, *, max_tokens: int, model: Drafter | None = None) -> None:
        """At most `max_tokens` are drafted for a step in all.

        `model` is asked where `drafter` has nothing that is likely to be right, and the better draft stands.
        """
        self.stats = SpeculationStats()
        self.step_cost = StepCost()
        """Whoever runs the steps tells it what they took."""
        self._drafter = drafter
        self._model = model
        self._max_tokens = max_tokens
        self._rates = AcceptanceRates()
        self._calibration = Calibration()
        self._sequences: dict[Request, _Drafting] = {}

    @property
    def taps(self) -> tuple[int, ...]:
        """See `Drafter.taps`."""
        return self._looking.taps

    def see(self, requests: Sequence[Request], features: torch.Tensor) -> None:
        """See `Drafter.see`."""
        self._looking.see(requests, features)

    @property
    def _looking(self) -> Drafter:
        return self._drafter if self._model is None else self._model

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
        chances = [self._chances(sequence, draft) for sequence, draft in zip(sequences, drafts, strict=True)]
        self._improve(wants, sequences, drafts, chances)
        lengths = draft_lengths(
            [Candidate(of_draft) for of_draft in chances],
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
        for position in range(num_accepted):
            self.stats.num_accepted_tokens_per_pos[position] += 1
        # One that ended half way through its draft says nothing about the rest.
        if request in self._sequences:
            sequence = self._sequences[request]
            draft = sequence.draft
            if draft.shares:
                self._calibration.verified(draft.shares[:num_drafted], num_accepted)
            else:
                self._rates.verified(sequence.tally, draft.evidence, num_drafted, num_accepted)

    def finished(self, request: Request) -> None:
        """Let go of `request`, whether or not it ever ran."""
        self._sequences.pop(request, None)
        self._drafter.finished(request)
        if self._model is not None:
            self._model.finished(request)

    def _improve(
        self,
        wants: Sequence[Want],
        sequences: Sequence[_Drafting],
        drafts: list[Draft],
        chances: list[tuple[float, ...]],
    ) -> None:
        """Ask the model about unlikely drafts, and replace those that it betters."""
        unlikely = [at for at, of_draft in enumerate(chances) if not of_draft or of_draft[0] < LIKELY]
        if self._model is None or not unlikely:
            return
        for at, draft in zip(unlikely, self._model.propose([wants[at] for at in unlikely]), strict=True):
            found = self._chances(sequences[at], draft)
            if _expected(found) > _expected(chances[at]):
                if drafts[at].token_ids:
                    self._rates.passed_over(sequences[at].tally, drafts[at].evidence)
                drafts[at], chances[at] = draft, found

    def _chances(self, sequence: _Drafting, draft: Draft) -> tuple[float, ...]:
        """Return for each token of `draft` the probability that it is accepted if those before it are."""
        if draft.shares:
            return tuple(self._calibration.rate(share) for share in draft.shares)
        return (self._rates.rate(sequence.tally, draft.evidence),) * len(draft.token_ids)

    def _set(self, request: Request, sequence: _Drafting, draft: Draft, length: int) -> None:
        request.draft = list(draft.token_ids[:length])
        if request.draft and request.guide is not None:
            # What the grammar forbids would be verified for nothing.
            del request.draft[request.guide.num_allowed(request.draft) :]
        sequence.draft = draft
        if not draft.token_ids or length:
            return
        if draft.shares:
            self._calibration.passed_over(draft.shares[0])
        else:
            self._rates.passed_over(sequence.tally, draft.evidence)


def _expected(chances: Sequence[float]) -> float:
    """Return how many tokens of a draft with these chances are accepted on average."""
    expected, all_so_far = 0.0, 1.0
    for chance in chances:
        all_so_far *= chance
        expected += all_so_far
    return expected
