"""Text is drafted from where it is sure, and a model is asked for the rest."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from backend_engine.request import Request
from backend_engine.spec.base import Draft, TextDrafter, Want
from backend_engine.spec.either import SURE, EitherDrafter
from tests.backend_engine.support.drafting import sequence_of


class Known(TextDrafter):
    """Drafts what it is told for each first token of a prompt."""

    def __init__(self, drafts: dict[int, Draft], taps: tuple[int, ...] = ()) -> None:
        self.taps = taps
        self.drafts = drafts
        self.asked: list[int] = []
        self.gone: list[Request] = []
        self.saw: list[tuple[Sequence[Request], torch.Tensor]] = []

    def propose(self, wants: Sequence[Want]) -> list[Draft]:
        self.asked += [want.request.token_ids[0] for want in wants]
        return [self.drafts.get(want.request.token_ids[0], Draft()) for want in wants]

    def see(self, requests: Sequence[Request], features: torch.Tensor) -> None:
        self.saw.append((requests, features))

    def finished(self, request: Request) -> None:
        self.gone.append(request)


def test_the_model_is_asked_where_the_text_is_not_sure() -> None:
    sure, unsure, guess = Draft((1,), SURE), Draft((2,), SURE - 1), Draft((3,), shares=(0.6,))
    text = Known({10: sure, 11: unsure, 12: unsure})
    model = Known({10: guess, 11: guess, 13: guess}, taps=(2, 4))
    either = EitherDrafter(text, model)
    found = either.propose([Want(sequence_of([first]), 4) for first in (10, 11, 12, 13, 14)])
    assert found == [sure, guess, unsure, guess, Draft()]
    assert text.asked == [10, 11, 12, 13, 14]
    assert model.asked == [11, 12, 13, 14]


def test_features_go_to_the_model_and_ends_to_both() -> None:
    text, model = Known({}), Known({}, taps=(2, 4))
    either, request, features = EitherDrafter(text, model), sequence_of([1]), torch.zeros(1, 2, 8)
    assert either.taps == (2, 4)
    either.see([request], features)
    either.finished(request)
    assert model.saw == [([request], features)]
    assert not text.saw
    assert text.gone == model.gone == [request]
