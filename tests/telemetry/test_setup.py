"""When tracing is on, and where the spans go."""

from __future__ import annotations

import pytest

from telemetry.setup import start_telemetry, traces_endpoint
from telemetry.spans import NullTracer

GENERIC = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://generic:4318"}
TRACES = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://traces:4318/custom"}


@pytest.mark.parametrize(
    ("argument", "environ", "expected"),
    [
        (None, {}, None),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, None),
        ("http://host:4318", {}, "http://host:4318/v1/traces"),
        ("http://host:4318/", {}, "http://host:4318/v1/traces"),
        ("https://host/api/public/otel", {}, "https://host/api/public/otel/v1/traces"),
        ("http://host:4318/v1/traces", {}, "http://host:4318/v1/traces"),
        (None, GENERIC, "http://generic:4318/v1/traces"),
        (None, GENERIC | TRACES, "http://traces:4318/custom"),
        ("http://host:4318", GENERIC | TRACES, "http://host:4318/v1/traces"),
        ("http://host:4318", {"OTEL_SDK_DISABLED": "true"}, None),
        ("http://host:4318", {"OTEL_SDK_DISABLED": "false"}, "http://host:4318/v1/traces"),
        (None, GENERIC | {"OTEL_TRACES_EXPORTER": "none"}, None),
    ],
)
def test_where_spans_are_posted(argument: str | None, environ: dict[str, str], expected: str | None) -> None:
    assert traces_endpoint(argument, environ) == expected


async def test_without_an_endpoint_there_is_a_null_tracer_and_no_process() -> None:
    telemetry = start_telemetry("forebay-test", None, environ={})
    assert isinstance(telemetry.tracer, NullTracer)
    assert telemetry.dropped() == 0
    await telemetry.close()
