"""Runs one kind of traffic against the paid model itself or through a gateway, and counts what came of it."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from benchmarks._load import CHAT, cpu_seconds
from benchmarks._roi_workloads import Ask, Workload
from benchmarks.peers.gateways import Running
from benchmarks.peers.mock_paid import Bill
from benchmarks.report import Figures

PRICE = {"input": 2.5, "output": 10.0, "cache_read": 1.25, "cache_write": 2.5, "batch": 0.5}
"""US dollars for a million tokens of the paid model, and what part of it its batch takes."""
SMALL_PRICE = {"input": 0.05, "output": 0.15, "cache_read": 0.01}
"""Of the bundled engine: what its machine may cost. It is no measurement."""


def tenant_key(workload: str) -> str:
    """Return a tenant's key."""
    return f"fb-roi-{workload}"


_TIMER_S = 0.05


class BadRun(Exception):
    """What was counted does not fit together."""


@dataclass(slots=True)
class Target:
    """Where requests go: a server, the model's name there, and the key by which the paid model bills it."""

    running: Running
    model: str
    key: str
    gateway: bool

    def headers(self, workload: Workload) -> dict[str, str]:
        """Return what a request carries: on a gateway each workload is a tenant, to whom it is empty."""
        return {"authorization": f"Bearer {tenant_key(workload.name) if self.gateway else self.key}"}


@dataclass(slots=True)
class Replay:
    """What came of one run."""

    ms: list[float]
    wrong: int
    errors: list[str]
    verdicts: Counter[str]
    bill: Bill
    savings: dict[str, Any] | None
    """The gateway's own account."""
    late_ms: float
    """How late a timer of this process came, in the mean: what a busy machine adds to every step."""
    cpu_ms: float
    """CPU of the server and its child processes, a request."""

    def figures(self) -> Figures:
        """Return what is printed."""
        cuts = statistics.quantiles(self.ms, n=100, method="inclusive")
        out: Figures = {
            "requests": len(self.ms),
            "usd": round(self.usd(), 6),
            "mean_ms": round(statistics.mean(self.ms), 2),
            "p50_ms": round(cuts[49], 2),
            "p95_ms": round(cuts[94], 2),
            "errors": len(self.errors),
            "wrong": self.wrong,
            "timer_late_ms": round(self.late_ms, 2),
            "server_cpu_ms": round(self.cpu_ms, 2),
            "upstream_requests": self.bill.requests,
        }
        if self.savings is not None:
            total = self.savings["total"]
            out["verdicts"] = dict(self.verdicts)
            out["ledger_direct_usd"] = round(total["direct_usd"], 6)
            out["ledger_actual_usd"] = round(total["actual_usd"], 6)
            out["batch_usd"] = round(total["batch_usd"], 6)
            out["saved_usd"] = {name: round(of["usd"], 6) for name, of in total["layers"].items()}
            out["saved_s_estimated"] = {
                name: round(of["estimated_s"], 2) for name, of in total["layers"].items()
            }
        return out

    def usd(self) -> float:
        """Return what it cost: the paid model's own bill, and for a small one what the gateway counted."""
        paid = cost(self.bill)
        if self.savings is None:
            return paid
        actual: float = self.savings["total"]["actual_usd"]
        # The small model has no bill; the rest must be what the paid model says.
        return max(paid, actual)


def cost(bill: Bill) -> float:
    """Return US dollars."""
    plain = bill.input_tokens - bill.cached_tokens
    read = plain * PRICE["input"] + bill.cached_tokens * PRICE["cache_read"]
    return (read + bill.output_tokens * PRICE["output"]) / 1e6


async def replay(
    http: aiohttp.ClientSession, paid: Running, target: Target, workload: Workload, *, whole_bill: bool = True
) -> Replay:
    """Send all requests in their order by the workload's callers. Raises BadRun.

    `whole_bill`: the paid model answers all of it, so its bill must be the gateway's own account.
    """
    headers = {"content-type": "application/json", **target.headers(workload)}
    if whole_bill:
        await _warm_up(http, target, workload, headers)
    before = await _bill(http, paid, target.key)
    threads = iter(workload.threads)
    ms: list[float] = []
    wrong, errors, verdicts = 0, list[str](), Counter[str]()

    async def caller() -> None:
        nonlocal wrong
        for thread in threads:
            for ask in thread:
                began = time.perf_counter()
                status, verdict, got = await _ask(http, target, ask.body(target.model), headers)
                ms.append((time.perf_counter() - began) * 1000)
                verdicts[verdict] += 1
                if status != 200:
                    errors.append(f"HTTP {status}: {got}")
                else:
                    wrong += not _is_right(got, ask)

    late: list[float] = []
    cpu = cpu_seconds(target.running.process.pid)
    watching = asyncio.create_task(_watch_timers(late))
    await asyncio.gather(*(caller() for _ in range(workload.callers)))
    watching.cancel()
    cpu_ms = (cpu_seconds(target.running.process.pid) - cpu) * 1000 / workload.asks
    if len(errors) > len(ms) // 10:
        raise BadRun(f"{target.running.name}: {len(errors)} errors, such as {errors[0][:500]}")
    bill = (await _bill(http, paid, target.key)).less(before)
    savings = await _savings(http, target, workload, headers) if target.gateway else None
    if savings is not None:
        ours = savings["total"]["actual_usd"]
        if whole_bill and abs(ours - cost(bill)) > 1e-9 * max(1, bill.requests):
            raise BadRun(f"{workload.name}: the gateway counted ${ours}, the paid model ${cost(bill)}")
    return Replay(ms, wrong, errors, verdicts, bill, savings, statistics.fmean(late or [0.0]), cpu_ms)


async def _watch_timers(late: list[float]) -> None:
    while True:
        due = time.perf_counter() + _TIMER_S
        await asyncio.sleep(_TIMER_S)
        late.append((time.perf_counter() - due) * 1000)


async def _warm_up(
    http: aiohttp.ClientSession, target: Target, workload: Workload, headers: dict[str, str]
) -> None:
    """Open the connections with requests that the paid model refuses: they cost and store nothing."""
    for time_ in range(4):
        texts = [f"warm up {time_} {caller}" for caller in range(workload.callers)]
        bodies = [{"model": target.model, "messages": [{"role": "user", "content": text}]} for text in texts]
        await asyncio.gather(*(_ask(http, target, body, headers) for body in bodies))


async def _ask(
    http: aiohttp.ClientSession, target: Target, ask: dict[str, Any], headers: dict[str, str]
) -> tuple[int, str, Any]:
    body = msgspec.json.encode(ask)
    async with http.post(target.running.url + CHAT, data=body, headers=headers) as response:
        got = msgspec.json.decode(await response.read())
        return response.status, response.headers.get("x-forebay-cache", "direct"), got


def _is_right(got: Any, ask: Ask) -> bool:
    message = got["choices"][0]["message"]
    said = (message.get("content") or "").strip().removesuffix(".")
    same = said == (ask.right["content"] or "").strip().removesuffix(".")
    return same and message.get("tool_calls") == ask.right.get("tool_calls")


async def _bill(http: aiohttp.ClientSession, paid: Running, key: str) -> Bill:
    async with http.get(paid.url + "/bill", headers={"authorization": f"Bearer {key}"}) as response:
        return msgspec.json.decode(await response.read(), type=Bill)


async def _savings(
    http: aiohttp.ClientSession, target: Target, workload: Workload, headers: dict[str, str]
) -> dict[str, Any]:
    """Return the gateway's account, once the last request is in it."""
    for _ in range(200):
        async with http.get(target.running.url + "/forebay/savings?days=2", headers=headers) as response:
            found: dict[str, Any] = await response.json()
        if found["total"]["requests"] + found["total"]["unpriced"] >= workload.asks:
            return found
        await asyncio.sleep(0.02)
    raise BadRun(f"the gateway counted {found['total']} where {workload.asks} requests were sent")
