"""The engine processes of a gateway: one for all workers, kept when a new configuration leaves it alone."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from backend_engine.launcher import EngineOptions
from gateway.config.schema import Config, EngineUpstream
from gateway.messages import Prepare
from gateway.upstreams.base import State
from gateway.upstreams.engine_process import EngineReport, SupervisedEngine

OnReport = Callable[[int, EngineReport], None]


@dataclass(frozen=True, slots=True)
class Generation:
    """A configuration with the number that it got here, and the engine process of each engine upstream."""

    number: int
    config: Config
    engines: Mapping[str, int] = field(default_factory=dict)
    semantic: int | None = None
    """The number of the semantic process."""


def engine_options(upstream: EngineUpstream, path: str, config: Config) -> EngineOptions:
    """Return the command line of a supervised engine: on a free port, known under its configured name."""
    tunables = {
        name: getattr(upstream, name)
        for name in upstream.__struct_fields__
        if name not in ("model", "timeouts")
    }
    return EngineOptions(
        model=path,
        model_name=upstream.model,
        port=0,
        otlp_endpoint=config.telemetry.otlp_endpoint,
        trace_sample=config.telemetry.sample,
        log_level=config.telemetry.log_level,
        **tunables,
    )


class Engines:
    """Starts and ends engine processes; each has a number."""

    def __init__(self, on_report: OnReport) -> None:
        self._on_report = on_report
        self._engines: dict[int, SupervisedEngine] = {}
        self._next = 0

    def of(self, config: Config, paths: Mapping[str, str], before: Mapping[str, int]) -> dict[str, int]:
        """Return the engines that a configuration needs: those of `before` or, where it differs, new ones.

        `paths` has the local path of every engine's model.
        """
        wanted: dict[str, int] = {}
        for name, upstream in config.upstreams.items():
            if isinstance(upstream, EngineUpstream):
                options = engine_options(upstream, paths[upstream.model], config)
                same = name in before and _alike(self._engines[before[name]].options, options)
                wanted[name] = before[name] if same else self._start(name, options)
        return wanted

    async def refusal(self, numbers: Collection[int]) -> str | None:
        """Wait until these engines have started; return why one of them has not."""
        for report in await asyncio.gather(*(self._engines[number].settled() for number in numbers)):
            if report.state is not State.READY:
                return f"the engine '{report.name}' did not start: {report.why}"
        return None

    def prepare(self, generation: Generation, semantic: str | None = None) -> Prepare:
        """Return what a worker needs to be told of a generation; `semantic` is that process's socket."""
        engines = {
            name: (number, self._engines[number].report) for name, number in generation.engines.items()
        }
        return Prepare(generation.number, generation.config, engines, semantic)

    async def keep_only(self, numbers: Collection[int]) -> None:
        """End all other engines."""
        gone = [self._engines.pop(number) for number in self._engines.keys() - set(numbers)]
        await asyncio.gather(*(engine.close() for engine in gone))

    def _start(self, name: str, options: EngineOptions) -> int:
        number, self._next = self._next, self._next + 1

        def on_report(report: EngineReport) -> None:
            self._on_report(number, report)

        engine = self._engines[number] = SupervisedEngine(name, options, on_report)
        engine.start()
        return number


def _alike(one: EngineOptions, other: EngineOptions) -> bool:
    # Not worth loading a model again.
    return dataclasses.replace(one, log_level=other.log_level) == other
