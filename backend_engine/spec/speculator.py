"""Decides before every step what is drafted for whom, and learns from what became of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from backend_engine.request import Request
from backend_engine.spec.acceptance import AcceptanceRates, Tally, num_right
from backend_engine.spec.asking import Asking
from backend_engine.spec.base import Draft, Drafter, Want
from backend_engine.spec.draft_head import MOST_ROWS
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
    num_accepted_tokens_per_pos: list[int] = field(default_factory=lambda: [0] * MOST_DRAFTED)
    """Entry i: how often the (i + 1)-th token of a draft was accepted."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """The draft of those for one request that promises most, and the chances of its tokens."""

    token_ids: tuple[int, ...] = ()
    chances: tuple[float, ...] = ()
    expected: float = 0.0


@dataclass(slots=True)
class _Drafting:
    """What is known of one sequence's drafts."""

    tally: Tally = field(default_factory=Tally)
    drafts: list[Draft] = field(default_factory=list)
    """The latest ones, and how many tokens there were when they were made."""
    made_at: int = 0
    asked: tuple[_Choice, _Choice] | None = None
    """If a model was asked, the choice without and with it."""


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
        self._asking = Asking()
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
        sequences = [self._sequences.setdefault(want.request, _Drafting()) for want in wants]
        for want, sequence in zip(wants, sequences, strict=True):
            self._learn(sequence, want.request.token_ids[sequence.made_at :])
            sequence.made_at = want.request.num_tokens
        choices = [_Choice()] * len(wants)
        self._ask(self._drafter, wants, sequences, choices, range(len(wants)))
        if self._model is not None and len(decoding) <= MOST_ROWS:
            self._ask_model(self._model, wants, sequences, choices)
        lengths = draft_lengths(
            [Candidate(choice.chances) for choice in choices],
            num_sequences=len(decoding),
            seconds=self.step_cost.seconds,
            budget=self._max_tokens,
        )
        for want, choice, length in zip(wants, choices, lengths, strict=True):
            self._set(want.request, choice.token_ids[:length])

    def verified(self, num_drafted: int, num_accepted: int) -> None:
        """Count a draft whose first `num_accepted` tokens were right."""
        self.stats.num_drafts += 1
        self.stats.num_draft_tokens += num_drafted
        self.stats.num_accepted_tokens += num_accepted
        for position in range(num_accepted):
            self.stats.num_accepted_tokens_per_pos[position] += 1

    def finished(self, request: Request) -> None:
        """Let go of `request`, whether or not it ever ran."""
        self._sequences.pop(request, None)
        self._drafter.finished(request)
        if self._model is not None:
            self._model.finished(request)

    def _learn(self, sequence: _Drafting, said: list[int]) -> None:
        """Compare what was drafted for a sequence with the tokens that it has got since."""
        for draft in sequence.drafts:
            self._rates.learn(sequence.tally, draft, said)
        if sequence.asked is not None:
            without, chosen = sequence.asked
            more = num_right(chosen.token_ids, said) - num_right(without.token_ids, said)
            self._asking.brought(without.expected, more * self.step_cost.seconds(1))
        sequence.drafts, sequence.asked = [], None

    def _ask_model(
        self, model: Drafter, wants: Sequence[Want], sequences: Sequence[_Drafting], choices: list[_Choice]
    ) -> None:
        """Let `model` draft where that pays."""
        doubtful = [at for at, choice in enumerate(choices) if self._asking.pays(choice.expected)]
        if not doubtful:
            return
        before = [choices[at] for at in doubtful]
        begun = time.perf_counter()
        self._ask(model, wants, sequences, choices, doubtful)
        self._asking.took((time.perf_counter() - begun) / len(doubtful))
        for at, without in zip(doubtful, before, strict=True):
            sequences[at].asked = without, choices[at]

    def _ask(
        self,
        drafter: Drafter,
        wants: Sequence[Want],
        sequences: Sequence[_Drafting],
        choices: list[_Choice],
        places: Sequence[int],
    ) -> None:
        """Let `drafter` draft for some of `wants`, and make what promises most their choice."""
        for at, drafts in zip(places, drafter.propose([wants[at] for at in places]), strict=True):
            sequence = sequences[at]
            sequence.drafts += drafts
            for draft in drafts:
                chances = self._rates.chances(sequence.tally, draft)
                if (expected := _expected(chances)) > choices[at].expected:
                    choices[at] = _Choice(draft.token_ids, chances, expected)

    @staticmethod
    def _set(request: Request, token_ids: tuple[int, ...]) -> None:
        request.draft = list(token_ids)
        if request.draft and request.guide is not None:
            # What the grammar forbids would be verified for nothing.
            del request.draft[request.guide.num_allowed(request.draft) :]


def _expected(chances: Sequence[float]) -> float:
    """Return how many tokens of a draft with these chances are accepted on average."""
    expected, all_so_far = 0.0, 1.0
    for chance in chances:
        all_so_far *= chance
        expected += all_so_far
    return expected
