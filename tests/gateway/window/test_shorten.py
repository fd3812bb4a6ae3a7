"""Any conversation that can be made to fit does, stays well formed, and keeps what must not change."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.compression.mode import Way
from gateway.window.base import CannotShorten, Means, Overlong, Progress, Strategy
from gateway.window.compressed import Compressed
from gateway.window.conversation import read_conversation
from gateway.window.density import size_of
from gateway.window.shorten import LEAST_TOKENS, Shortened, Shortening
from gateway.window.windows import Overlength
from gateway.wire.splice import Edit, splice

WORDS = st.sampled_from(
    ["mill", "brücke", "tower", "港", 'a "quoted" word', "line\nbreak", "🌊", "x1.50", "\\"]
)
SENTENCE = st.lists(WORDS, min_size=3, max_size=9).map(lambda words: " ".join(words).capitalize() + ".")
PARAGRAPH = st.lists(SENTENCE, min_size=2, max_size=6).map(" ".join)
DOCUMENT = st.tuples(st.lists(PARAGRAPH, min_size=1, max_size=6), st.integers(1, 6)).map(
    lambda drawn: "\n\n".join(drawn[0] * drawn[1])
)
QUESTION = SENTENCE.map(lambda sentence: f"What of {sentence.removesuffix('.')}?")


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Turns with documents, tools and marks, as clients send them."""
    messages: list[dict[str, Any]] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(PARAGRAPH)})
    for turn in range(draw(st.integers(1, 5))):
        content: Any = draw(QUESTION)
        if draw(st.booleans()):
            content = f"{draw(DOCUMENT)}\n\n{content}"
        if draw(st.booleans()):
            content = [{"type": "text", "text": content}]
            if draw(st.integers(0, 5)) == 0:
                content[0]["cache_control"] = {"type": "ephemeral"}
        messages.append({"role": "user", "content": content})
        for call in range(draw(st.integers(0, 3))):
            ids = [f"{turn}.{call}.{at}" for at in range(draw(st.integers(1, 2)))]
            calls = [
                {"id": id_, "type": "function", "function": {"name": "f", "arguments": '{"a": 1.0}'}}
                for id_ in ids
            ]
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
            messages += [{"role": "tool", "tool_call_id": id_, "content": draw(DOCUMENT)} for id_ in ids]
        messages.append({"role": "assistant", "content": draw(PARAGRAPH)})
    messages.append({"role": "user", "content": draw(QUESTION)})
    return messages


class Head:
    """Keeps the beginning, and refuses every third time."""

    name = "retrieve"

    def __init__(self, refuse: int = 0) -> None:
        self.asked = 0
        self.refuse = refuse

    async def shorten(self, overlong: Overlong, means: Means) -> str:
        self.asked += 1
        if self.refuse and self.asked % self.refuse == 0:
            raise CannotShorten("not this time")
        text = overlong.text
        while means.count(text) > overlong.budget:
            text = text[: int(len(text) * 0.9)]
        return text


async def no_rank(question: str, texts: Sequence[str]) -> list[float] | None:
    return None


async def no_answer(prompt: str, max_tokens: int) -> str:
    raise AssertionError("nothing is asked here")


def no_news(progress: Progress) -> None:
    raise AssertionError("there is nothing to tell")


def shorten(
    body: bytes, limit: int, strategies: Sequence[tuple[Way, Strategy]], density: float = 0.25
) -> tuple[Shortened, bytes]:
    """Make a body fit, and return it as the upstream would get it."""
    place = body.index(b'"messages": ') + len(b'"messages": ')
    conversation = read_conversation(body, place, len(body) - 1)
    # The upstream counts every byte of the body, by another measure than the estimate's.
    tokens = int(size_of(body)[0] * density)
    too_long = Overlength(tokens, limit + 10, 10, density, exact=True)

    async def recount(edits: Sequence[Edit]) -> int:
        return int(size_of(splice(body, list(edits)))[0] * density)

    means = Means(too_long.count, no_answer, no_rank, no_news)
    found = asyncio.run(Shortening(body, conversation, too_long, strategies, means, recount).run())
    return found, splice(body, list(found.edits))


def is_well_formed(messages: Sequence[dict[str, Any]]) -> bool:
    """Whether every call has its results right behind it, every result its call, and no two users meet."""
    waiting: set[str] = set()
    before = ""
    for message in messages:
        role = message["role"]
        if role == "tool":
            if message["tool_call_id"] not in waiting:
                return False
            waiting.remove(message["tool_call_id"])
        elif waiting or (role == "user" and before == "user"):
            return False
        waiting |= {call["id"] for call in message.get("tool_calls") or ()}
        before = role
    return not waiting and next(m["role"] for m in messages if m["role"] != "system") == "user"


@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(conversations(), st.floats(0.15, 0.9), st.booleans(), st.integers(0, 3), st.booleans())
def test_what_fits_is_well_formed_and_what_must_stay_has_stayed(
    messages: list[dict[str, Any]], share: float, compresses: bool, refuse: int, ascii_only: bool
) -> None:
    body = (
        b'{"temperature": 1.0, "messages": ' + json.dumps(messages, ensure_ascii=ascii_only).encode() + b"}"
    )
    limit = int(size_of(body)[0] * 0.25 * share)
    strategies: list[tuple[Way, Strategy]] = [("retrieve", Head(refuse))]
    if compresses:
        strategies.insert(0, ("compress", Compressed()))
    try:
        found, sent = shorten(body, limit, strategies)
    except CannotShorten:
        assert _is_hopeless(messages, body, limit, refuse)
        return
    assert found.tokens <= limit and size_of(sent)[0] * 0.25 <= limit + 1
    got = json.loads(sent)
    assert got["temperature"] == 1.0 and is_well_formed(got["messages"])
    assert got["messages"][-1]["content"].endswith(messages[-1]["content"])
    assert len(messages) - len(got["messages"]) == found.left_out
    kept = [message for message in messages if message["role"] in ("system", "assistant")]
    written = [json.dumps(message, ensure_ascii=ascii_only).encode() for message in kept]
    for message, own in zip(kept, written, strict=True):
        assert message["role"] != "system" or own in sent
    for message in got["messages"]:
        if message["role"] == "assistant":
            # To the byte as the client wrote it.
            assert json.dumps(message, ensure_ascii=ascii_only).encode() in written
    marks = [place for place, message in enumerate(messages) if "cache_control" in json.dumps(message)]
    covered = messages[: marks[-1] + 1] if marks else []
    prefix = json.dumps(covered, ensure_ascii=ascii_only).encode()[:-1]
    assert sent.startswith(b'{"temperature": 1.0, "messages": ' + prefix)


def _is_hopeless(messages: list[dict[str, Any]], body: bytes, limit: int, refuse: int) -> bool:
    """Whether what may not go is about as much as may stay."""
    if refuse == 1:
        return True
    start = body.index(b"[")
    conversation = read_conversation(body, start, len(body) - 1)
    droppable = set().union(*conversation.units)
    fixed = 0.0
    for place, (first, last) in enumerate(conversation.spans):
        if place in droppable:
            continue
        size = size_of(body[first:last])[0] * 0.25
        for piece in conversation.pieces:
            if piece.message == place:
                size -= max(0, len(piece.text.encode()) * 0.25 - min(LEAST_TOKENS, limit // 8))
        fixed += size
    return fixed > 0.85 * limit - 25


def test_the_largest_text_is_cut_and_the_others_are_not_touched() -> None:
    texts = [f"{word} {number}. " * 120 for number, word in enumerate(("Mill", "Tower", "Bridge"))]
    texts[1] *= 4
    messages: list[dict[str, Any]] = []
    for text in texts:
        messages += [
            {"role": "user", "content": f"{text}\n\nWhat is it?"},
            {"role": "assistant", "content": "x"},
        ]
    messages.append({"role": "user", "content": "And?"})
    body = b'{"messages": ' + json.dumps(messages).encode() + b"}"
    found, sent = shorten(body, int(len(body) * 0.25 * 0.7), [("retrieve", Head())])
    got = json.loads(sent)["messages"]
    assert [one == other for one, other in zip(messages, got, strict=True)] == [
        True,
        True,
        False,
        *[True] * 4,
    ]
    assert found.ways == ("retrieve",) and found.left_out == 0


def test_where_no_strategy_helps_old_turns_are_left_out() -> None:
    text = "Nobody knows. " * 200
    messages = [
        {"role": "user", "content": f"{text}\n\nWhat is it?"},
        {"role": "assistant", "content": "A mill."},
        {"role": "user", "content": "Who owned it?"},
    ]
    body = b'{"messages": ' + json.dumps(messages).encode() + b"}"
    found, sent = shorten(body, 300, [("retrieve", Head(refuse=1))])
    assert found.ways == ("turns",) and found.left_out == 2
    note = "[2 earlier messages of this conversation left out]\n\n"
    assert json.loads(sent)["messages"] == [{"role": "user", "content": f"{note}Who owned it?"}]


def test_turns_are_counted_once_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [{"role": "user", "content": "Who owned it?"}]
    for _ in range(300):
        turn = [{"role": "user", "content": f"{'Nobody knows. ' * 40}\n\nWhat is it?"}]
        messages = [*turn, {"role": "assistant", "content": "A mill."}, *messages]
    body = b'{"messages": ' + json.dumps(messages).encode() + b"}"
    counted, count = 0, Overlength.count

    def counting(self: Overlength, text: str) -> int:
        nonlocal counted
        counted += 1
        return count(self, text)

    monkeypatch.setattr(Overlength, "count", counting)
    found, _ = shorten(body, 300, [("retrieve", Head())])
    assert found.left_out > 500 and counted < 5_000


def test_it_says_what_was_tried() -> None:
    body = (
        b'{"messages": ' + json.dumps([{"role": "user", "content": "Nobody knows. " * 900}]).encode() + b"}"
    )
    with pytest.raises(CannotShorten, match=r"compress: it would have .*; retrieve: not this time"):
        shorten(body, 300, [("compress", Compressed(most=2)), ("retrieve", Head(refuse=1))])
