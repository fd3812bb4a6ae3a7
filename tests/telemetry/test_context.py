"""W3C trace context: what is continued, what is refused, what is passed on."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.context import (
    INVALID,
    MAX_TRACESTATE_CHARS,
    MAX_TRACESTATE_MEMBERS,
    TraceContext,
    new_span_id,
    new_trace_id,
    parse,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def test_a_valid_header_is_read_and_written_back_unchanged() -> None:
    context = parse(f"00-{TRACE}-{SPAN}-01", "vendor=a,other=b")
    assert context == TraceContext(TRACE, SPAN, 1, "vendor=a,other=b")
    assert context.sampled
    assert context.headers() == {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=a,other=b"}


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",  # the one version that can never exist
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",  # only later versions may have more
        f"00-{TRACE}-{SPAN}-01\n",
        f"0g-{TRACE}-{SPAN}-01",
    ],
)
def test_what_is_not_a_traceparent_starts_a_new_trace(header: str | None) -> None:
    assert parse(header, "vendor=a") is None


@pytest.mark.parametrize("header", [f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-will-come"])
def test_an_unknown_version_is_read_as_far_as_it_is_known(header: str) -> None:
    context = parse(header, None)
    assert context is not None
    assert context.traceparent() == f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("flags", "sampled", "passed_on"),
    [("00", False, "00"), ("01", True, "01"), ("02", False, "02"), ("03", True, "03"), ("ff", True, "03")],
)
def test_flags_are_bits_and_only_known_ones_are_passed_on(flags: str, sampled: bool, passed_on: str) -> None:
    context = parse(f"00-{TRACE}-{SPAN}-{flags}", None)
    assert context is not None
    assert context.sampled is sampled
    assert context.traceparent().endswith(f"-{passed_on}")


@pytest.mark.parametrize("state", ["no-equals-sign", "ключ=значение", "a=b\r\nx-injected: 1", ""])
def test_a_broken_tracestate_is_dropped_without_losing_the_trace(state: str) -> None:
    context = parse(f"00-{TRACE}-{SPAN}-01", state)
    assert context is not None
    assert "tracestate" not in context.headers()


@given(st.lists(st.text("abc=1 ", max_size=80), max_size=100))
def test_a_tracestate_is_bounded_and_keeps_whole_leading_members(members: list[str]) -> None:
    context = parse(f"00-{TRACE}-{SPAN}-01", ",".join(members))
    assert context is not None
    kept = context.state.split(",") if context.state else []
    valid = [member.strip() for member in members if "=" in member]
    assert len(context.state) <= MAX_TRACESTATE_CHARS
    assert len(kept) <= MAX_TRACESTATE_MEMBERS
    assert kept == valid[: len(kept)]


def test_one_oversized_member_leaves_nothing() -> None:
    context = parse(f"00-{TRACE}-{SPAN}-01", "a=" + "x" * 600)
    assert context is not None
    assert context.state == ""


def test_the_context_of_a_tracer_that_is_off_is_sent_to_nobody() -> None:
    assert not INVALID.valid
    assert INVALID.headers() == {}


def test_ids_have_the_right_form_and_do_not_repeat() -> None:
    traces, spans = {new_trace_id() for _ in range(2000)}, {new_span_id() for _ in range(2000)}
    assert len(traces) == len(spans) == 2000
    assert all(parse(f"00-{trace}-{SPAN}-01", None) for trace in traces)
    assert all(parse(f"00-{TRACE}-{span}-01", None) for span in spans)


def test_forked_workers_do_not_share_ids() -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        child = {pool.submit(new_trace_id).result() for _ in range(20)}
    assert child.isdisjoint(new_trace_id() for _ in range(20))
