"""A small and a large model behind one name, with policies that need no learning."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from router.after.confidence import Confidence
from router.before.query import QueryModel
from router.before.topics import fit_topics
from router.isotonic import Isotonic
from router.logistic import Logistic, Weight
from router.policy.escalation import Escalation
from router.policy.learned import Learned
from tests.gateway.support.running import RunningGateway, chat
from tests.gateway.support.upstream import ScriptedUpstream, chunk, completion, json_reply

TWO_MODELS = """
upstreams:
  near: {{kind: openai, base_url: "{near}", timeouts: {{connect: 20, first_byte: 20, idle: 20}}}}
  far: {{kind: openai, base_url: "{far}", timeouts: {{connect: 20, first_byte: 20, idle: 20}}}}
models:
  small: {{upstream: near, model: tiny, price: {{input: 1, output: 2}}{small}}}
  large: {{upstream: far, model: huge, price: {{input: 10, output: 20}}{large}}}
routes:
  auto: {{tiers: [small, large], policy: "{policy}"{route}}}
"""
QUESTION = "What are 7 boxes of 8?"
RIGHT, WRONG = "7 * 8 = 56", "7 * 8 = 54"
# Ten tokens in and two out, at the prices above.
SMALL_USD, LARGE_USD = 14e-6, 140e-6

BY_ANSWER = Learned(
    0.95,
    300,
    "answer",
    Escalation(0.5, 0.0),
    None,
    Confidence(
        Logistic(0.0, {"wrong_sums": Weight(-1.0, 0.0, 1.0), "logprob_least": Weight(1.0, -1.0, 1.0)}),
        Isotonic((-1.0, 0.0), (0.2, 0.8)),
    ),
    (),
)
TOPICS = fit_topics([None, None], [0.1, 0.1])
BY_QUERY = Learned(
    0.95,
    300,
    "query",
    Escalation(1.0, 0.0),
    QueryModel(TOPICS, None, Logistic(-5.0, {"digits": Weight(10.0, 0.0, 0.3)})),
    None,
    (),
)

Start = Callable[..., AbstractAsyncContextManager[RunningGateway]]


class Two:
    """The small and the large model's servers."""

    def __init__(self, small: ScriptedUpstream, large: ScriptedUpstream) -> None:
        self.small, self.large = small, large
        self.small.reply = json_reply(completion(RIGHT))
        self.large.reply = json_reply(completion("56, of course"))

    def asked(self) -> tuple[int, int]:
        return len(self.small.received), len(self.large.received)


def ask(text: Any = QUESTION, **more: Any) -> dict[str, Any]:
    return chat("auto") | {"messages": [{"role": "user", "content": text}], **more}


async def route_of(gateway: RunningGateway, body: dict[str, Any] | None = None, **headers: str) -> str:
    async with gateway.post(body=body or ask(), **headers) as response:
        assert response.status == 200, await response.text()
        return response.headers["x-forebay-route"]


def sure(logprob: float) -> dict[str, Any]:
    """The probabilities of one token."""
    entry = {"token": "7", "logprob": logprob, "bytes": [55]}
    return {"content": [entry | {"top_logprobs": [entry]}], "refusal": None}


TELLS = ", capabilities: {logprobs: true}"

STREAMED = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "7 * 8 "}),
    chunk({"content": "= 56"}),
]
SLIPPED = [*STREAMED[:2], chunk({"content": "= 54"}), chunk({}, "stop")]
STREAMED += [chunk({}, "stop")]
