"""Makes the prior that ships with the router: `python -m benchmarks.prior [--out router/prior.json]`.

Questions that we make up are answered by the bundled engine, greedily; what tells its right answers from its
wrong ones is learned from the first half of them (`_live_questions`). The same model and seed give the same
prior.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cyclopts

from benchmarks._live_answers import ask_engine
from benchmarks._live_questions import questions
from gateway.models.store import ModelStore
from router.after.signs import signs_of
from router.fit.prior import fit_prior
from router.prior import SHIPPED, save_prior


def make(*, out: Path = SHIPPED, model: str = "smollm2-135m-instruct", each: int = 60) -> None:
    """Make the prior.

    Parameters
    ----------
    out: where it is written.
    model: name or path of the small model.
    each: most questions of a kind.
    """
    begun = time.monotonic()
    asked = questions("past", each)
    answered, _ = asyncio.run(ask_engine(ModelStore().path(model), asked))
    prior = fit_prior(
        model,
        [question.kind for question in asked],
        [question.text for question in asked],
        [signs_of(answer.said) for answer in answered],
        [answer.right for answer in answered],
    )
    save_prior(prior, out)
    right = sum(answer.right for answer in answered) / len(answered)
    print(
        f"{model} answered {len(asked)} questions, {right:.0%} rightly, in {time.monotonic() - begun:.0f} s"
    )
    for line in prior.said:
        print(line)


if __name__ == "__main__":
    cyclopts.run(make)
