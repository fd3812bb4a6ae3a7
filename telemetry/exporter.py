"""The exporter process: `python -m telemetry.exporter`, span frames on standard input, OTLP/HTTP out.

It is a process so that encoding and posting never hold the interpreter lock of one that answers requests. It
lives as long as its pipe: when the parent closes it, or dies in whatever way, the process exports what it
has, for at most `LAST_EXPORT_S`, and leaves. Settings come from the standard OTEL_* variables.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterable
from queue import Empty, Queue
from urllib.parse import urlsplit

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from telemetry.logs import configure_logs
from telemetry.otlp import readable
from telemetry.records import SpanRecord, read_frames

WAITING_BATCHES = 64
REQUEST_SPANS = 512
LAST_EXPORT_S = 4.0

_log = structlog.get_logger("telemetry.exporter")


class LastMessage(logging.Handler):
    """Keeps what the OTLP exporter last complained about, for our one line; it logs every failed batch."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


class Pump:
    """Posts batches one after the other; what does not fit or does not arrive is dropped and counted."""

    def __init__(
        self, exporter: SpanExporter, resource: Resource, where: str, complaint: LastMessage
    ) -> None:
        """`where` names the collector in logs."""
        self._exporter = exporter
        self._resource = resource
        self._where = where
        self._complaint = complaint
        # Bounded in `put`, not by the queue: the closing None must go in however full it is.
        self._batches: Queue[list[SpanRecord] | None] = Queue()
        self._failing = False
        self.dropped = 0

    def put(self, batch: list[SpanRecord]) -> None:
        """Take a batch, or drop it if the collector is too far behind."""
        if self._batches.qsize() < WAITING_BATCHES:
            self._batches.put(batch)
        else:
            self.dropped += len(batch)

    def run(self, batches: Iterable[list[SpanRecord]]) -> None:
        """Export `batches` until they end, then what is left for at most `LAST_EXPORT_S`."""
        worker = threading.Thread(target=self._work, daemon=True)
        worker.start()
        for batch in batches:
            self.put(batch)
        self._finish(worker)

    def _finish(self, worker: threading.Thread) -> None:
        closing = threading.Timer(LAST_EXPORT_S, self._exporter.shutdown)
        closing.daemon = True
        closing.start()
        self._batches.put(None)
        worker.join(LAST_EXPORT_S)
        closing.cancel()
        self.dropped += sum(len(batch) for batch in self._batches.queue if batch)
        if self.dropped:
            _log.warning("spans were not delivered", collector=self._where, spans=self.dropped)

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            end = False
            while len(batch) < REQUEST_SPANS:
                try:
                    more = self._batches.get_nowait()
                except Empty:
                    break
                if more is None:
                    end = True
                    break
                batch = batch + more
            self._export(batch)
            if end:
                return

    def _export(self, batch: list[SpanRecord]) -> None:
        try:
            spans = [readable(record, self._resource) for record in batch]
            delivered = self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception as error:  # one odd span must not end the thread that exports all others
            self._complaint.text = repr(error)
            delivered = False
        if delivered:
            if self._failing:
                self._failing = False
                _log.info("collector answers again", collector=self._where, spans_dropped=self.dropped)
            return
        self.dropped += len(batch)
        if not self._failing:
            self._failing = True
            _log.warning(
                "collector does not take spans; they are dropped until it does",
                collector=self._where,
                reason=self._complaint.text,
            )


def main() -> None:
    """Run until standard input closes."""
    # A Ctrl-C or a service manager's stop reaches the whole group. The parent decides when we are done: it
    # still has spans of the requests that it is finishing.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(10)
    configure_logs("info")
    complaint = LastMessage()
    theirs = logging.getLogger("opentelemetry")
    theirs.addHandler(complaint)
    theirs.propagate = False
    endpoint = urlsplit(os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
    # Only the host: an endpoint may carry credentials.
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
    )
    if protocol != "http/protobuf":
        _log.warning("only http/protobuf is spoken", configured=protocol)
    pump = Pump(OTLPSpanExporter(), Resource.create(), endpoint.hostname or "", complaint)
    pump.run(read_frames(sys.stdin.buffer))
    # Not a normal exit, which would wait for a post that hangs.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
