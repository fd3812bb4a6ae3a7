"""Which questions and answers the semantic tier has to do with; nothing falls between scope and text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_cache.question import Question, read_question
from semantic_cache.scope import ExactKey, Scope
from semantic_cache.semantic.question import (
    Rules,
    answer_text,
    declines,
    is_time_bound,
    refuse_answer,
    refuse_question,
    text_of,
)
from tests.semantic_cache.support.answers import chat


def question(*messages: Any, **more: Any) -> Question:
    return read_question("chat", json.dumps({"model": "m", "messages": list(messages), **more}).encode())


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
CONTENT = st.one_of(
    st.text(max_size=8),
    st.lists(
        st.fixed_dictionaries({"type": st.just("text"), "text": st.text(max_size=8)})
        | st.dictionaries(st.sampled_from(["type", "text", "cache_control"]), JSON, max_size=3),
        max_size=2,
    ),
    JSON,
)
MESSAGE = st.builds(
    lambda role, content, more: {**more, "role": role, "content": content},
    st.sampled_from(["user", "assistant", "system", "tool"]),
    CONTENT,
    st.dictionaries(st.sampled_from(["name", "weight", "tool_call_id"]), JSON, max_size=1),
)


@given(MESSAGE, MESSAGE)
def test_two_last_messages_of_one_text_are_one_question(one: dict[str, Any], other: dict[str, Any]) -> None:
    texts = [text_of(question(message)) for message in (one, other)]
    for message, text in zip((one, other), texts, strict=True):
        if text is not None:
            # Nothing else is in it: role, text and form say everything.
            assert message.keys() == {"role", "content"} and message["role"] == "user"
            assert message["content"] in (text, [{"type": "text", "text": text}])


@given(st.lists(MESSAGE, max_size=3), st.dictionaries(st.text(min_size=1, max_size=6), JSON, max_size=3))
def test_all_but_the_text_is_in_the_scope(history: list[dict[str, Any]], more: dict[str, Any]) -> None:
    more = {
        name: value
        for name, value in more.items()
        if name not in ("model", "messages", "stream", "stream_options", "cache", "n", "store")
    }
    plain, full = question(user("a")), question(*history, user("a"), **more)
    scopes = [Scope.of(of, tenant="t", route="r").digest for of in (plain, full)]
    assert (scopes[0] == scopes[1]) == (not history and not more)
    other = question(*history, user("b"), **more)
    assert Scope.of(other, tenant="t", route="r").digest == scopes[1]
    assert Scope.of(full, tenant="u", route="r").digest != scopes[1]
    key, its = (ExactKey.of(Scope.of(of, tenant="t", route="r"), of) for of in (full, other))
    assert key != its


@pytest.mark.parametrize(
    "message",
    [
        user("Hi", name="eve"),
        user([]),
        user("  \n"),
        user(None),
        user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
        user([{"type": "text", "text": "a", "cache_control": {}}]),
        {"role": "assistant", "content": "Hi"},
        {"role": "tool", "content": "Hi", "tool_call_id": "x"},
    ],
)
def test_only_a_plain_user_turn_has_a_text(message: dict[str, Any]) -> None:
    assert text_of(question(message)) is None
    assert refuse_question(question(message), None, Rules(True, True, True)) == "not_text"


def test_other_endpoints_have_none() -> None:
    assert text_of(read_question("completions", b'{"model": "m", "prompt": "Hi"}')) is None


@pytest.mark.parametrize(
    "text",
    [
        "What's the latest version of the compiler?",
        "How much does a ticket cost?",
        "Who is the current mayor?",
        "What is the weather in Basel?",
        "Which films come out this week?",
        "What's the time now?",
        "Wie spät ist es jetzt?",
        "Quel est le prix du pain ?",
        "¿Qué tiempo hace hoy?",
        "最新的版本是什么",
        "Is the shop still open",
    ],
)
def test_finds_what_depends_on_the_day(text: str) -> None:
    assert is_time_bound(text)


@pytest.mark.parametrize(
    "text",
    [
        "Explain how a heat pump works.",
        "Write a haiku about snow.",
        "What is the capital of Peru?",
        "Who wrote the first symphony in C?",
        "Where do herons live, and have they always?",
        "Translate 'good evening' into Danish.",
        "How do I know whether a number is prime?",
    ],
)
def test_leaves_alone_what_does_not(text: str) -> None:
    assert not is_time_bound(text)
    assert refuse_question(question(user(text)), text, Rules()) is None


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I’m sorry, I do not have that.", True),
        ("> As an AI language model, I have no opinion.", True),
        ("**Unfortunately**, no.", True),
        ("Leider nein.", True),
        ("A sorry state of affairs led to the revolt.", False),
        ("I can help: first, open the lid.", False),
        ("The answer is 42.", False),
    ],
)
def test_finds_answers_that_decline(answer: str, refused: bool) -> None:
    assert declines(answer) is refused
    stored = chat(answer)
    assert refuse_answer(stored, Rules()) == ("refusal" if refused else None)
    assert refuse_answer(stored, Rules(refusals=True)) is None
    assert answer_text(stored) == answer


def test_a_refusal_that_the_model_marks_as_one_is_found() -> None:
    assert refuse_answer(chat("", message={"refusal": "No."}), Rules()) == "refusal"


def test_each_reason_has_its_switch() -> None:
    asked = question(user("the latest news"), tools=[{"type": "function"}])
    assert refuse_question(asked, "the latest news", Rules()) == "tools"
    assert refuse_question(asked, "the latest news", Rules(tools=True)) == "time_bound"
    assert refuse_question(asked, "the latest news", Rules(tools=True, time_bound=True)) is None
    assert refuse_question(asked, "the latest news", Rules(True, True, True, max_chars=5)) == "too_long"
