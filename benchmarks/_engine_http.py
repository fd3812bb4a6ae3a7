"""The engine's server beside llama.cpp's own, over HTTP with streams: what a client waits for.

Each server gets the machine to itself, together with the client. So many callers at a time send prompts of
128 random tokens and read 128 tokens back, greedy, end of text ignored, nothing cached, no drafts. TTFT is
from sending to the first event with text, ITL from one event to the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from backend_engine.launcher import EngineOptions
from benchmarks import environments
from benchmarks.peers.llama_cpp_source import llama_server

TOKENS_IN = TOKENS_OUT = 128
CONCURRENCIES = (1, 8, 32)
_LEAST_REQUESTS = 6
_START_S = 180.0
_STOP_S = 30.0
_PLACES = max(CONCURRENCIES)

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Server:
    """A server under comparison: its command for a port, and what its requests need to say."""

    name: str
    command: Callable[[int], list[str]]
    extras: dict[str, Any]


@dataclass(slots=True)
class Seen:
    """What the clients of one load saw, in seconds."""

    ttft: list[float] = field(default_factory=list)
    itl: list[float] = field(default_factory=list)
    tokens: int = 0


def measure(model: Path, threads: int, work: Path) -> dict[str, Figures]:
    """Return the figures of every server by its name. Raises PeerUnavailable."""
    out = {}
    for server in _servers(model, threads, work):
        with _running(server, work) as url:
            out[server.name] = asyncio.run(_figures(server, url))
        # Should a later one fail, what was measured is not lost.
        print(f"http: {server.name}: {out[server.name]}", file=sys.stderr, flush=True)
    return out


def _servers(model: Path, threads: int, work: Path) -> Iterator[Server]:
    def ours(port: int, **options: Any) -> list[str]:
        chosen = EngineOptions(
            model=str(model), model_name="model", port=port, threads=threads, speculation="off", **options
        )
        return chosen.argv()

    plain = {"model": "model"}
    yield Server("forebay", ours, plain)
    yield Server("one-at-a-time", lambda port: ours(port, max_sequences=1), plain)
    program, quantize = llama_server()
    q4_0 = work / "served-q4_0.gguf"
    subprocess.run([quantize, "--allow-requantize", model, q4_0, "Q4_0"], check=True, capture_output=True)
    flags = ["--threads", str(threads), "--parallel", str(_PLACES), "--ctx-size", str(_PLACES * 512)]

    def llama(port: int) -> list[str]:
        return [str(program), "--model", str(q4_0), "--port", str(port), "--host", "127.0.0.1", *flags]

    yield Server("llama.cpp-q4_0", llama, {"cache_prompt": False})


async def _figures(server: Server, url: str) -> Figures:
    out: Figures = {}
    # llama.cpp's server closes a connection that the client would use again.
    fresh = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(url, connector=fresh) as http:
        chance = random.Random(3)
        await _load(http, server, 2, 2, chance)
        for callers in CONCURRENCIES:
            print(f"http: {server.name}, {callers} at a time", file=sys.stderr, flush=True)
            begun = time.perf_counter()
            seen = await _load(http, server, callers, max(_LEAST_REQUESTS, 2 * callers), chance)
            took = time.perf_counter() - begun
            out[f"http_{callers}_tokens_per_s"] = round(seen.tokens / took, 1)
            for name, values in (("ttft", seen.ttft), ("itl", seen.itl)):
                for share in (50, 99):
                    out[f"http_{callers}_{name}_p{share}_ms"] = round(1000 * _percentile(values, share), 1)
    return out


async def _load(
    http: aiohttp.ClientSession, server: Server, callers: int, requests: int, chance: random.Random
) -> Seen:
    seen = Seen()
    numbers = itertools.islice(itertools.count(), requests)

    async def caller() -> None:
        for _ in numbers:
            await _stream(http, server, [chance.randrange(1000, 40_000) for _ in range(TOKENS_IN)], seen)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    return seen


async def _stream(http: aiohttp.ClientSession, server: Server, prompt: list[int], seen: Seen) -> None:
    body = {
        **server.extras,
        "prompt": prompt,
        "max_tokens": TOKENS_OUT,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    last = time.perf_counter()
    first = True
    async with http.post("/v1/completions", json=body) as response:
        if response.status != 200:
            raise SystemExit(f"{server.name}: HTTP {response.status}: {await response.text()}")
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if event.get("usage"):
                seen.tokens += event["usage"]["completion_tokens"]
            if event.get("choices") and event["choices"][0]["text"]:
                now = time.perf_counter()
                (seen.ttft if first else seen.itl).append(now - last)
                first, last = False, now
    if first:
        raise SystemExit(f"{server.name}: a stream without text")


@contextlib.contextmanager
def _running(server: Server, work: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = work / f"{server.name}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(server.command(port), stdout=sink, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        give_up = time.monotonic() + _START_S
        while not _answers(url):
            if time.monotonic() > give_up or process.poll() is not None:
                end = log.read_text(errors="replace")[-2000:]
                raise environments.PeerUnavailable(f"{server.name} did not start:\n{end}")
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5):
            return True
    except OSError:
        return False


def _percentile(values: list[float], share: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * share // 100)]
