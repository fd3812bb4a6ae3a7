"""Whatever way an answer came in and goes out, its content is the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_cache.admission import Verdict, judge_body, judge_stream
from semantic_cache.assemble import DONE, Recording
from semantic_cache.embeddings import join_embeddings, split_embeddings
from semantic_cache.entry import Entry
from semantic_cache.errors import NotReplayable
from semantic_cache.replay import can_serve, replay_body, replay_events
from tests.semantic_cache.support.answers import USAGE, chat, chunk, completion, stream

NOW = 1_800_000_000.5
LOGPROBS = {
    "content": [{"token": "a", "logprob": -0.31725305, "bytes": [97], "top_logprobs": []}],
    "refusal": None,
}


def kept(verdict: Verdict, endpoint: str = "chat") -> Entry:
    assert verdict.stored, verdict.reason
    times = {"created_at": 1.0, "expires_at": 2.0, "stale_until": 2.0}
    return Entry(endpoint=endpoint, model="m", answer=verdict.answer, has_usage=verdict.has_usage, **times)


def from_body(body: bytes, endpoint: str = "chat") -> Entry:
    return kept(judge_body(endpoint, 200, body), endpoint)


def from_stream(*chunks: bytes, endpoint: str = "chat") -> Entry:
    recording = Recording(1 << 20)
    for data in (*chunks, DONE):
        recording.feed(data)
    return kept(judge_stream(endpoint, 200, recording), endpoint)


def added_up(events: list[bytes]) -> dict[str, str]:
    """Return what a client of a stream ends up with, by member of the message."""
    assert events[-1] == DONE
    said: dict[str, str] = {}
    for data in events[:-1]:
        for choice in json.loads(data)["choices"]:
            for name, text in choice.get("delta", {}).items():
                said[name] = said.get(name, "") + (text or "")
    return said


@given(st.lists(st.text(), min_size=1, max_size=5).filter(any), st.booleans(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_content_survives_every_way_in_and_out(pieces: list[str], as_stream: bool, ascii_only: bool) -> None:
    text = "".join(pieces)
    if as_stream:
        entry = from_stream(*stream(*pieces))
    else:
        entry = from_body(json.dumps(json.loads(chat(text)), ensure_ascii=ascii_only).encode())
    assert json.loads(replay_body(entry, NOW))["choices"][0]["message"]["content"] == text
    assert added_up(replay_events(entry, NOW, usage_wanted=False))["content"] == text


def test_long_content_comes_in_pieces_that_line_readers_can_take() -> None:
    text = "\u0001é" * 20_000
    events = replay_events(from_body(chat(text)), NOW, usage_wanted=False)
    assert max(map(len, events)) < 64 * 1024
    assert added_up(events)["content"] == text


def test_the_body_is_the_stored_one_with_a_fresh_id() -> None:
    entry = from_body(chat("x"))
    one, other = (json.loads(replay_body(entry, NOW)) for _ in range(2))
    assert one["id"].startswith("chatcmpl-") and one["id"] != other["id"]
    assert one["created"] == 1_800_000_000
    for member in ("id", "created"):
        del one[member]
    assert one == json.loads(entry.answer)


def test_a_stream_looks_like_openais() -> None:
    events = [json.loads(data) for data in replay_events(from_body(chat("Hi")), NOW, usage_wanted=False)[:-1]]
    assert {
        (event["id"], event["object"], event["created"], event["model"], event["system_fingerprint"])
        for event in events
    } == {(events[0]["id"], "chat.completion.chunk", 1_800_000_000, "gpt-4o-2024-08-06", "fp_1")}
    assert [event["choices"][0]["delta"] for event in events] == [
        {"role": "assistant", "content": ""},
        {"content": "Hi"},
        {},
    ]
    assert [event["choices"][0]["finish_reason"] for event in events] == [None, None, "stop"]
    assert all("usage" not in event for event in events)


def test_token_counts_come_only_if_wanted() -> None:
    *events, done = replay_events(from_body(chat("Hi")), NOW, usage_wanted=True)
    *chunks, last = map(json.loads, events)
    assert done == DONE
    assert (last["choices"], last["usage"]) == ([], USAGE)
    assert all(chunk["usage"] is None for chunk in chunks)


def test_an_entry_without_token_counts_serves_only_who_needs_none() -> None:
    entry = from_stream(*stream("x", usage=False))
    assert can_serve(entry, stream=True, usage_wanted=False)
    assert not can_serve(entry, stream=True, usage_wanted=True)
    assert not can_serve(entry, stream=False, usage_wanted=False)
    assert can_serve(from_stream(*stream("x")), stream=False, usage_wanted=False)


@pytest.mark.parametrize("as_stream", [True, False])
def test_reasoning_and_refusal_are_kept(as_stream: bool) -> None:
    said = {"reasoning_content": "hm", "refusal": "no", "content": "yes"}
    if as_stream:
        entry = from_stream(*(chunk({name: text}) for name, text in said.items()), chunk(finish="stop"))
    else:
        entry = from_body(chat("yes", message={"reasoning_content": "hm", "refusal": "no"}))
    message = json.loads(replay_body(entry, NOW))["choices"][0]["message"]
    assert {name: message[name] for name in said} == said
    events = added_up(replay_events(entry, NOW, usage_wanted=False))
    assert events == {"role": "assistant", **said}


@pytest.mark.parametrize("as_stream", [True, False])
def test_log_probabilities_are_kept(as_stream: bool) -> None:
    choice: dict[str, Any] = {"index": 0, "finish_reason": None, "logprobs": LOGPROBS}
    if as_stream:
        piece = {**choice, "delta": {"content": "a"}}
        entry = from_stream(chunk(choices=[piece]), chunk(choices=[piece]), chunk(finish="stop"))
        expected = {"content": LOGPROBS["content"] * 2, "refusal": None}  # type: ignore[operator]
    else:
        message = {"role": "assistant", "content": "a"}
        entry = from_body(chat(choices=[{**choice, "message": message, "finish_reason": "stop"}]))
        expected = LOGPROBS
    assert json.loads(replay_body(entry, NOW))["choices"][0]["logprobs"] == expected
    events = [json.loads(data) for data in replay_events(entry, NOW, usage_wanted=False)[:-1]]
    assert [e["choices"][0]["logprobs"] for e in events if e["choices"][0]["logprobs"]] == [expected]


@pytest.mark.parametrize("as_stream", [True, False])
def test_what_servers_add_to_a_choice_is_kept(as_stream: bool) -> None:
    if as_stream:
        last = {"index": 0, "delta": {}, "finish_reason": "stop", "matched_stop": 2}
        entry = from_stream(chunk({"content": "x"}), chunk(choices=[last]))
    else:
        whole = json.loads(chat("x"))
        whole["choices"][0]["matched_stop"] = 2
        entry = from_body(json.dumps(whole).encode())
    assert json.loads(replay_body(entry, NOW))["choices"][0]["matched_stop"] == 2
    last_event = json.loads(replay_events(entry, NOW, usage_wanted=False)[-2])
    assert last_event["choices"][0]["matched_stop"] == 2


def test_completions_are_replayed_in_their_own_form() -> None:
    whole = from_body(completion("Hi"), "completions")
    events = [json.loads(data) for data in replay_events(whole, NOW, usage_wanted=False)[:-1]]
    assert [e["choices"][0]["text"] for e in events] == ["Hi", ""]
    assert {e["object"] for e in events} == {"text_completion"}
    assert events[0]["id"].startswith("cmpl-")
    streamed = from_stream(*(json.dumps(e).encode() for e in events), endpoint="completions")
    assert json.loads(streamed.answer)["choices"] == json.loads(whole.answer)["choices"]


def embeddings(*vectors: Any, usage: Any = None, order: Any = None) -> bytes:
    data = [{"object": "embedding", "index": n, "embedding": v} for n, v in enumerate(vectors)]
    if order:
        data = [data[place] for place in order]
    return json.dumps({"object": "list", "data": data, "model": "e", "usage": usage}).encode()


def test_embeddings_are_cut_by_item_and_joined_again() -> None:
    usage = {"prompt_tokens": 10, "total_tokens": 10}
    body = embeddings([0.1, 2.0], "AAAA", [3.5e-9], usage=usage, order=[2, 0, 1])
    parts = split_embeddings(body, [1, 1, 2])
    whole = json.loads(join_embeddings(parts))
    assert whole == json.loads(embeddings([0.1, 2.0], "AAAA", [3.5e-9], usage=usage))
    picked = json.loads(join_embeddings([parts[2], parts[0]]))
    assert [item["embedding"] for item in picked["data"]] == [[3.5e-9], [0.1, 2.0]]
    assert [item["index"] for item in picked["data"]] == [0, 1]


def test_vectors_keep_their_own_bytes() -> None:
    body = b'{"data":[{"index":0,"embedding":[ 1.50, 2e-5 ]}],"model":"e"}'
    assert b"[ 1.50, 2e-5 ]" in join_embeddings(split_embeddings(body, [1]))


@given(st.integers(0, 1000), st.lists(st.integers(0, 50), min_size=1, max_size=6))
def test_shared_out_tokens_add_up(total: int, weights: list[int]) -> None:
    body = embeddings(*([[1.0]] * len(weights)), usage={"prompt_tokens": total, "total_tokens": total})
    joined = json.loads(join_embeddings(split_embeddings(body, weights)))
    if sum(weights):
        assert joined["usage"]["prompt_tokens"] == total


def test_embeddings_without_token_counts_stay_so() -> None:
    assert "usage" not in json.loads(join_embeddings(split_embeddings(embeddings([1.0]), [1])))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (embeddings([1.0]), "incomplete"),
        (embeddings([1.0], [1.0], [1.0]), "incomplete"),
        (embeddings([1.0], []), "empty"),
        (embeddings([1.0], None), "empty"),
        (b'{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[2]}],"model":"e"}', "incomplete"),
        (b'{"error":{}}', "malformed"),
        (b"{", "malformed"),
    ],
)
def test_embeddings_that_are_not_all_there_are_refused(body: bytes, reason: str) -> None:
    with pytest.raises(NotReplayable) as refused:
        split_embeddings(body, [1, 1])
    assert refused.value.reason == reason
