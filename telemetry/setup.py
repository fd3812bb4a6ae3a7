"""Decides once, at start, whether this process traces and where its spans go."""

from __future__ import annotations

import os
from collections.abc import Mapping

from telemetry.clock import Clock
from telemetry.export import Exporter, SpanBuffer
from telemetry.names import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION
from telemetry.spans import NullTracer, Tracer
from telemetry.version import __version__

CLOSE_TIMEOUT_S = 5.0
TRACES_PATH = "/v1/traces"
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


class Telemetry:
    """Tracing of one process; `tracer` is what the rest of the code uses."""

    def __init__(self, tracer: Tracer, buffer: SpanBuffer | None, exporter: Exporter | None) -> None:
        self.tracer = tracer
        self._buffer = buffer
        self._exporter = exporter

    def dropped(self) -> int:
        """Return how many finished spans this process could not hand over."""
        return 0 if self._buffer is None else self._buffer.dropped

    async def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Export what is left, for at most `timeout_s` seconds."""
        if self._exporter is not None:
            exporter, self._exporter = self._exporter, None
            await exporter.close(timeout_s)


def start_telemetry(
    service_name: str,
    otlp_endpoint: str | None,
    sample: float = 1.0,
    *,
    environ: Mapping[str, str] = os.environ,
) -> Telemetry:
    """Start tracing inside a running event loop, or return tracing that is off.

    It is on if `otlp_endpoint` is given or an OTEL_EXPORTER_OTLP_* endpoint is in the environment, and
    neither OTEL_SDK_DISABLED=true nor OTEL_TRACES_EXPORTER=none says otherwise. An argument goes before the
    environment's endpoint.
    """
    endpoint = traces_endpoint(otlp_endpoint, environ)
    if endpoint is None:
        return Telemetry(NullTracer(), None, None)
    buffer = SpanBuffer()
    clock = Clock()
    exporter = Exporter(buffer, _exporter_environ(environ, service_name, endpoint), clock.correct)
    return Telemetry(Tracer(buffer.add, sample, clock), buffer, exporter)


def traces_endpoint(otlp_endpoint: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the full URL that spans are posted to, or None if tracing is off."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return None
    if otlp_endpoint:
        return _with_path(otlp_endpoint)
    if exact := environ.get(_TRACES_ENDPOINT, "").strip():
        return exact
    if base := environ.get(_ENDPOINT, "").strip():
        return _with_path(base)
    return None


def _with_path(base: str) -> str:
    base = base.rstrip("/")
    return base if base.endswith(TRACES_PATH) else base + TRACES_PATH


def _exporter_environ(environ: Mapping[str, str], service_name: str, endpoint: str) -> dict[str, str]:
    """Return the exporter's environment. Settings go this way because headers and URLs may hold secrets."""
    resource = environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    ours = ",".join(
        (
            f"{SERVICE_NAME}={service_name}",
            f"{SERVICE_VERSION}={__version__}",
            f"{SERVICE_INSTANCE_ID}={os.getpid()}",
        )
    )
    return {
        **environ,
        _TRACES_ENDPOINT: endpoint,
        # The user's own attributes come last: the last of two equal keys counts.
        "OTEL_RESOURCE_ATTRIBUTES": f"{ours},{resource}" if resource else ours,
    }
