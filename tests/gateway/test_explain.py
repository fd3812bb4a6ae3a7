"""`forebay cache explain`: a process of its own reads the store and says what every gate makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.config.load import load_config
from gateway.config.schema import Config
from gateway.explain import NotExplained, explain, replace_question, request_of
from gateway.warm import Warmer
from semantic_cache.store.open import open_store
from tests.gateway.support.upstream import completion
from tests.semantic_cache.support.semantic_process import MODULE, let_children_import


@pytest.fixture
def config(tmp_path: Path) -> Config:
    let_children_import()
    file = tmp_path / "forebay.yaml"
    file.write_text(
        "upstreams: {up: {kind: openai, base_url: 'http://127.0.0.1:9/v1'}}\n"
        "models: {m: {upstream: up}}\n"
        f"cache:\n  store: 'sqlite://{tmp_path}/cache.db'\n  semantic: {{}}\n"
        "  shared: [{name: team, tenants: [ada, bob]}]\n"
    )
    return load_config(file, environ={})


async def warm(config: Config, *bodies: bytes, tenant: str = "acme") -> None:
    assert config.cache is not None
    store = open_store(config.cache.store.reveal())
    warmer = Warmer(store, config, tenant)
    for body in bodies:
        assert await warmer.take(b'{"request":%b,"response":%b}' % (body, completion("42"))) == "stored"
    await store.close()


async def test_shows_candidates_with_every_gates_verdict(config: Config) -> None:
    stored = request_of("how deep is the lake", "m", None)
    await warm(config, stored, request_of("how deep is the lake", "m", "Be brief."))
    looked = await explain(config, request_of("the lake is how deep", "m", None), "acme", None, module=MODULE)
    (candidate,) = looked.considered
    assert looked.serve == candidate.entry and candidate.text == "how deep is the lake"
    assert [(gate.gate, gate.passed) for gate in candidate.gates] == [("negation", True)]
    refused = await explain(
        config, request_of("the lake is not how deep", "m", None), "acme", None, module=MODULE
    )
    assert [gate.detail for gate in refused.considered[0].gates] == ["not"]
    stranger = await explain(config, request_of("the lake is how deep", "m", None), "b", None, module=MODULE)
    assert stranger.considered == []


async def test_a_whole_request_brings_its_scope_along(config: Config) -> None:
    system = {"role": "system", "content": "Be brief."}
    body = json.dumps(
        {"model": "x", "messages": [system, {"role": "user", "content": "?"}], "temperature": 0.5}
    ).encode()
    await warm(config, replace_question(body, "how deep is the lake", "m"))
    asked = replace_question(body, "the lake is how deep", "m")
    assert (await explain(config, asked, "acme", None, module=MODULE)).serve is not None
    with pytest.raises(NotExplained, match="chat request"):
        replace_question(b'{"messages": []}', "q", "m")


@pytest.mark.parametrize(
    ("text", "why"), [("the latest news", "time_bound"), ("x" * 2000, "too_long"), ("", "not_text")]
)
async def test_says_why_a_question_is_none_of_its(config: Config, text: str, why: str) -> None:
    with pytest.raises(NotExplained, match=why):
        await explain(config, request_of(text, "m", None), "acme", None, module=MODULE)


async def test_says_that_the_process_does_not_start(config: Config) -> None:
    with pytest.raises(NotExplained, match="did not start"):
        await explain(config, request_of("a lake", "m", None), "acme", None, module="no.such.module")


async def test_shows_what_a_group_would_give_and_what_it_would_not_yet(config: Config) -> None:
    stored, asked = (
        request_of("how deep is the lake", "m", None),
        request_of("the lake is how deep", "m", None),
    )
    await warm(config, stored, tenant="ada")
    own = await explain(config, asked, "ada", None, module=MODULE)
    assert own.serve is not None
    looked = await explain(config, asked, "bob", None, module=MODULE)
    assert (looked.serve, looked.reason, looked.holder) == (None, "quarantined", "ada")
    assert [candidate.text for candidate in looked.considered] == ["how deep is the lake"]
    await warm(config, stored, tenant="@team")
    looked = await explain(config, asked, "bob", None, module=MODULE)
    assert looked.serve is not None and looked.holder == "@team"
