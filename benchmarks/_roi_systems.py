"""The gateways of the `roi` benchmark, each a real `forebay serve` with stores of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import uvloop

from benchmarks._load import CHAT
from benchmarks._roi_run import PRICE, SMALL_PRICE, BadRun, Target, tenant_key
from benchmarks._roi_workloads import Workload
from benchmarks.peers import gateways, mock_paid
from benchmarks.peers.gateways import Bench, Running
from gateway.state.keys.key import HASH_PREFIX, digest_of
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.protocol import Numbers, Stats

FOREBAY = [sys.executable, "-c", "from gateway.cli import main; main()"]
SMALL, LARGE, ROUTE = "small", "large", "auto"
_READY_S = 60.0
_MODEL = "smollm2-135m-instruct"


@dataclass(frozen=True, slots=True)
class Rooms:
    """Where the paid model is and where files go; gateways are numbered."""

    bench: Bench
    paid: Running

    def direct(self) -> Target:
        """Return the paid model itself, under a key of its own."""
        return Target(self.paid, mock_paid.MODEL, "sk-roi-direct", False)

    @contextlib.contextmanager
    def gateway(self, name: str, model: str, workloads: Sequence[Workload], **more: Any) -> Iterator[Target]:
        """Run a gateway with empty stores and a tenant for each workload; `more` goes into its
        configuration."""
        folder = self.bench.folder / name
        (folder / "tmp").mkdir(parents=True)
        port, key = gateways.free_port(), f"sk-roi-{name}"
        paid = {"kind": "openai", "base_url": f"{self.paid.url}/v1", "api_key": key}
        config: dict[str, Any] = {
            "server": {"port": port, "drain_s": 1},
            "upstreams": {"paid": paid, **more.pop("upstreams", {})},
            "models": {
                LARGE: {"upstream": "paid", "model": mock_paid.MODEL, "price": PRICE},
                **more.pop("models", {}),
            },
            "state": {"store": f"sqlite://{folder}/state.db"},
            "cache": {"store": f"sqlite://{folder}/cache.db", **more.pop("cache", {})},
            "telemetry": {"sample": 0.0},
            "tenants": [
                {"name": workload.name, "key_hash": HASH_PREFIX + digest_of(tenant_key(workload.name)).hex()}
                for workload in workloads
            ],
            **more,
        }
        semantic = config["cache"].get("semantic", True) is not None
        file = folder / "forebay.yaml"
        # JSON is YAML.
        file.write_text(json.dumps(config))
        with self.bench.start(
            name,
            [*FOREBAY, "serve", "--config", str(file)],
            port,
            ready="/health/ready",
            # The semantic process's socket is looked for there.
            env={"TMPDIR": str(folder / "tmp")},
        ) as running:
            if semantic:
                uvloop.run(_until_it_answers(folder / "tmp"))
            yield Target(running, model, key, True)


async def _until_it_answers(folder: Path) -> None:
    """Wait for the semantic process: a gateway serves without it, and its first requests would be misses."""
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        for path in _sockets(folder):
            client = SemanticClient(str(path))
            client.start()
            try:
                for _ in range(50):
                    if client.up and await client.ask(Stats(), Numbers, 1.0) is not None:
                        return
                    await asyncio.sleep(0.02)
            finally:
                await client.close()
        await asyncio.sleep(0.05)
    raise BadRun(f"the semantic process was not ready within {_READY_S:.0f} s")


def _sockets(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_socket()]


@contextlib.contextmanager
def paid_model(bench: Bench, workloads: list[Workload]) -> Iterator[Running]:
    """Run the paid model, which knows the answers to all workloads."""
    table: dict[str, Any] = {}
    for workload in workloads:
        table |= workload.table()
    file = bench.folder / "table.json"
    file.write_bytes(msgspec.json.encode(table))
    port = gateways.free_port()
    command = [sys.executable, "-m", "benchmarks.peers.mock_paid", str(port), str(file)]
    with bench.start("paid", command, port, ready="/bill") as running:
        yield running


def engine_config() -> dict[str, Any]:
    """Return the bundled engine as the small model."""
    return {
        "upstreams": {"engine": {"kind": "engine", "model": _MODEL}},
        "models": {SMALL: {"upstream": "engine", "model": _MODEL, "price": SMALL_PRICE}},
    }


async def answers(http: aiohttp.ClientSession, target: Target, learning: Workload) -> str:
    """Ask the small model all of a workload; returns the log of what is right. Raises BadRun."""
    headers = {"content-type": "application/json", **target.headers(learning)}
    left, rows = iter(learning.threads), list[dict[str, Any]]()

    async def caller() -> None:
        for (ask,) in left:
            body = msgspec.json.encode(ask.body(SMALL))
            async with http.post(target.running.url + CHAT, data=body, headers=headers) as response:
                if response.status != 200:
                    raise BadRun(f"the small model: {await response.text()}")
                said = (await response.json())["choices"][0]["message"]["content"]
            right = said.strip().removesuffix(".") == ask.right["content"]
            prompt = ask.messages[-1]["content"]
            rows.append(
                {"prompt": prompt, "weak_answer": said, "weak_correct": int(right), "strong_correct": 1}
            )

    await asyncio.gather(*(caller() for _ in range(learning.callers)))
    # In an order of their own: what is learned does not depend on who was faster.
    rows.sort(key=lambda row: str(row["prompt"]))
    return "".join(json.dumps(row) + "\n" for row in rows)


def train(log: Path, policy: Path) -> str:
    """Learn a policy as an operator does; returns what the command said. Raises BadRun."""
    command = [*FOREBAY, "route", "train", str(log), "--out", str(policy), "--quality", "0.99"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BadRun(f"forebay route train: {done.stdout}{done.stderr}")
    return done.stdout.strip()
