"""Asks a model whether two answers to a question agree, on the account of whoever asked the question."""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.subrequests import FRESH, Subrequests

_MOST_CHARS = 4000
_PROMPT = (
    "Two answers to the same question follow. Do they agree, so that whoever got one of them knows what the "
    "other says? Differences of wording, length and politeness do not count; different facts, numbers, "
    "names, instructions or conclusions do. Reply with one word: yes or no."
)


class Judge:
    """A model of the configuration that says yes or no."""

    def __init__(self, model: str, subrequests: Subrequests) -> None:
        self._model = model
        self._subrequests = subrequests

    async def agrees(self, ex: Exchange, question: str, one: str, other: str) -> bool | None:
        """Return what the model says; None if it does not answer, or neither yes nor no."""
        said = f"Question:\n{question}\n\nAnswer 1:\n{one[:_MOST_CHARS]}\n\nAnswer 2:\n{other[:_MOST_CHARS]}"
        body = {
            "model": self._model,
            "messages": [{"role": "system", "content": _PROMPT}, {"role": "user", "content": said}],
            "temperature": 0,
            "max_tokens": 4,
        }
        try:
            answer = await self._subrequests.ask(ex, body, cache_control=FRESH)
        except GatewayError:
            return None
        word = answer.text.strip(" \t\r\n*.\"'!").lower()
        return {"yes": True, "no": False}.get(word)
