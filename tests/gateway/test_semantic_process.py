"""Who runs the semantic process: one for all workers, started again where it was, gone without a trace."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.config.load import load_config
from gateway.config.schema import Config
from gateway.models.errors import PullFailed
from gateway.semantic_process import SemanticProcesses, SupervisedSemantic, own, semantic_options
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


async def test_what_cannot_be_had_now_is_tried_again_and_told_of_once(options: SemanticOptions) -> None:
    online, tries = False, 0

    async def locate() -> None:
        nonlocal tries
        tries += 1
        if not online:
            raise PullFailed("the package index cannot be reached")

    process = SupervisedSemantic(options, SupervisorMetrics(), launch_test, locate, SOON)
    with capture_logs() as logs:
        process.start()
        await until(lambda: tries >= 3)
        online = True
        await until(lambda: process.running is not None)
    await process.close()
    assert [line["event"] for line in logs] == ["semantic_unavailable", "semantic_ready"]
    assert logs[0]["reason"] == "the package index cannot be reached" and not process.given_up


async def test_a_store_that_cannot_be_opened_is_tried_again(
    options: SemanticOptions, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "cache.db")) as alien:
        alien.execute("CREATE TABLE t (x)")
    metrics = SupervisorMetrics()
    process = SupervisedSemantic(options, metrics, launch_test, nowhere, SOON)

    def tries() -> float:
        return metrics.registry.get_sample_value("forebay_semantic_restarts_total") or 0.0

    with capture_logs() as logs:
        process.start()
        await until(lambda: tries() >= 2)
        (tmp_path / "cache.db").unlink()
        await until(lambda: process.running is not None)
    await process.close()
    assert [line["event"] for line in logs] == ["semantic_unavailable", "semantic_ready"]
    assert "belongs to another program" in logs[0]["reason"]
    assert "belongs to another program" not in capfd.readouterr().err


async def test_a_missing_package_is_found_before_anything_is_fetched(
    options: SemanticOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semantic_cache.semantic.launcher.PACKAGES", ("numpy", "no_such_package"))
    asked = False

    async def locate() -> None:
        nonlocal asked
        asked = True

    process = SupervisedSemantic(options, SupervisorMetrics(), launch_test, locate, SOON)
    with capture_logs() as logs:
        process.start()
        await until(lambda: process.given_up)
    await process.close()
    (line,) = logs
    assert "no_such_package" in line["reason"] and "pip install 'forebay[semantic]'" in line["reason"]
    assert not asked


@pytest.mark.parametrize("taken", ["link", "open", "file"])
async def test_a_directory_that_is_not_its_own_is_refused(
    options: SemanticOptions, tmp_path: Path, taken: str
) -> None:
    metrics = SupervisorMetrics()
    process = SupervisedSemantic(options, metrics, launch_test, nowhere, SOON)
    directory = process.socket.parent
    directory.rmdir()
    if taken == "link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        directory.symlink_to(tmp_path / "theirs")
    elif taken == "open":
        directory.mkdir()
        directory.chmod(0o755)
    else:
        directory.touch(0o700)
    with capture_logs() as logs:
        process.start()
        await until(lambda: bool(logs))
        assert process.running is None and "ours alone" in logs[0]["reason"]
        directory.rmdir() if taken == "open" else directory.unlink()
        await until(lambda: process.running is not None)
    await process.close()
    assert not directory.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "theirs"
    directory.mkdir(mode=0o700)
    own(directory)
    os.chown(directory, 65534, 65534)
    with pytest.raises(PermissionError):
        own(directory)


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
