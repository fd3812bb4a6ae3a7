"""Who is drafted for, how far, and what experience changes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from backend_engine.request import Request
from backend_engine.spec.base import Draft, TextDrafter, Want
from backend_engine.spec.draft_head import MOST_ROWS
from backend_engine.spec.speculator import MOST_DRAFTED, Speculator
from tests.backend_engine.support.drafting import sequence_of


class Fixed(TextDrafter):
    """Drafts ones, as many as it may, with the evidence it is given."""

    def __init__(self, evidence: int = 8) -> None:
        self.evidence = evidence
        self.asked: list[Request] = []
        self.gone: list[Request] = []

    def propose(self, wants: Sequence[Want]) -> list[list[Draft]]:
        self.asked += [want.request for want in wants]
        return [[Draft((1,) * want.limit, self.evidence)] for want in wants]

    def finished(self, request: Request) -> None:
        self.gone.append(request)


def decoding(outputs: int = 4) -> Request:
    request = sequence_of([5, 6, 7], [8] * outputs)
    request.num_computed = request.num_tokens - 1
    return request


def said(request: Request, *tokens: int) -> None:
    """Let the request get `tokens`."""
    request.token_ids += tokens
    request.num_computed += len(tokens)


def speculator(drafter: Fixed | None = None, *, max_tokens: int = 128, per_token: float = 0.01) -> Speculator:
    made = Speculator(drafter or Fixed(), max_tokens=max_tokens)
    for _ in range(100):
        for tokens in range(1, 41):
            made.step_cost.observe(tokens, 0.01 * (1 + per_token * (tokens - 1)))
    return made


def test_only_decoding_sequences_are_drafted_for() -> None:
    drafter = Fixed()
    prefilling, fresh, running = sequence_of([1, 2, 3]), sequence_of([1]), decoding()
    recomputing = decoding()
    recomputing.num_computed = 0
    recomputing.draft = [9, 9]
    speculator(drafter).propose([prefilling, fresh, recomputing, running])
    assert drafter.asked == [running]
    assert running.draft
    assert recomputing.draft == [], "an old draft is none"


def test_a_draft_leaves_the_last_token_to_verification() -> None:
    nearly, at_the_end = decoding(outputs=996), decoding(outputs=999)
    at_the_end.draft = [9]
    speculator().propose([nearly, at_the_end])
    assert nearly.draft == [1, 1, 1]
    assert at_the_end.draft == []


def test_certain_drafts_are_long_but_bounded() -> None:
    made, request = speculator(per_token=0), decoding()
    for _ in range(60):
        made.propose([request])
        said(request, *[1] * 4)
    made.propose([request])
    assert len(request.draft) == MOST_DRAFTED


def test_all_drafts_of_a_step_keep_within_its_budget() -> None:
    made, requests = speculator(per_token=0, max_tokens=20), [decoding() for _ in range(8)]
    made.propose(requests)
    assert sum(len(request.draft) for request in requests) == 20


def test_where_tokens_are_dear_nothing_is_drafted() -> None:
    made, requests = speculator(per_token=1.0), [decoding() for _ in range(16)]
    made.propose(requests)
    assert not any(request.draft for request in requests)


def test_drafts_that_are_wrong_are_given_up_and_taken_up_when_they_would_be_right() -> None:
    made, request = speculator(per_token=0.2), decoding()
    tried = []
    for step in range(600):
        made.propose([request])
        tried.append(bool(request.draft))
        said(request, 9 if step < 400 else 1)
    assert tried[0]
    assert not any(tried[50:400])
    assert all(tried[500:])


def test_one_sequences_failures_leave_others_alone() -> None:
    made, failing, fine = speculator(per_token=0.1), decoding(), decoding()
    for _ in range(30):
        made.propose([failing, fine])
        said(failing, 9)
        said(fine, 1, 1, 1)
    made.propose([failing, fine])
    assert len(failing.draft) <= 1 < len(fine.draft)


def test_counts_are_kept_and_finished_requests_are_let_go() -> None:
    drafter = Fixed()
    made, request = speculator(drafter), decoding()
    made.propose([request])
    made.finished(request)
    made.verified(3, 1)
    stats = made.stats
    assert (stats.num_drafts, stats.num_draft_tokens, stats.num_accepted_tokens) == (1, 3, 1)
    assert drafter.gone == [request]
    assert not made._sequences


@pytest.mark.parametrize("requests", [[], [sequence_of([1, 2])]])
def test_nothing_to_draft_is_nothing_to_do(requests: list[Request]) -> None:
    drafter = Fixed()
    speculator(drafter).propose(requests)
    assert drafter.asked == []


class Shares(Fixed):
    """Drafts three tokens with shares."""

    def propose(self, wants: Sequence[Want]) -> list[list[Draft]]:
        self.asked += [want.request for want in wants]
        return [[Draft((1, 2, 3), shares=(0.9, 0.8, 0.05), source="model")] for _ in wants]


def test_of_a_draft_with_shares_the_likely_tokens_are_verified() -> None:
    made, request = speculator(Shares(), per_token=0.1), decoding()
    made.propose([request])
    assert request.draft == [1, 2]


def test_shares_are_calibrated_by_what_becomes_of_them() -> None:
    made, request = speculator(Shares(), per_token=0.1), decoding()
    for _ in range(60):
        made.propose([request])
        said(request, 1, 9)
    made.propose([request])
    assert request.draft == [1]


def test_accepted_tokens_are_counted_by_position() -> None:
    made = speculator()
    for accepted in (3, 0, 2):
        made.verified(3, accepted)
    assert made.stats.num_accepted_tokens_per_pos[:4] == [2, 2, 1, 0]


def test_a_model_is_asked_where_the_text_offers_nothing_likely() -> None:
    text, model = Fixed(evidence=16), Shares()
    made = Speculator(text, max_tokens=128, model=model)
    made.step_cost.observe(1, 0.01)
    sure, request = decoding(), decoding()
    made.propose([sure])
    assert set(sure.draft) == {1}
    assert not model.asked
    # Few recognised tokens are worth less than the model's word.
    text.evidence = 1
    made.propose([request])
    assert request.draft[:2] == [1, 2]
    made.finished(request)
    assert text.gone == model.gone == [request]


def test_a_model_does_not_replace_what_has_proved_better() -> None:
    text, model = Fixed(evidence=2), Shares()
    made, request = Speculator(text, max_tokens=128, model=model), decoding()
    made.step_cost.observe(1, 0.01)
    for _ in range(80):
        made.propose([request])
        said(request, 1, 1, 1)
    made.propose([request])
    assert set(request.draft) == {1}


def test_a_model_is_not_asked_for_a_full_batch() -> None:
    text, model = Fixed(evidence=1), Shares()
    made, requests = Speculator(text, max_tokens=128, model=model), [decoding() for _ in range(MOST_ROWS + 1)]
    made.step_cost.observe(1, 0.01)
    made.propose(requests)
    assert not model.asked
    made.propose(requests[1:])
    assert model.asked


def test_of_several_drafts_the_one_that_promises_most_is_verified() -> None:
    class Two(Fixed):
        def propose(self, wants: Sequence[Want]) -> list[list[Draft]]:
            drafts = [Draft((7,) * 4, 12, source="one"), Draft((8,) * 4, 3, source="other")]
            return [[drafts[0], drafts[1]] for _ in wants]

    made, request = speculator(Two(), per_token=0.1), decoding()
    made.propose([request])
    assert set(request.draft) == {7}, "it has more evidence"
    for _ in range(40):
        said(request, 8, 8, 8, 8)
        made.propose([request])
    assert set(request.draft) == {8}, "it was right, although never tried"
