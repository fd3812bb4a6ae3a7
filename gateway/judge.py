"""Asks a model whether two answers to a question agree, on the account of whoever asked the question."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from gateway.answer import Answer
from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.wire.headers import COMPRESS
from gateway.wire.request import Endpoint
from semantic_cache.directives import CACHE_CONTROL

_MOST_CHARS = 4000
_PROMPT = (
    "Two answers to the same question follow. Do they agree, so that whoever got one of them knows what the "
    "other says? Differences of wording, length and politeness do not count; different facts, numbers, "
    "names, instructions or conclusions do. Reply with one word: yes or no."
)


class _Message(msgspec.Struct):
    content: str


class _Choice(msgspec.Struct):
    message: _Message


class _Reply(msgspec.Struct):
    choices: list[_Choice]


_DECODE = msgspec.json.Decoder(_Reply).decode


class Judge:
    """A model of the configuration that says yes or no."""

    def __init__(self, model: str) -> None:
        self._model = model

    def bind(self, run: Callable[[Exchange], Awaitable[Answer]]) -> None:
        """Say what runs an exchange: the pipeline that this is itself a part of."""
        self._run = run

    async def agrees(self, ex: Exchange, question: str, one: str, other: str) -> bool | None:
        """Return what the model says; None if it does not answer, or neither yes nor no."""
        said = f"Question:\n{question}\n\nAnswer 1:\n{one[:_MOST_CHARS]}\n\nAnswer 2:\n{other[:_MOST_CHARS]}"
        body = msgspec.json.encode(
            {
                "model": self._model,
                "messages": [{"role": "system", "content": _PROMPT}, {"role": "user", "content": said}],
                "temperature": 0,
                "max_tokens": 4,
            }
        )

        async def receive(limit: int) -> bytes:
            return body

        # Its own request: limited, traced and settled like any other, and none of the cache's.
        headers = {"content-type": "application/json", CACHE_CONTROL: "no-cache, no-store", COMPRESS: "off"}
        if (key := ex.headers.get("authorization")) is not None:
            headers["authorization"] = key
        asked = Exchange(Endpoint.CHAT, headers, receive)
        answer: Answer | None = None
        try:
            answer = await self._run(asked)
            if answer.status != 200 or not isinstance(answer.body, bytes):
                return None
            word = _DECODE(answer.body).choices[0].message.content.strip(" \t\r\n*.\"'!").lower()
            return {"yes": True, "no": False}.get(word)
        except GatewayError as error:
            asked.error = error
            return None
        except (msgspec.DecodeError, IndexError):
            return None
        finally:
            if answer is not None and asked.error is not None:
                answer.close(asked.error)
            asked.end()
