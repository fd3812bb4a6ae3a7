"""Asks a cheap model whether a question is simple or complex, before any tier has answered.

Fails open: a model that is late, fails or says anything else has said nothing.
"""

from __future__ import annotations

from gateway.compression.remembered import Remembered, digest
from gateway.config.schema import Classifier
from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.subrequests import Subrequests

MOST_CHARS = 2_000
"""Of the question that it sees: its prompt must stay far cheaper than the answer."""
_PROMPT = (
    "You sort questions for an assistant. Answer with one word: simple, if a small language model would "
    "surely answer it well (a greeting, a known fact, a short rewording); complex, if it takes reasoning, "
    "several steps, code, mathematics or special knowledge. Do not answer the question itself."
)


class Classify:
    """The classifier of one route."""

    def __init__(self, config: Classifier, subrequests: Subrequests) -> None:
        self._config = config
        self._subrequests = subrequests
        self._said: Remembered[bool] = Remembered()

    async def complex(self, ex: Exchange, question: str) -> bool | None:
        """Return whether the question is complex, None if nobody can say."""
        question = question[:MOST_CHARS]
        key = digest(ex.tenant, question)
        if key in self._said:
            return self._said.once(key, lambda: False)
        body = {
            "model": self._config.model,
            "messages": [
                {"role": "system", "content": _PROMPT},
                {"role": "user", "content": f"The question:\n\n{question}\n\nSimple or complex?"},
            ],
            "temperature": 0,
            "max_tokens": 4,
        }
        try:
            said = await self._subrequests.ask(ex, body, patience_s=self._config.deadline_ms / 1000)
        except GatewayError:
            return None
        word = said.text.strip().lower().rstrip(".")
        if word not in ("simple", "complex"):
            return None
        self._said.put(key, word == "complex")
        return word == "complex"
