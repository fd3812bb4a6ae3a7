"""What the small model thinks of its own answer, and whether it would say the same again.

Only where its token probabilities leave a doubt or are not known: each look costs tokens and time. A look
that fails or comes late says nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from gateway.agreement import agree
from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.subrequests import FRESH, Said, Subrequests
from router.after.numbers import numbers_in, same
from router.after.signs import AnswerSigns
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.question import AnswerTexts

PATIENCE_S = 20.0
"""For all looks at one answer together."""
CLEAR = math.log(0.9)
"""Nine of ten tokens at least as probable as this: the answer is clear."""
DOUBT = 0.5
"""A sign below this is a doubt."""
_MOST_CHARS = 4_000
_TEMPERATURE = 0.7
_LEFT_OUT = ("stream", "stream_options", "seed", "n", "logprobs", "top_logprobs", "cache")
_PROMPT = (
    "A question and an answer to it follow. Check the answer. Say yes if it is right and complete, no if any "
    "of it is wrong. Answer with one word, yes or no."
)

_COMPARED_S = 2.0


class SecondLook:
    """Looks again at the small model's answers of one route."""

    def __init__(
        self, subrequests: Subrequests, client: SemanticClient | None, *, self_check: bool, samples: int
    ) -> None:
        """`client` compares texts that end in no number; without one only those that are the same agree."""
        self._subrequests = subrequests
        self._client = client
        self._self_check = self_check
        self._more = samples - 1

    async def at(
        self, ex: Exchange, model: str, question: str, text: str, signs: AnswerSigns, *, logprobs: bool
    ) -> AnswerSigns:
        """Return the signs with what was found, `broken` as doubted if that is a doubt.

        `model` is the small model's name in the configuration; `logprobs` says whether it gives any.
        """
        if is_clear(signs):
            return signs
        asked = []
        if self._self_check:
            asked.append(("self_check", self._check(ex, model, question, text, logprobs=logprobs)))
        if self._more:
            asked.append(("agreement", self._sample(ex, model, text)))
        found = await asyncio.gather(*(_or_none(look) for _, look in asked))
        said = {name: value for (name, _), value in zip(asked, found, strict=True) if value is not None}
        doubted = any(value < DOUBT for value in said.values())
        return replace(signs, values={**signs.values, **said}, broken="doubted" if doubted else signs.broken)

    async def _check(
        self, ex: Exchange, model: str, question: str, text: str, *, logprobs: bool
    ) -> float | None:
        body: dict[str, Any] = {
            "model": model,
            "messages": [
                {"role": "system", "content": _PROMPT},
                {
                    "role": "user",
                    "content": f"Question:\n\n{question[:_MOST_CHARS]}\n\nAnswer:\n\n{text[:_MOST_CHARS]}\n\n"
                    "Is the answer right?",
                },
            ],
            "temperature": 0,
            "max_tokens": 4,
        }
        if logprobs:
            body |= {"logprobs": True, "top_logprobs": 5}
        return probability_of_yes(await self._subrequests.ask(ex, body, patience_s=PATIENCE_S))

    async def _sample(self, ex: Exchange, model: str, text: str) -> float | None:
        body = msgspec.json.decode(ex.body, type=dict[str, Any])
        body = {name: value for name, value in body.items() if name not in _LEFT_OUT}
        given = body.get("temperature")
        warm = max(_TEMPERATURE, given) if isinstance(given, int | float) else _TEMPERATURE
        body |= {"model": model, "temperature": warm}
        samples = await asyncio.gather(*(_or_none(self._fresh(ex, body)) for _ in range(self._more)))
        votes = [await self._same(text, said.text) for said in samples if said is not None and said.text]
        known = [vote for vote in votes if vote is not None]
        return sum(known) / len(known) if known else None

    async def _fresh(self, ex: Exchange, body: dict[str, Any]) -> Said:
        return await self._subrequests.ask(ex, body, cache_control=FRESH, patience_s=PATIENCE_S)

    async def _same(self, mine: str, theirs: str) -> bool | None:
        if numbers_in(_last_line(mine)):
            return final_numbers_agree(mine, theirs)
        return await agree(self._client, AnswerTexts(mine, ()), AnswerTexts(theirs, ()), _COMPARED_S)


async def _or_none(look: Awaitable[Any]) -> Any:
    try:
        return await look
    except GatewayError:
        return None


def is_clear(signs: AnswerSigns) -> bool:
    """Return whether token probabilities are known and leave no doubt, or the answer is of no use anyway."""
    if signs.broken is not None:
        return True
    low = signs.values.get("logprob_q10")
    return low is not None and low >= CLEAR


class _Top(msgspec.Struct):
    token: str
    logprob: float


class _Token(_Top):
    top_logprobs: list[_Top] = []


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


class _Choice(msgspec.Struct):
    logprobs: _Logprobs | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


_DECODE = msgspec.json.Decoder(_Completion).decode


def probability_of_yes(said: Said) -> float | None:
    """Return P(yes): from the first token's alternatives, or from the word if there are none."""
    for token in _first_tokens(said):
        tops = token.top_logprobs or [token]
        yes = sum(math.exp(top.logprob) for top in tops if _word(top.token) == "yes")
        no = sum(math.exp(top.logprob) for top in tops if _word(top.token) == "no")
        return yes / (yes + no) if yes + no > 0.1 else None
    word = _word(said.text.split()[0]) if said.text.split() else ""
    return {"yes": 1.0, "no": 0.0}.get(word)


def _first_tokens(said: Said) -> Sequence[_Token]:
    try:
        logprobs = _DECODE(said.body).choices[0].logprobs
    except (msgspec.DecodeError, IndexError):
        return ()
    return () if logprobs is None else (logprobs.content or ())[:1]


def _word(text: str) -> str:
    return text.strip().strip(".,!:*\"'").lower()


def final_numbers_agree(mine: str, theirs: str) -> bool:
    """Return whether the last numbers of two answers are the same."""
    ours, others = numbers_in(_last_line(mine)), numbers_in(_last_line(theirs))
    return bool(ours and others) and same(ours[-1], others[-1])


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")
