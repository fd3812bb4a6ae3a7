"""Spans reach a collector through the exporter process, and nothing waits for it if they do not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import psutil
import pytest

from telemetry import export
from telemetry.context import TraceContext
from telemetry.export import Exporter, SpanBuffer
from telemetry.records import frame
from telemetry.setup import Telemetry, start_telemetry
from telemetry.spans import Kind, RecordedSpan, Tracer
from tests.support.otlp_receiver import OtlpReceiver

CALLER = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 3, "vendor=a,other=b")
# The exporter starts at low priority, which takes long on a busy machine.
PATIENCE_S = 60.0
PLAIN_ENVIRON = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}


@pytest.fixture
async def collector() -> AsyncIterator[OtlpReceiver]:
    async with OtlpReceiver() as receiver:
        yield receiver


def start(collector: OtlpReceiver, **environ: str) -> Telemetry:
    return start_telemetry("forebay-test", collector.url, environ=PLAIN_ENVIRON | environ)


def exporter_of(telemetry: Telemetry) -> psutil.Process:
    return next(
        child for child in psutil.Process().children() if "telemetry.exporter" in " ".join(child.cmdline())
    )


def spans(count: int) -> list[RecordedSpan]:
    made: list[RecordedSpan] = []
    tracer = Tracer(made.append)
    for number in range(count):
        tracer.start(f"span {number}").end()
    return made


async def test_a_whole_trace_arrives_as_it_was_made(collector: OtlpReceiver) -> None:
    telemetry = start(collector)
    tracer = telemetry.tracer
    server = tracer.start("POST /v1/chat/completions", kind=Kind.SERVER, parent=CALLER)
    server.update({"http.route": "/v1/chat/completions", "forebay.cost.usd": 0.25, "reasons": ["stop"]})
    chat = tracer.start("chat smollm2", kind=Kind.CLIENT, parent=server)
    chat.event("retry", {"attempt": 2})
    chat.link(TraceContext("a" * 32, "b" * 16, 1))
    chat.fail("client_disconnect", "the client left")
    start_ns = tracer.clock.now()
    tracer.record("queue", parent=server, start_ns=start_ns, end_ns=start_ns + 5, attributes={"n": 1})
    chat.end()
    server.end()
    # No close yet: the flusher sends on its own.
    trace = await collector.wait_for_trace(CALLER.trace_id, {"POST /v1/chat/completions", "chat smollm2"})
    assert trace.tree() == ["POST /v1/chat/completions", "  chat smollm2", "  queue"]
    seen = trace.find("POST /v1/chat/completions")
    assert (seen.kind, seen.service, seen.parent_id) == ("server", "forebay-test", CALLER.span_id)
    assert (seen.span_id, seen.state, seen.failed) == (server.context.span_id, CALLER.state, False)
    assert seen.attributes == {
        "http.route": "/v1/chat/completions",
        "forebay.cost.usd": 0.25,
        "reasons": ["stop"],
    }
    assert abs(seen.start_ns - time.time_ns()) < 60 * 10**9
    call = trace.find("chat smollm2")
    assert (call.kind, call.failed, call.message) == ("client", True, "the client left")
    assert call.attributes == {"error.type": "client_disconnect"}
    assert call.events == [("retry", {"attempt": 2})]
    assert call.links == [("a" * 32, "b" * 16)]
    queue = trace.find("queue")
    assert queue.end_ns - queue.start_ns == 5
    await telemetry.close(PATIENCE_S)
    assert telemetry.dropped() == 0


async def test_closing_delivers_what_is_left_and_ends_the_process(collector: OtlpReceiver) -> None:
    telemetry = start(collector)
    exporter = exporter_of(telemetry)
    made = [telemetry.tracer.start(f"span {number}") for number in range(1000)]
    for span in made:
        span.end()
    await telemetry.close(PATIENCE_S)
    assert {span.context.trace_id for span in made} == set(collector.traces)
    assert not exporter.is_running()
    await telemetry.close(PATIENCE_S)


async def test_standard_variables_reach_the_exporter(collector: OtlpReceiver) -> None:
    telemetry = start(
        collector,
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Basic%20abc,x-project=p",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        OTEL_SERVICE_NAME="renamed",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://127.0.0.1:9/v1/traces",
    )
    telemetry.tracer.start("span").end()
    await telemetry.close(PATIENCE_S)
    assert collector.headers[0]["authorization"] == "Basic abc"
    assert collector.headers[0]["x-project"] == "p"
    assert collector.resources[0]["service.name"] == "renamed"
    assert collector.resources[0]["deployment.environment.name"] == "test"
    assert collector.resources[0]["service.instance.id"] == str(os.getpid())


async def test_a_collector_that_is_down_costs_spans_and_one_log_line(
    collector: OtlpReceiver, capfd: pytest.CaptureFixture[str]
) -> None:
    collector.status = 400
    telemetry = start(collector)
    for wanted in (1, 2, 3):
        telemetry.tracer.start("lost").end()
        await collector.wait_for(lambda wanted=wanted: collector.posts >= wanted)
    collector.status = 200
    span = telemetry.tracer.start("found")
    span.end()
    await collector.wait_for_trace(span.context.trace_id, {"found"})
    await telemetry.close(PATIENCE_S)
    log = capfd.readouterr().err
    assert log.count("collector does not take spans") == 1
    assert log.count("collector answers again") == 1
    assert '"spans_dropped": 3' in log
    assert "Traceback" not in log


async def test_a_collector_that_hangs_does_not_hold_up_closing(collector: OtlpReceiver) -> None:
    collector.hold = asyncio.Event()
    telemetry = start(collector)
    exporter = exporter_of(telemetry)
    telemetry.tracer.start("stuck").end()
    async with asyncio.timeout(20):
        await telemetry.close(timeout_s=1.0)
    assert not exporter.is_running()


async def test_an_exporter_that_dies_is_replaced(
    collector: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "RESTART_AFTER_S", 0.0)
    telemetry = start(collector)
    loop, replaced, spawn = asyncio.get_running_loop(), asyncio.Event(), Exporter._spawn

    def spawn_and_tell(self: Exporter) -> subprocess.Popen[bytes]:
        loop.call_soon_threadsafe(replaced.set)
        return spawn(self)

    monkeypatch.setattr(Exporter, "_spawn", spawn_and_tell)
    first = exporter_of(telemetry)
    first.kill()
    await asyncio.to_thread(os.waitid, os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    telemetry.tracer.start("in the broken pipe").end()
    await replaced.wait()
    span = telemetry.tracer.start("after")
    span.end()
    await collector.wait_for_trace(span.context.trace_id, {"after"})
    await telemetry.close(PATIENCE_S)
    assert telemetry.dropped() == 1


async def test_what_cannot_be_packed_is_left_out_and_its_neighbours_arrive(collector: OtlpReceiver) -> None:
    telemetry = start(collector)
    for value in ("lone surrogate \ud800", 1 << 80, "fine"):
        span = telemetry.tracer.start("odd")
        span.set("value", value)
        span.end()
    await telemetry.close(PATIENCE_S)
    assert [trace.spans[0].attributes for trace in collector.traces.values()] == [{"value": "fine"}]
    assert telemetry.dropped() == 2


async def test_another_protocol_is_named_and_not_silently_ignored(
    collector: OtlpReceiver, capfd: pytest.CaptureFixture[str]
) -> None:
    telemetry = start(collector, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    telemetry.tracer.start("span").end()
    await telemetry.close(PATIENCE_S)
    assert len(collector.traces) == 1
    assert '"configured": "grpc"' in capfd.readouterr().err


@pytest.mark.parametrize(
    ("value", "arrives"), [(1 << 63, str(1 << 63)), (-(1 << 63), -(1 << 63)), (float("inf"), float("inf"))]
)
async def test_numbers_that_otlp_has_no_room_for_become_text(
    collector: OtlpReceiver, value: float, arrives: object
) -> None:
    telemetry = start(collector)
    span = telemetry.tracer.start("number")
    span.set("value", value)
    span.end()
    await telemetry.close(PATIENCE_S)
    assert collector.traces[span.context.trace_id].spans[0].attributes == {"value": arrives}


async def test_a_value_of_a_wrong_type_costs_itself_alone(collector: OtlpReceiver) -> None:
    telemetry = start(collector)
    span = telemetry.tracer.start("typed wrongly")
    span.update({"none": None, "nested": {"a": {}}, "mixed": [1, "a"], "fine": 1})  # type: ignore[dict-item]
    span.end()
    await telemetry.close(PATIENCE_S)
    assert collector.traces[span.context.trace_id].spans[0].attributes["fine"] == 1


async def test_long_and_many_attributes_are_cut_before_they_are_sent(collector: OtlpReceiver) -> None:
    telemetry = start(collector)
    span = telemetry.tracer.start("n" * 5000)
    span.update({f"key {number}": "x" * 50_000 for number in range(150)})
    span.end()
    await telemetry.close(PATIENCE_S)
    seen = collector.traces[span.context.trace_id].spans[0]
    assert len(seen.name) == 256
    assert len(seen.attributes) == 128
    assert {len(value) for value in seen.attributes.values()} == {4096}


async def test_the_exporter_ignores_signals_and_leaves_when_its_pipe_closes(collector: OtlpReceiver) -> None:
    environ = PLAIN_ENVIRON | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces"}
    exporter = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "telemetry.exporter", stdin=subprocess.PIPE, env=environ
    )
    assert exporter.stdin is not None
    first, last = spans(1), spans(1)
    exporter.stdin.write(frame(first)[0])
    await collector.wait_for_trace(first[0].context.trace_id, {"span 0"})
    exporter.send_signal(signal.SIGINT)
    exporter.send_signal(signal.SIGTERM)
    exporter.stdin.write(frame(last)[0] + b"\0\0\1\0 a frame that was cut off")
    exporter.stdin.close()
    assert await exporter.wait() == 0
    assert last[0].context.trace_id in collector.traces


async def test_the_exporter_does_not_outlive_a_parent_that_is_killed(collector: OtlpReceiver) -> None:
    program = (
        "import asyncio, sys\n"
        "from telemetry.setup import start_telemetry\n"
        "async def main():\n"
        "    telemetry = start_telemetry('parent', sys.argv[1])\n"
        "    print(telemetry._exporter._process.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, collector.url, stdout=subprocess.PIPE, env=PLAIN_ENVIRON
    )
    assert parent.stdout is not None
    exporter = psutil.Process(int(await parent.stdout.readline()))
    parent.kill()
    await parent.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, [exporter], 20)
    assert not alive


def test_a_full_buffer_drops_and_counts() -> None:
    buffer = SpanBuffer(capacity=3)
    made = spans(5)
    for span in made:
        buffer.add(span)
    assert buffer.dropped == 2
    assert buffer.take(2) == made[:2]
    assert buffer.take(10) == made[2:3]
    assert buffer.take(10) == []
