"""Log lines lead to their request and never hold content."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from telemetry.context import INVALID, TraceContext
from telemetry.logs import WITHHELD, configure_logs, request_log


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_the_ids_of_its_request() -> None:
    stream = io.StringIO()
    configure_logs("info", stream=stream)
    log = request_log(structlog.get_logger("gateway"), "req_1", TraceContext("a" * 32, "b" * 16, 1))
    log.info("answered\nin two lines", status=200)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "answered\nin two lines",
        "status": 200,
        "level": "info",
        "logger": "gateway",
        "request_id": "req_1",
        "trace_id": "a" * 32,
    }


def test_without_tracing_there_is_no_trace_id() -> None:
    stream = io.StringIO()
    configure_logs("info", stream=stream)
    request_log(structlog.get_logger("gateway"), "req_1", INVALID).info("answered")
    assert "trace_id" not in lines(stream)[0]


def test_libraries_log_in_the_same_form() -> None:
    stream = io.StringIO()
    configure_logs("warning", stream=stream)
    logging.getLogger("aiohttp.server").warning("odd request from %s", "somewhere")
    logging.getLogger("aiohttp.server").info("not worth a line")
    structlog.get_logger("gateway").info("nor this")
    (line,) = lines(stream)
    assert (line["event"], line["logger"]) == ("odd request from somewhere", "aiohttp.server")


def test_an_exception_is_part_of_its_line() -> None:
    stream = io.StringIO()
    configure_logs("info", stream=stream)
    try:
        raise KeyError("missing")
    except KeyError:
        structlog.get_logger("gateway").exception("failed")
    (line,) = lines(stream)
    assert "KeyError: 'missing'" in line["exception"]


@pytest.mark.parametrize("key", ["prompt", "messages", "content", "body", "authorization", "api_key"])
@pytest.mark.parametrize("form", ["json", "console"])
def test_content_and_secrets_are_withheld(key: str, form: Any) -> None:
    stream = io.StringIO()
    configure_logs("info", form, stream)
    structlog.get_logger("gateway").info("received", **{key: "the quick brown fox"})
    assert "fox" not in stream.getvalue()
    assert WITHHELD in stream.getvalue()


def test_a_terminal_gets_readable_lines() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    configure_logs("info", stream=stream)
    structlog.get_logger("gateway").info("ready", port=8080)
    assert not stream.getvalue().startswith("{")
    assert "ready" in stream.getvalue()
