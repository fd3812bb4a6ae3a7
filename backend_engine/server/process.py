"""The engine's server from loading to draining."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from aiohttp import web

from backend_engine.assemble import build_engine, load_model
from backend_engine.async_engine import AsyncEngine
from backend_engine.launcher import EngineOptions
from backend_engine.server.app import EngineServer
from backend_engine.server.generation import Generator
from backend_engine.server.kv_events import KvEvents
from backend_engine.structured.compiler import GrammarCompiler
from backend_engine.structured.vocabulary import Vocabulary
from backend_engine.warm_up import warm_up
from telemetry.metrics import EngineMetrics
from telemetry.setup import Telemetry, start_telemetry

DRAIN_S = 8.0
_log = structlog.get_logger("engine")


class ServerProcess:
    """A listening engine; made by `start`, ended by `stop`."""

    def __init__(
        self, url: str, runner: web.AppRunner, server: EngineServer, engine: AsyncEngine, telemetry: Telemetry
    ) -> None:
        self.url = url
        self._runner = runner
        self._server = server
        self._engine = engine
        self._telemetry = telemetry

    @property
    def healthy(self) -> bool:
        return self._engine.healthy

    @classmethod
    async def start(cls, options: EngineOptions, *, on_death: Callable[[], None]) -> ServerProcess:
        """Load the model, warm it up and listen.

        Raises ModelError if the model cannot be loaded, OSError if the address cannot be had.
        """
        started = time.monotonic()
        name = options.model_name or Path(options.model).stem
        _log.info("loading", model=name, path=options.model, quantization=options.quantization)
        metrics: EngineMetrics | None = None

        def count_step(tokens: int) -> None:
            if metrics is not None:
                metrics.iteration_tokens.observe(tokens)

        def count_draft(num_drafted: int, num_accepted: int) -> None:
            if metrics is not None:
                metrics.drafted(num_drafted, num_accepted)

        # In a thread, so that a signal is heard while the model loads.
        loaded = await asyncio.to_thread(
            load_model,
            options.model,
            options.quantization,
            threads=options.threads,
            max_context=options.max_context,
            yarn_factor=options.yarn_factor,
        )
        max_context = loaded.config.max_context
        core = await asyncio.to_thread(
            build_engine, loaded, options, on_step=count_step, on_draft=count_draft
        )
        await asyncio.to_thread(warm_up, core)
        vocabulary = await asyncio.to_thread(
            Vocabulary, loaded.tokenizer, vocab_size=loaded.config.vocab_size, end_ids=loaded.end_ids
        )
        engine = AsyncEngine(core, on_death=on_death)
        telemetry = start_telemetry("forebay-engine", options.otlp_endpoint, options.trace_sample)
        metrics = EngineMetrics(
            running=lambda: engine.stats().num_running,
            waiting=lambda: engine.stats().num_waiting,
            kv_usage=lambda: engine.stats().num_blocks_used / engine.stats().num_blocks,
            prefix_queries=lambda: engine.stats().prefix_queries,
            prefix_hits=lambda: engine.stats().prefix_hits,
            preemptions=lambda: engine.stats().num_preemptions,
            spans_dropped=telemetry.dropped,
        )
        generator = Generator(
            engine,
            loaded.tokenizer,
            loaded.chat_template,
            max_context=max_context,
            capacity_tokens=core.scheduler.capacity_tokens,
            vocab_size=loaded.config.vocab_size,
            compiler=GrammarCompiler(vocabulary),
            max_output_tokens=options.max_output_tokens,
        )
        server = EngineServer(
            generator, KvEvents(engine, options.block_size), name, metrics, telemetry.tracer
        )
        runner = web.AppRunner(
            server.app(), handler_cancellation=True, access_log=None, shutdown_timeout=DRAIN_S
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, options.host, options.port).start()
        except OSError:
            await runner.cleanup()
            raise
        engine.start()
        host, port = runner.addresses[0][:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        _log.info(
            "listening",
            url=url,
            seconds=round(time.monotonic() - started, 2),
            kernels=loaded.kernels,
            kv_blocks=core.scheduler.pool.num_blocks,
            kv_tokens=core.scheduler.capacity_tokens,
            max_context=max_context,
            concurrency_at_max_context=round(core.scheduler.capacity_tokens / max_context, 2),
            max_sequences=options.max_sequences,
        )
        return cls(url, runner, server, engine, telemetry)

    async def stop(self) -> None:
        """Refuse new requests, let running ones finish for a while, then stop."""
        self._server.draining = True
        await self._runner.cleanup()
        await self._engine.stop()
        await self._telemetry.close()
