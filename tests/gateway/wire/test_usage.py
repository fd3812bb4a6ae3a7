from __future__ import annotations

import pytest

from gateway.errors import UpstreamBroke, UpstreamGarbage
from gateway.wire.sse import SseParser
from gateway.wire.usage import Outcome, Usage, UsageTap, read_reply
from tests.gateway.support.upstream import DONE, EVENTS, chunk, completion, usage_chunk


def through(stream: bytes, *, remove: bool) -> tuple[bytes, Outcome]:
    outcome = Outcome()
    tap = UsageTap(outcome, remove=remove)
    events = tap.feed(SseParser(1 << 20).feed(stream))
    return b"".join(event.raw for event in events + tap.finish()), outcome


def test_a_whole_answer_is_read() -> None:
    reply = read_reply(completion())
    assert reply.usage is not None and (reply.usage.input_tokens, reply.usage.output_tokens) == (10, 2)


def test_details_of_the_usage_are_read() -> None:
    body = b"""{"usage":{"prompt_tokens":9,"completion_tokens":5,
        "prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":3,"audio_tokens":0},
        "completion_tokens_details":{"reasoning_tokens":2}}}"""
    usage = read_reply(body).usage
    assert usage is not None
    assert (usage.cached_tokens, usage.cache_write_tokens, usage.reasoning_tokens) == (4, 3, 2)


def test_missing_details_count_as_zero() -> None:
    usage = read_reply(b'{"usage":{"prompt_tokens":3,"prompt_tokens_details":null}}').usage
    assert usage == Usage(prompt_tokens=3)
    assert (usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens) == (0, 0, 0)


def test_an_unknown_shape_is_not_our_business() -> None:
    assert read_reply(b'{"choices":"none","usage":7}').usage is None


def test_what_is_not_json_is_garbage() -> None:
    with pytest.raises(UpstreamGarbage):
        read_reply(b"<html>")


def test_a_stream_is_read_and_left_as_it_is() -> None:
    stream = b"".join(EVENTS) + usage_chunk() + DONE
    out, outcome = through(stream, remove=False)
    assert out == stream
    assert outcome.usage is not None and outcome.usage.output_tokens == 2
    assert outcome.finish_reasons == ["stop"]
    assert (outcome.id, outcome.model) == ("chatcmpl-1", "gpt-x-2026")


def test_usage_that_only_we_asked_for_leaves_no_trace() -> None:
    asked = b"".join(event.removesuffix(b"}\n\n") + b',"usage":null}\n\n' for event in EVENTS)
    out, outcome = through(asked + usage_chunk() + DONE, remove=True)
    assert out == b"".join(EVENTS) + DONE
    assert outcome.usage is not None


def test_usage_null_is_cut_out_wherever_it_stands() -> None:
    out, _ = through(b'data: {"usage": null , "choices":[{"finish_reason":"stop"}]}\r\n\r\n', remove=True)
    assert out == b'data: {"choices":[{"finish_reason":"stop"}]}\r\n\r\n'


def test_a_text_that_looks_like_usage_is_not_touched() -> None:
    stream = chunk({"content": ',"usage":null}', "usage": None}) + DONE
    assert through(stream, remove=True)[0] == stream


def test_usage_that_comes_with_a_choice_stays() -> None:
    stream = chunk({}, "stop", usage={"prompt_tokens": 1}) + DONE
    assert through(stream, remove=True)[0] == stream


def test_chunks_of_an_unknown_shape_stay() -> None:
    stream = b'data: {"usage":null,"choices":7}\n\n' + DONE
    assert through(stream, remove=True)[0] == stream


def test_comments_and_other_events_stay() -> None:
    stream = b": ping\n\nevent: ping\ndata: not json\n\n" + DONE
    assert through(stream, remove=True)[0] == stream


@pytest.mark.parametrize("end", [chunk({}, "length"), DONE, b'data: {"error":{"message":"no"}}\n\n'])
def test_a_stream_may_end_in_three_ways(end: bytes) -> None:
    through(EVENTS[0] + end, remove=False)


def test_a_stream_that_just_stops_was_cut() -> None:
    with pytest.raises(UpstreamBroke):
        through(EVENTS[0], remove=False)


@pytest.mark.parametrize(
    ("chunk", "tokens"),
    [
        (b'{"choices":[{"delta":{"role":"assistant","content":""}}]}', 0),
        (b'{"choices":[{"delta":{"content":"a"}}]}', 1),
        (b'{"choices":[{"delta":{"content":"four"}}]}', 1),
        (b'{"choices":[{"delta":{"content":"fives"}}]}', 2),
        ('{"choices":[{"delta":{"content":"🌊🌊"}}]}'.encode(), 2),
        (b'{"choices":[{"delta":{"reasoning_content":"hmm"}},{"delta":{"content":"b"}}]}', 2),
        (b'{"choices":[{"text":"four"}]}', 1),
        (b'{"choices":[{"message":{"role":"assistant","content":"eight by"}}]}', 2),
        (b'{"choices":[{"delta":{"tool_calls":[{"id":"call_1","function":{"arguments":"{}"}}]}}]}', 1),
        (b'{"choices":[{"delta":{}}]}', 0),
        (b'{"choices":[]}', 0),
        (b"{}", 0),
        (b'{"choices":[{"delta":5,"message":null}]}', 0),
    ],
)  # fmt: skip
def test_what_is_generated_is_counted_where_it_has_to_be(chunk: bytes, tokens: int) -> None:
    counted, uncounted = Outcome(), Outcome()
    counted.take(read_reply(chunk, count=True))
    uncounted.take(read_reply(chunk))
    assert (counted.counted, uncounted.counted) == (tokens, 0)
