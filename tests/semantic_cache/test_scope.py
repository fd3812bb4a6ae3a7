"""What may share an answer: equal questions of one tenant, however their JSON is spelt, and nothing else."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_cache.errors import NotCanonical
from semantic_cache.question import Question, items_of, read_question
from semantic_cache.scope import ExactKey, Scope

BODY: dict[str, Any] = {
    "model": "large",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "What is a forebay?"},
    ],
    "temperature": 0.7,
    "max_tokens": 100,
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "response_format": {"type": "text"},
    "unheard_of": {"a": 1},
}


def question(body: Any, endpoint: Any = "chat") -> Question:
    return read_question(endpoint, body if isinstance(body, bytes) else json.dumps(body).encode())


def scope(body: Any = BODY, **ours: Any) -> Scope:
    return Scope.of(question(body), **{"tenant": "acme", "route": "openai gpt-4o", **ours})


def key(body: Any = BODY, endpoint: Any = "chat", **ours: Any) -> ExactKey:
    asked = question(body, endpoint)
    made = Scope.of(asked, **{"tenant": "acme", "route": "openai gpt-4o", **ours})
    return ExactKey.of(made, asked)


def changed(**members: Any) -> dict[str, Any]:
    return {**BODY, **members}


def test_a_scope_without_a_tenant_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="tenant"):
        scope(tenant="")
    with pytest.raises(TypeError, match="tenant"):
        Scope.of(question(BODY), route="r")  # type: ignore[call-arg]


def test_a_key_without_a_tenant_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="tenant"):
        ExactKey("", b"x" * 32)
    with pytest.raises(TypeError):
        ExactKey(digest=b"x" * 32)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "ours",
    [
        {"tenant": "other"},
        {"route": "openai gpt-4o-mini"},
        {"asked_route": "large"},
        {"compress": "off"},
        {"compress": "lossless"},
        {"namespace": "n"},
        {"headers": {"openai-beta": "assistants=v2"}},
    ],
)
def test_our_side_of_the_answer_is_part_of_the_key(ours: dict[str, str]) -> None:
    assert key(**ours) != key()
    assert scope(**ours).digest != scope().digest


def test_what_is_said_on_our_side_does_not_run_together() -> None:
    assert key(asked_route="a", compress=None) != key(asked_route=None, compress="a")
    assert key(tenant="ab", route="c") != key(tenant="a", route="bc")
    assert key(headers={"a": "bc"}) != key(headers={"ab": "c"})
    assert key(headers={"a": "1", "b": "2"}) == key(headers={"b": "2", "a": "1"})
    assert key(headers={}) == key()


@pytest.mark.parametrize("name", [name for name in BODY if name not in ("model", "messages")])
def test_every_member_is_part_of_scope_and_key(name: str) -> None:
    other = {member: value for member, value in BODY.items() if member != name}
    assert key(other) != key()
    assert scope(other).digest != scope().digest


@pytest.mark.parametrize("place", [0, 1, 2])
def test_another_history_or_system_prompt_is_another_scope(place: int) -> None:
    messages = [dict(message) for message in BODY["messages"]]
    messages[place]["content"] += "!"
    assert scope(changed(messages=messages)).digest != scope().digest


def test_another_question_is_the_same_scope_and_another_key() -> None:
    messages = [*BODY["messages"][:-1], {"role": "user", "content": "And a tailrace?"}]
    assert scope(changed(messages=messages)).digest == scope().digest
    assert key(changed(messages=messages)) != key()


def test_the_place_of_a_system_message_counts() -> None:
    system, *rest = BODY["messages"]
    assert key(changed(messages=[rest[0], system, *rest[1:]])) != key()


def test_messages_that_are_no_objects_are_not_taken_for_marks() -> None:
    system = {"role": "system", "content": "s"}
    asked = {"role": "user", "content": "q"}
    assert key(changed(messages=[0, system, asked])) != key(changed(messages=[system, 0, asked]))
    assert key(changed(messages=[1])) != key(changed(messages=[]))


def test_tenants_of_a_group_share_a_scope_and_keep_their_keys_apart() -> None:
    one, other = (scope(tenant=tenant, group="team") for tenant in ("acme", "globex"))
    assert one.digest == other.digest and (one.group, other.group) == ("@team", "@team")
    assert key(tenant="acme", group="team") != key(tenant="globex", group="team")
    assert key(tenant="acme", group="team").held_by("globex") == key(tenant="globex", group="team")
    # What the group itself has lies under its owner.
    assert key(tenant="acme", group="team").held_by("@team") == key(tenant="@team", group="team")


@pytest.mark.parametrize("group", [None, "other"])
def test_what_is_shared_is_apart_from_what_is_not_and_from_other_groups(group: str | None) -> None:
    shared, apart = scope(group="team"), scope(group=group)
    assert shared.digest != apart.digest
    assert key(group="team").digest != key(group=group).digest
    assert scope(tenant="team").digest != shared.digest


def test_no_tenant_passes_for_a_group() -> None:
    for group in (None, "other"):
        with pytest.raises(ValueError, match="name of a group"):
            scope(tenant="@team", group=group)


def test_endpoints_are_apart() -> None:
    body = {"model": "m", "prompt": "x", "messages": "x", "input": "x"}
    assert len({key(body, endpoint) for endpoint in ("chat", "completions", "embeddings")}) == 3


@pytest.mark.parametrize("name", ["stream", "stream_options", "cache"])
def test_how_the_answer_is_sent_is_left_out(name: str) -> None:
    assert key(changed(**{name: {"include_usage": True}})) == key()


def test_spelling_does_not_count() -> None:
    one = '{"model":"m","messages":[{"role":"user","content":"é\\"/"}],"top_p":0.5,"seed":3}'.encode()
    message = b'{"content":"\\u00e9\\u0022\\/", "role":"user"}'
    other = b'{ "seed" : 3,\n"top_p":0.50, "messages": [ %s ],"model":"m"}' % message
    assert key(one) == key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "1.0"),
        ("0.0", "-0.0"),
        ("0", "0.0"),
        ("0.1", "0.10000000000000001"),
        ("1e-400", "0.0"),
        ("1e400", "2e400"),
        ("1e400", "null"),
        ("123456789012345678901234567890", "123456789012345678901234567891"),
        ("9007199254740993", "9007199254740992"),
        ("true", "1"),
        ("null", '"null"'),
        ('"a"', '" a"'),
        ('"é"', '"e\u0301"'),
    ],
)
def test_different_values_stay_different(one: str, other: str) -> None:
    body = '{"model":"m","messages":[{"content":"x"}],"x":%s}'
    assert key((body % one).encode()) != key((body % other).encode())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.7", "0.70"),
        ("0.7", "7e-1"),
        ("1.0", "1.00000000000000000000"),
        ("0.7", "0.7000000000000000000000000"),
        ("1e400", "10E399"),
        ("0.0", "0e5"),
        ("1.5e3", "1500.0"),
        ("0.12345678901234567890", "0.1234567890123456789"),
    ],
)
def test_equal_numbers_of_a_kind_are_equal(one: str, other: str) -> None:
    body = '{"model":"m","messages":[{"content":"x"}],"x":%s}'
    assert key((body % one).encode()) == key((body % other).encode())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"model":"m","messages":[{"content":"a","content":"b"}]}', "duplicate_keys"),
        (b'{"model":"m","messages":[{"content":"a","\\u0063ontent":"b"}]}', "duplicate_keys"),
        (b'{"model":"m","messages":[{"content":"\\u0022","x":1,"x":1}]}', "duplicate_keys"),
        (b'{"model":"m","stream":true,"messages":[{}],"stream":false}', "duplicate_keys"),
        (b'{"model":"m","messages":[],"top_p":NaN}', "json"),
        (b'{"model":"m","messages":[],"top_p":Infinity}', "json"),
        (b'{"model":"m","messages":[],"top_p":01}', "json"),
        (b'{"model":"m","messages":["\\ud800"]}', "json"),
        (b'{"model":"m","messages":["\xff"]}', "json"),
        (b'{"model":"m","messages":[]} x', "json"),
        (b"[]", "json"),
        (b"{}", "model"),
        (b'{"model":"","messages":[]}', "model"),
        (b'{"model":"m"}', "messages"),
        (b'{"model":"m","messages":' + b"[" * 5000 + b"]" * 5000 + b"}", "nesting"),
        (b'{"model":"m","messages":[],"x":1.0e' + b"9" * 30 + b"}", "number"),
    ],
)
def test_what_two_readers_may_read_differently_has_no_key(body: bytes, reason: str) -> None:
    with pytest.raises(NotCanonical) as refused:
        question(body)
    assert refused.value.reason == reason


def test_values_that_decide_whether_to_cache_are_read() -> None:
    assert question(changed(n=2)).choices == 2
    assert question(BODY).sampled
    assert not question(changed(temperature=0)).sampled
    assert not question(changed(temperature=0.0)).sampled
    assert question(changed(store=True)).upstream_keeps
    assert question(changed(cache={"ttl": 5})).cache == {"ttl": 5}


def test_every_input_item_has_a_key_of_its_own() -> None:
    def keys(value: Any) -> list[ExactKey]:
        asked = question({"model": "m", "input": value}, "embeddings")
        made = Scope.of(asked, tenant="t", route="r")
        return [ExactKey.of(made, item) for item in items_of(asked)]

    assert keys(["a", "b"]) == keys("a") + keys("b")
    assert keys([[1, 2], [3]]) == keys([1, 2]) + keys([3])
    assert keys("a") != keys("b")
    for wrong in ([], ["a", 1], [[1], "a"], [[]], {"a": 1}, None, [[1.0]], [True]):
        with pytest.raises(NotCanonical):
            keys(wrong)


texts = st.text(max_size=8)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=4)


def spelt(value: Any, chance: Random) -> str:
    """Return some JSON text of a value: any key order, white space, escapes and zeros behind the point."""
    space = chance.choice(["", " ", "\n\t"])
    if isinstance(value, dict):
        members = chance.sample(list(value.items()), len(value))
        inner = f",{space}".join(
            f"{spelt(name, chance)}{space}:{space}{spelt(member, chance)}" for name, member in members
        )
        return f"{{{space}{inner}{space}}}"
    if isinstance(value, list):
        return f"[{space}" + f"{space},".join(spelt(item, chance) for item in value) + f"{space}]"
    text = json.dumps(value, ensure_ascii=chance.random() < 0.5)
    if isinstance(value, str) and chance.random() < 0.5:
        return re.sub(r"\\(.)", lambda escape: "\\u0022" if escape[1] == '"' else escape[0], text)
    if isinstance(value, float) and chance.random() < 0.5:
        digits = re.fullmatch(r"(-?\d+)(?:\.(\d+))?(?:e([+-]\d+))?", text)
        assert digits is not None
        return f"{digits[1]}.{digits[2] or ''}00e{int(digits[3] or 0)}"
    return text


def exact(value: Any) -> Any:
    """Return a form of a JSON value that is equal for equal values of equal kind only."""
    if isinstance(value, dict):
        return ("object", frozenset((name, exact(member)) for name, member in value.items()))
    if isinstance(value, list):
        return ("array", tuple(map(exact, value)))
    if isinstance(value, float):
        return ("fraction", str(value) if value == 0 else Decimal(repr(value)))
    return (type(value).__name__, value)


@given(objects, objects, st.booleans(), st.booleans(), st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_keys_are_equal_if_and_only_if_the_values_are(
    one: Any, other: Any, same: bool, as_message: bool, seed: int
) -> None:
    base = {"model": "m", "messages": [{"role": "user", "content": "q"}]}
    if same:
        other = one
    bodies = [{**base, "messages": [value]} if as_message else {**base, "x": value} for value in (one, other)]
    first, second = (key(spelt(body, Random(seed + n)).encode()) for n, body in enumerate(bodies))
    assert (first == second) == (exact(one) == exact(other))


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["role", "content"]), st.sampled_from(["system", "user", "x"])),
        max_size=4,
    ),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_no_two_conversations_share_a_key(messages: Any, data: Any) -> None:
    other = data.draw(st.permutations(messages))
    same = key(changed(messages=messages)) == key(changed(messages=other))
    assert same == (messages == other)


short = st.text("ab@\0", min_size=1, max_size=3)
SAID = st.fixed_dictionaries(
    {
        "tenant": short.filter(lambda name: not name.startswith("@")),
        "route": short,
        "asked_route": st.none() | short,
        "compress": st.none() | short,
        "namespace": st.none() | short,
        "headers": st.dictionaries(short, short, max_size=2),
        "group": st.none() | short,
    }
)
MEMBERS = st.fixed_dictionaries(
    {
        "model": short,
        "messages": st.lists(
            st.dictionaries(st.sampled_from(["role", "content"]), short), min_size=1, max_size=3
        ),
    },
    optional={
        "temperature": numbers,
        "tools": st.lists(objects, max_size=2),
        "response_format": objects,
        "seed": st.integers(),
        "metadata": objects,
    },
)
Request = tuple[dict[str, Any], dict[str, Any]]


@st.composite
def two_requests(draw: st.DrawFn) -> tuple[Request, Request]:
    """Two that differ in one thing that is said, here or in the body, or in many, or in none."""
    said, body = draw(SAID), draw(MEMBERS)
    others = draw(SAID), draw(MEMBERS)
    for original, other in ((said, others[0]), (body, others[1])):
        for name in draw(st.sets(st.sampled_from(sorted(original)))):
            if name in other:
                other[name] = original[name]
    return (said, body), others


@given(two_requests())
@settings(max_examples=120, deadline=None)
def test_two_requests_share_a_key_only_if_nothing_differs_that_an_answer_depends_on(
    requests: tuple[Request, Request],
) -> None:
    (said, body), (said_other, body_other) = requests
    one, other = key(body, **said), key(body_other, **said_other)
    same = said == said_other and exact(body) == exact(body_other)
    assert (one == other) == same
    # Not even the digests are: but for the tenants of one group, who ask the same in all else.
    rest, rest_other = (
        {name: of for name, of in one.items() if name != "tenant"} for one in (said, said_other)
    )
    shared = said["group"] is not None and rest == rest_other and exact(body) == exact(body_other)
    assert (one.digest == other.digest) == (same or shared)
    if scope(body, **said).digest == scope(body_other, **said_other).digest:
        assert rest == rest_other and (said == said_other or said["group"] is not None)
