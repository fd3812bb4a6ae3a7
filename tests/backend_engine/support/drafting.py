"""Requests for drafters, grown token by token."""

from __future__ import annotations

from collections.abc import Sequence

from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.request import Request
from backend_engine.sampling.params import SamplingParams
from backend_engine.spec.base import Draft, Drafter, Want


def sequence_of(prompt: Sequence[int], output: Sequence[int] = (), *, salt: str = "") -> Request:
    """Return a request that has generated `output`."""
    detokenizer = IncrementalDetokenizer(lambda token: b"x")
    request = Request("r", list(prompt), SamplingParams(max_tokens=1000), detokenizer, salt=salt)
    request.token_ids += output
    return request


def propose(drafter: Drafter, request: Request, limit: int = 8) -> Draft | None:
    """Return the draft with the most evidence for one request; the first of equals, None if there is none."""
    [drafts] = drafter.propose([Want(request, limit)])
    return max(drafts, key=lambda draft: draft.evidence, default=None)


def proposed(drafter: Drafter, request: Request, limit: int = 8) -> tuple[int, ...]:
    """Return the tokens of that draft."""
    draft = propose(drafter, request, limit)
    return () if draft is None else draft.token_ids


def followed(text: Sequence[int], context: Sequence[int], draft: Sequence[int]) -> bool:
    """Tell whether `context` and then `draft` stand somewhere in `text`."""
    wanted = [*context, *draft]
    return any(list(text[at : at + len(wanted)]) == wanted for at in range(len(text) - len(wanted) + 1))
