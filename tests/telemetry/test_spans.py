"""What spans hold, when they are recorded, and that they cost nothing when they are not."""

from __future__ import annotations

import pytest

from telemetry.context import TraceContext, parse
from telemetry.spans import MAX_EVENTS, MAX_LINKS, NOOP_SPAN, Kind, NullTracer, RecordedSpan, Span, Tracer

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = TraceContext(TRACE, "00f067aa0ba902b7", 1, "vendor=a")


class Sink(list[RecordedSpan]):
    """Collects ended spans."""


@pytest.fixture
def ended() -> Sink:
    return Sink()


@pytest.fixture
def tracer(ended: Sink) -> Tracer:
    return Tracer(ended.append)


def test_a_root_span_starts_a_sampled_trace(tracer: Tracer, ended: Sink) -> None:
    span = tracer.start("root", kind=Kind.SERVER)
    assert span.recording
    assert span.context.sampled
    assert parse(span.context.traceparent(), None) == span.context
    span.end()
    assert ended == [span]
    assert ended[0].parent is None
    assert ended[0].end_ns >= ended[0].start_ns


def test_a_child_shares_the_trace_and_points_to_its_parent(tracer: Tracer, ended: Sink) -> None:
    parent = tracer.start("parent")
    child = tracer.start("child", parent=parent)
    child.end()
    assert child.context.trace_id == parent.context.trace_id
    assert child.context.span_id != parent.context.span_id
    assert ended[0].parent == parent.context
    assert not ended[0].parent_is_remote


def test_a_callers_trace_is_continued_with_its_state_and_flags(tracer: Tracer, ended: Sink) -> None:
    caller = TraceContext(TRACE, "00f067aa0ba902b7", 3, "vendor=a")
    span = tracer.start("server", kind=Kind.SERVER, parent=caller)
    span.end()
    assert span.context.trace_id == TRACE
    assert span.context.flags == 3
    assert span.context.headers()["tracestate"] == "vendor=a"
    assert ended[0].parent == caller
    assert ended[0].parent_is_remote


def test_only_the_first_end_counts_and_fixes_the_span(tracer: Tracer, ended: Sink) -> None:
    span = tracer.start("once", start_ns=100)
    span.set("a", 1)
    span.end(200)
    span.end(300)
    span.set("a", 2)
    span.update({"b": 1})
    span.event("late")
    span.link(CALLER)
    span.fail("late")
    assert len(ended) == 1
    record = ended[0]
    assert (record.end_ns, record.attributes, record.events, record.links, record.error) == (
        (200, {"a": 1}, None, None, None)
    )


def test_a_span_never_ends_before_it_starts(tracer: Tracer, ended: Sink) -> None:
    tracer.start("backwards", start_ns=500).end(400)
    assert ended[0].end_ns == 500


def test_failing_sets_status_and_error_type(tracer: Tracer, ended: Sink) -> None:
    span = tracer.start("broken")
    span.fail("client_disconnect")
    span.end()
    assert ended[0].error == ""
    assert ended[0].attributes == {"error.type": "client_disconnect"}


def test_events_and_links_are_kept_and_bounded(tracer: Tracer, ended: Sink) -> None:
    span = tracer.start("busy")
    for number in range(MAX_EVENTS + 5):
        span.event("tick", {"number": number})
    for _ in range(MAX_LINKS + 5):
        span.link(CALLER)
    span.link(NOOP_SPAN.context)
    span.end()
    assert ended[0].events is not None
    assert [attributes["number"] for _, _, attributes in ended[0].events] == list(range(MAX_EVENTS))
    assert ended[0].links == [CALLER] * MAX_LINKS


def test_a_phase_is_recorded_after_the_fact(tracer: Tracer, ended: Sink) -> None:
    request = tracer.start("request", start_ns=1000)
    phase = tracer.record("prefill", parent=request, start_ns=1100, end_ns=1200, attributes={"tokens": 7})
    assert ended == [phase]
    assert (ended[0].start_ns, ended[0].end_ns, ended[0].attributes) == (1100, 1200, {"tokens": 7})
    assert ended[0].parent == request.context


def test_an_unsampled_caller_records_nothing_and_its_context_goes_on_as_it_came(
    tracer: Tracer, ended: Sink
) -> None:
    caller = TraceContext(TRACE, "00f067aa0ba902b7", 2, "vendor=a")
    span = tracer.start("server", parent=caller)
    assert not span.recording
    assert span.context is caller
    use_everything(tracer, span)
    assert ended == []


def test_an_unsampled_trace_of_ours_has_one_context_with_flags_00(ended: Sink) -> None:
    tracer = Tracer(ended.append, sample=0.0)
    span = tracer.start("server")
    assert not span.recording
    assert span.context.valid
    assert span.context.traceparent().endswith("-00")
    assert tracer.start("child", parent=span) is span
    use_everything(tracer, span)
    assert ended == []


def test_phases_under_an_unsampled_span_leave_it_alone(ended: Sink) -> None:
    tracer = Tracer(ended.append, sample=0.0)
    span = tracer.start("server")
    assert tracer.record("queue", parent=span, start_ns=1, end_ns=2, attributes={"a": 1}) is span
    assert ended == []


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_trace_id_decides_what_share_is_sampled(ended: Sink, share: float) -> None:
    tracer = Tracer(ended.append, sample=share)
    spans = [tracer.start("root") for _ in range(4000)]
    assert sum(span.recording for span in spans) / 4000 == pytest.approx(share, abs=0.05)
    again = [int(span.context.trace_id[18:], 16) < share * 2**56 for span in spans]
    assert again == [span.recording for span in spans]


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_zero_to_one_is_refused(ended: Sink, share: float) -> None:
    with pytest.raises(ValueError, match="sample"):
        Tracer(ended.append, sample=share)


def test_off_means_one_shared_span_for_every_call() -> None:
    tracer = NullTracer()
    assert not tracer.enabled
    span = tracer.start("anything", kind=Kind.SERVER, parent=CALLER)
    assert span is NOOP_SPAN
    assert tracer.start("child", parent=span) is NOOP_SPAN
    assert tracer.record("phase", parent=span, start_ns=1, end_ns=2, attributes={"a": 1}) is NOOP_SPAN
    assert not span.recording
    assert not span.context.valid
    use_everything(tracer, span)


def use_everything(tracer: Tracer, span: Span) -> None:
    before = span.context
    span.set("key", "value")
    span.update({"key": "value"})
    span.event("event", {"key": "value"})
    span.link(CALLER)
    span.fail("failed", "why")
    span.end()
    span.end(1)
    tracer.start("child", parent=span).end()
    assert span.context is before
    assert not hasattr(span, "__dict__")
