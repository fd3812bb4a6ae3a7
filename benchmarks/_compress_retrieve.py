"""What asking for left-out text is worth, where the model asks with the words of the question."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks._compress_data import Case
from gateway.compression.lookup import look_up
from gateway.compression.spans import left_out, restored

Figures = dict[str, Any]


def asked_for(cases: Sequence[Case], prompts: Sequence[str], name: str, prefix: str) -> Figures:
    """Return the share of prompts that hold the answer or are given it, and of those that are had back whole.

    `retrieved_chars` is how much one such question brings, on average.
    """
    left: list[bool] = []
    whole: list[bool] = []
    sizes: list[int] = []
    for case, prompt in zip(cases, prompts, strict=True):
        spans = left_out(case.prompt, prompt)
        found = look_up(spans, query=case.question) or ""
        left.append(case.survives(prompt) or any(answer.lower() in found.lower() for answer in case.answers))
        whole.append(restored(prompt, spans) == case.prompt)
        sizes.append(len(found))
    return {
        f"{prefix}recall_{name}_asked": round(statistics.fmean(left), 4),
        f"{prefix}retrieved_chars_{name}": round(statistics.fmean(sizes)),
        f"{prefix}had_back_{name}": round(statistics.fmean(whole), 4),
    }
