"""What the savings ledger costs a request: microseconds of CPU after the last byte of its answer.

    forebay bench savings_cost [--json]

A request is settled again and again with a ledger that adds up, writes to SQLite once a second in a thread
and counts in the metrics: one that went to its model unchanged (`miss_us`), exact hits with a stored answer
of 300 bytes and of 8 KB, and a small model's answer to a shortened prompt, which touches three layers.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec

from benchmarks import report
from gateway.cache_state import CacheState
from gateway.compression.outcome import Compression
from gateway.config.schema import Model, Price
from gateway.exchange import Call, Exchange, Route, Tiers
from gateway.savings.counterfactual import Counterfactual
from gateway.savings.counting import Savings
from gateway.state.outage import Outage
from gateway.state.savings.book import SavingsBook
from gateway.state.savings.sqlite import SqliteSavings
from gateway.wire.request import Endpoint
from gateway.wire.splice import Edit
from gateway.wire.usage import PromptDetails, Usage
from router.policy.escalation import Escalation
from router.policy.learned import Learned
from router.policy.of_two import OfTwo
from semantic_cache.directives import Directives
from semantic_cache.entry import Entry
from telemetry.metrics import GatewayMetrics

SMALL = Model("engine", "small", Price(input=0.05, output=0.15, cache_read=0.01))
LARGE = Model("far", "large", Price(input=2.5, output=10, cache_read=1.25))
_REQUESTS = 5000


def exchange() -> Exchange:
    """Return a request for the large model."""

    async def receive(limit: int) -> bytes:
        return b""

    ex = Exchange(Endpoint.CHAT, {}, receive)
    ex.tenant, ex.status, ex.route = "bench", 200, Route("large", "large", LARGE, "large")
    return ex


def miss() -> Exchange:
    """Return one that its model answered."""
    ex = exchange()
    ex.calls.append(_call(LARGE, Usage(1000, 150, PromptDetails())))
    return ex


def hit(size: int) -> Exchange:
    """Return one that the cache answered."""
    ex = exchange()
    message = {"role": "assistant", "content": "x" * size}
    usage = {"prompt_tokens": 1200, "completion_tokens": 150, "total_tokens": 1350}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    answer = msgspec.json.encode({"object": "chat.completion", "choices": choices, "usage": usage})
    entry = Entry(
        endpoint="chat",
        model="large",
        answer=answer,
        has_usage=True,
        created_at=0,
        expires_at=1,
        stale_until=1,
        cost_s=1.5,
    )
    ex.cache = CacheState(Directives(), verdict="hit-exact", stored=(entry,))
    return ex


def cascade() -> Exchange:
    """Return one that the small model answered, to a shorter prompt that it had read in part."""
    ex = exchange()
    routes = (Route("small", "small", SMALL, "small"), Route("large", "large", LARGE, "large"))
    learned = Learned(0.95, 100, "coin", Escalation(0.0, 0.0), None, None, ())
    ex.route = Route("auto", "large", LARGE, "large", tiers=Tiers(routes, OfTwo(learned)))
    call = _call(SMALL, Usage(2000, 150, PromptDetails(1100)))
    edits = tuple(Edit(100 * at, 100 * at + 50, b"") for at in range(20))
    call.compression = Compression("lossless", edits, 2250, 2000, {}, False, 0.001)
    ex.calls.append(call)
    return ex


def _call(model: Model, usage: Usage) -> Call:
    call = Call(model.upstream, model.model or "", model, started_s=1.0, ended_s=2.5, status=200)
    call.outcome.usage = usage
    return call


def bench(
    *, rounds: int = 9, json_: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False
) -> None:
    """Measure what the ledger costs a request.

    Parameters
    ----------
    rounds: rounds of every kind, one after the other; the best of each counts.
    json_: print one JSON object as the last line.
    """
    machine = report.machine()
    kinds: dict[str, Callable[[], Exchange]] = {
        "miss_us": miss,
        "hit_us": lambda: hit(100),
        "hit_8kb_us": lambda: hit(8000),
        "cascade_us": cascade,
    }
    figures = asyncio.run(_measure(kinds, rounds))
    report.publish("savings_cost", machine, figures, {}, {}, as_json=json_)


async def _measure(kinds: dict[str, Callable[[], Exchange]], rounds: int) -> report.Figures:
    best: report.Figures = {}
    metrics = GatewayMetrics()
    with tempfile.TemporaryDirectory() as folder:
        book = SavingsBook(SqliteSavings(Path(folder) / "state.db"), Outage("savings", metrics))
        savings = Savings(Counterfactual(("engine",)), book, metrics)
        for _ in range(rounds):
            for name, make in kinds.items():
                ex = make()
                begun = time.thread_time()
                for _ in range(_REQUESTS):
                    savings.settle(ex)
                took = (time.thread_time() - begun) / _REQUESTS * 1e6
                best[name] = round(min(took, best.get(name, took)), 2)
                # The writer's turn.
                await asyncio.sleep(0)
        await book.close()
    return best


if __name__ == "__main__":
    cyclopts.run(bench)
