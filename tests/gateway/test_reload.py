from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from gateway.config.schema import Config, Server, TelemetryConfig
from gateway.reload import ReloadRequests, needs_restart


async def test_a_file_is_read_when_it_has_changed_and_is_at_rest(tmp_path: Path) -> None:
    file = tmp_path / "forebay.yaml"
    file.write_text("a")
    requests = ReloadRequests(file)
    watch = asyncio.create_task(requests.watch(poll_s=0))
    asked = asyncio.create_task(requests.next())
    await asyncio.sleep(0)
    assert not asked.done()
    file.write_text("ab")
    await asked
    # It is gone for a moment, as with some editors, and is back.
    again = asyncio.create_task(requests.next())
    file.unlink()
    await asyncio.sleep(0)
    file.write_text("abc")
    await again
    watch.cancel()


async def test_a_signal_and_the_watch_ask_for_one_reload(tmp_path: Path) -> None:
    file = tmp_path / "forebay.yaml"
    file.write_text("a")
    requests = ReloadRequests(file)
    file.write_text("ab")
    requests.ask()
    await requests.next()
    watch = asyncio.create_task(requests.watch(poll_s=0))
    asked = asyncio.create_task(requests.next())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not asked.done()
    os.utime(file, ns=(1, 1))
    await asked
    watch.cancel()


@pytest.mark.parametrize(
    ("following", "keys"),
    [
        (Config(), []),
        (Config(server=Server(drain_s=1, drain_delay_s=1, max_body_mb=1)), []),
        (
            Config(server=Server(host="::1", port=1, workers=2)),
            [f"server.{key}" for key in ("host", "port", "workers")],
        ),
        (
            Config(telemetry=TelemetryConfig(otlp_endpoint="http://c", sample=0.5, log_level="info")),
            ["telemetry.otlp_endpoint", "telemetry.sample"],
        ),
    ],
)
def test_what_cannot_change_is_told_by_name(following: Config, keys: list[str]) -> None:
    assert needs_restart(Config(), following) == keys
