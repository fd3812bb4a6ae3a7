"""Structured logs on standard error: JSON lines for machines, colours for a terminal. Never content."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from telemetry.context import TraceContext

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]

# Keys under which a prompt, an answer or a secret would stand. Logging one is a mistake that must not leak.
WITHHELD_KEYS = frozenset(
    {"answer", "api_key", "authorization", "body", "completion", "content", "input"}
    | {"messages", "output", "prompt", "prompts", "secret", "text"}
)
WITHHELD = "[withheld]"


def configure_logs(level: Level, form: Format = "auto", stream: TextIO | None = None) -> None:
    """Send our logs and those of libraries to `stream` (default: standard error).

    `auto` writes for people if the stream is a terminal, and JSON lines otherwise.
    """
    stream = stream or sys.stderr
    console = form == "console" or (form == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        withhold_content,
    ]
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if console:
        last.append(structlog.dev.ConsoleRenderer(colors=stream.isatty()))
    else:
        last += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=last, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)


def set_level(level: Level) -> None:
    """Write lines of this level and above from now on."""
    logging.getLogger().setLevel(level.upper())


def request_log(log: FilteringBoundLogger, request_id: str, context: TraceContext) -> FilteringBoundLogger:
    """Return `log` with the ids that lead from a line to its request and its trace."""
    if context.valid:
        return log.bind(request_id=request_id, trace_id=context.trace_id)
    return log.bind(request_id=request_id)


def withhold_content(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace what stands under a key that is kept for content or secrets."""
    for key in event.keys() & WITHHELD_KEYS:
        event[key] = WITHHELD
    return event
