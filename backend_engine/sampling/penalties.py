"""What a request does to its logits before a token is drawn: penalties, bias and the ban on early ends."""

from __future__ import annotations

import torch

from backend_engine.request import Request


def adjust(logits: torch.Tensor, request: Request, end_ids: torch.Tensor) -> None:
    """Apply `request`'s penalties, bias and `min_tokens` to its `logits` [vocab], in place.

    Counts come from the request's own tokens at every step, so nothing has to survive preemption.
    `end_ids` are the tokens that end a text, int64 [ends].
    Sources: presence and frequency penalty count output tokens (OpenAI API reference); the repetition
    penalty counts prompt and output (Keskar et al. 2019, arXiv:1909.05858, as in transformers).
    """
    params = request.params
    if params.repetition_penalty != 1:
        seen = torch.unique(torch.tensor(request.token_ids))
        values = logits[seen]
        factor = params.repetition_penalty
        logits[seen] = torch.where(values > 0, values / factor, values * factor)
    if (params.presence_penalty or params.frequency_penalty) and request.num_output_tokens:
        tokens, counts = torch.unique(torch.tensor(request.output_ids), return_counts=True)
        logits[tokens] -= params.presence_penalty + params.frequency_penalty * counts
    if params.logit_bias:
        logits[torch.tensor(list(params.logit_bias))] += torch.tensor(list(params.logit_bias.values()))
    # A grammar may leave nothing but the end; `grammar_mask` knows.
    if holds_off_end(request) and request.guide is None:
        logits[end_ids] = -torch.inf


def needs_adjusting(request: Request) -> bool:
    """Tell whether `adjust` would change anything now."""
    params = request.params
    return params.has_penalties or bool(params.logit_bias) or holds_off_end(request)


def holds_off_end(request: Request) -> bool:
    """Tell whether `min_tokens` still forbids the end; with `ignore_eos` end tokens do not end anything."""
    return request.num_output_tokens < request.params.min_tokens and not request.params.ignore_eos
