"""Load on a gateway and the kernel's account of it: CPU time and memory of a process and its children."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.peers import mock_openai
from benchmarks.peers.gateways import Running

CHAT = "/v1/chat/completions"
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class NotServed(Exception):
    """The gateway did not answer a case as it should; the message is its own."""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request: a stream or a whole answer, always new or (for a cache) the same few again."""

    name: str
    stream: bool
    repeated: bool
    callers: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one case on one gateway."""

    requests: int
    cpu_ms: float
    """Milliseconds of CPU per request, of the gateway and all its child processes."""
    latencies_ms: list[float]


class Load:
    """Sends requests to one gateway after another over kept connections, and checks every answer."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._numbers = itertools.count()
        self._reply = mock_openai.reply()
        self._stream = b"".join(mock_openai.events(usage=False))

    async def run(self, target: Running, case: Case, requests: int, seconds: float) -> Measured:
        """Send `requests` requests, or as many as there is time for. Raises NotServed."""
        for _ in range(case.callers):
            await self.one(target, case)
        numbers = iter(range(requests))
        deadline = time.monotonic() + seconds
        latencies: list[float] = []
        before = cpu_seconds(target.process.pid)

        async def caller() -> None:
            for _ in numbers:
                if time.monotonic() > deadline:
                    return
                latencies.append(await self.one(target, case))

        async with asyncio.TaskGroup() as callers:
            for _ in range(case.callers):
                callers.create_task(caller())
        used = cpu_seconds(target.process.pid) - before
        return Measured(len(latencies), used * 1000 / len(latencies), latencies)

    async def one(self, target: Running, case: Case) -> float:
        """Send one request; returns its milliseconds. Raises NotServed."""
        body = self._body(case)
        headers = {"content-type": "application/json", **target.headers}
        began = time.perf_counter()
        try:
            async with self._http.post(target.url + CHAT, data=body, headers=headers) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NotServed(f"{type(error).__name__}: {error}") from None
        took = (time.perf_counter() - began) * 1000
        if response.status != 200:
            raise NotServed(f"HTTP {response.status}: {answer.decode(errors='replace')[:500]}")
        self._check(target, case, answer)
        return took

    def _body(self, case: Case) -> bytes:
        number = next(self._numbers)
        if case.repeated:
            number = -1 - number % 8
        stream = b',"stream":true' if case.stream else b""
        return b'{"model":"%b","messages":[{"role":"user","content":"Question %d?"}]%b}' % (
            mock_openai.MODEL.encode(),
            number,
            stream,
        )

    def _check(self, target: Running, case: Case, answer: bytes) -> None:
        expected = self._stream if case.stream else self._reply
        if answer == expected:
            return
        # A gateway that rewrites answers has to bring all of the content at least; a cache makes a new id.
        whole = (
            answer.count(b" drop") >= mock_openai.EVENTS if case.stream else answer.count(b"water ") > 1000
        )
        if not whole or (target.name.startswith("forebay") and not case.repeated):
            raise NotServed(f"not the upstream's answer: {answer[:200]!r}")


async def answered(http: aiohttp.ClientSession, mock: Running) -> int:
    """Return how many requests the mock has answered."""
    async with http.get(mock.url + "/count") as response:
        count: int = await response.json()
        return count


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its children so far: nanoseconds of the scheduler, else ticks."""
    return sum(_cpu_of(process) for process in _tree(pid))


def rss_mb(pid: int) -> tuple[float, float]:
    """Return the resident memory of a process's largest process, and of it and all its children."""
    sizes = [int((process / "statm").read_text().split()[1]) * _PAGE / 2**20 for process in _tree(pid)]
    return round(max(sizes), 1), round(sum(sizes), 1)


def _cpu_of(process: Path) -> float:
    threads = list((process / "task").iterdir())
    if (process / "schedstat").exists():
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _tree(pid: int) -> Iterator[Path]:
    children: dict[int, list[int]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(process.name))
    left = [pid]
    while left:
        found = left.pop()
        yield Path("/proc") / str(found)
        left += children.get(found, ())
