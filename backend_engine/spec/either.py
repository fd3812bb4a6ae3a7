"""A drafter of text, and a model where the text has nothing sure to offer."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from backend_engine.request import Request
from backend_engine.spec.base import Draft, Drafter, Want

SURE = 5
"""Evidence from which a draft from text stands: it is longer than a model's, and costs nothing."""


class EitherDrafter:
    """Asks `text` first, and `model` for the sequences that it is not sure of."""

    def __init__(self, text: Drafter, model: Drafter) -> None:
        self.taps = model.taps
        self._text = text
        self._model = model

    def see(self, requests: Sequence[Request], features: torch.Tensor) -> None:
        self._model.see(requests, features)

    def propose(self, wants: Sequence[Want]) -> list[Draft]:
        drafts = self._text.propose(wants)
        unsure = [at for at, draft in enumerate(drafts) if draft.evidence < SURE or not draft.token_ids]
        if unsure:
            for at, draft in zip(unsure, self._model.propose([wants[at] for at in unsure]), strict=True):
                if draft.token_ids:
                    drafts[at] = draft
        return drafts

    def finished(self, request: Request) -> None:
        self._text.finished(request)
        self._model.finished(request)
