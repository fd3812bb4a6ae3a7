"""Who runs the semantic process: one for all workers, started again where it was, gone without a trace."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from gateway.config.load import load_config
from gateway.config.schema import Config
from gateway.models.errors import PullFailed
from gateway.semantic_process import SemanticProcesses, SupervisedSemantic, semantic_options
from gateway.upstreams.engine_process import RestartPauses
from semantic_cache.semantic.launcher import SemanticOptions, SemanticStopped, launch
from telemetry.metrics.supervisor import SupervisorMetrics
from tests.semantic_cache.support.semantic_process import MODULE, PATIENT_S, let_children_import

launch_test = partial(launch, module=MODULE)
SOON = RestartPauses(first=0.01, last=0.05, stable=60)


async def nowhere(*embedder: object) -> None:
    """The tests' embedder is no model on this machine."""


@pytest.fixture
def options(tmp_path: Path) -> SemanticOptions:
    let_children_import()
    return SemanticOptions(store=f"sqlite://{tmp_path}/cache.db")


@pytest.fixture
async def processes() -> AsyncIterator[SemanticProcesses]:
    let_children_import()
    running = SemanticProcesses(SupervisorMetrics(), launch=launch_test, locate=nowhere)
    yield running
    await running.keep_only(())


def config_of(folder: Path, more: str = "", cache: str = "") -> Config:
    file = folder / "forebay.yaml"
    file.write_text(f"cache: {{store: 'sqlite://{folder}/cache.db', semantic: {{{cache}}}}}\n{more}\n")
    return load_config(file, environ={})


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENT_S):
        while not what():
            await asyncio.sleep(0.01)


async def test_is_kept_while_its_options_stay_and_gone_when_nobody_needs_it(
    processes: SemanticProcesses, tmp_path: Path
) -> None:
    first = processes.of(config_of(tmp_path), None)
    same = config_of(tmp_path, "telemetry: {log_level: debug}", "error_budget: 0.05, deadline_ms: 5")
    assert processes.of(same, first) == first
    second = processes.of(config_of(tmp_path, cache="candidates: 2"), first)
    none = load_config(tmp_path / "forebay.yaml", environ={"FOREBAY__CACHE": "null"})
    assert second != first and processes.of(none, second) is None
    sockets = [Path(processes.socket(number) or "") for number in (first, second)]
    await until(lambda: all(socket.exists() for socket in sockets))
    assert all(socket.parent.stat().st_mode & 0o777 == 0o700 for socket in sockets)
    assert second is not None
    await processes.keep_only([second])
    assert not sockets[0].parent.exists() and sockets[1].exists()
    await processes.keep_only(())
    assert not sockets[1].parent.exists()


async def test_is_started_again_on_the_same_socket(options: SemanticOptions) -> None:
    metrics = SupervisorMetrics()
    process = SupervisedSemantic(options, metrics, launch_test, nowhere, SOON)
    process.start()
    await until(lambda: process.running is not None)
    first = process.running
    assert first is not None
    first.process.kill()
    await until(lambda: process.running not in (None, first) and process.socket.exists())
    assert metrics.registry.get_sample_value("forebay_semantic_restarts_total") == 1
    await process.close()


async def test_one_that_cannot_work_is_not_tried_again(options: SemanticOptions) -> None:
    tries = 0

    async def unusable(options: SemanticOptions, socket: Path) -> None:
        nonlocal tries
        tries += 1
        raise SemanticStopped("no weights", 3)

    process = SupervisedSemantic(options, SupervisorMetrics(), unusable, nowhere, SOON)  # type: ignore[arg-type]
    process.start()
    await until(lambda: process.given_up)
    assert tries == 1
    await process.close()
    assert not process.socket.parent.exists()


async def test_an_embedder_that_cannot_be_had_costs_the_tier_and_nothing_else(
    options: SemanticOptions,
) -> None:
    async def offline() -> None:
        raise PullFailed("the package index cannot be reached")

    process = SupervisedSemantic(options, SupervisorMetrics(), launch_test, offline, SOON)
    process.start()
    await until(lambda: process.given_up)
    await process.close()


async def test_closing_while_it_starts_leaves_nothing(options: SemanticOptions) -> None:
    process = SupervisedSemantic(options, SupervisorMetrics(), launch_test, nowhere, SOON)
    process.start()
    await asyncio.sleep(0)
    await process.close()
    assert not process.socket.parent.exists()


def test_reads_its_options_from_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "forebay.yaml"
    file.write_text(
        "upstreams: {up: {kind: openai, base_url: 'http://e/v1', api_key: k}}\n"
        "models: {m: {upstream: up}}\n"
        "cache: {store: 'sqlite://c.db', max_entries: 7000000, max_mb: 9000,\n"
        "  semantic: {embedder: e5, upstream: up, candidates: 7}}\n"
    )
    options = semantic_options(load_config(file, environ={}), None)
    assert options == SemanticOptions(
        store="sqlite://c.db",
        max_entries=7_000_000,
        max_mb=9000,
        embedder="e5",
        embedder_url="http://e/v1",
        embedder_key="k",
        candidates=7,
        log_level="warning",
    )
    file.write_text("cache: {semantic: null}\n")
    assert semantic_options(load_config(file, environ={}), None) is None


async def test_neither_worker_nor_supervisor_loads_what_only_the_process_needs() -> None:
    heavy = ("numpy", "torch", "faiss", "tokenizers")
    program = (
        "import sys, gateway.worker, gateway.service, gateway.semantic_tier\n"
        f"print([name for name in {heavy!r} if name in sys.modules])\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert said == b"[]\n"
