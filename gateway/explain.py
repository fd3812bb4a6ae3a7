"""Asks a semantic process of its own what it would make of a question: `forebay cache explain`."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from gateway.cache_key import route_name
from gateway.compression.mode import read_mode
from gateway.config.schema import Config
from gateway.errors import GatewayError
from gateway.groups import Groups
from gateway.hops.route import RouteByName
from gateway.semantic_process import semantic_options
from gateway.semantic_tier import rules_of
from semantic_cache.errors import NotCanonical
from semantic_cache.question import read_question
from semantic_cache.scope import ExactKey, Scope
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.launcher import MODULE, SemanticStopped, launch
from semantic_cache.semantic.protocol import Explain, Look, Looked, Numbers, Stats
from semantic_cache.semantic.question import refuse_question, text_of

PATIENCE_S = 300.0


class NotExplained(GatewayError):
    """The question is none of the semantic tier's, or the process that would explain it cannot work."""


def request_of(question: str, model: str, system: str | None) -> bytes:
    """Return the body of a chat request that asks this."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return msgspec.json.encode({"model": model, "messages": messages})


def replace_question(request: bytes, question: str, model: str) -> bytes:
    """Return a chat request with another last message and model. Raises NotExplained."""
    try:
        body = msgspec.json.decode(request, type=dict[str, Any])
        body["messages"][-1] = {"role": "user", "content": question}
    except (msgspec.DecodeError, KeyError, IndexError, TypeError):
        raise NotExplained("The request's file does not hold a chat request.") from None
    return msgspec.json.encode({**body, "model": model})


async def explain(
    config: Config, body: bytes, tenant: str, embedder_path: str | None, *, module: str = MODULE
) -> Looked:
    """Return what would become of a chat request. Raises NotExplained, ModelNotFound."""
    options = semantic_options(config, embedder_path)
    if options is None or config.cache is None or config.cache.semantic is None:
        raise NotExplained("The configuration has no semantic cache ('cache.semantic').")
    semantic = config.cache.semantic
    try:
        question = read_question("chat", body)
    except NotCanonical as error:
        raise NotExplained(str(error)) from None
    text = text_of(question)
    if reason := refuse_question(question, text, rules_of(semantic)):
        raise NotExplained(f"The semantic cache has nothing to do with this request: {reason}.")
    assert text is not None
    route = RouteByName(config).find(question.model)
    group = Groups(config.cache.shared).find(tenant, question.model)
    scope = Scope.of(
        question,
        tenant=tenant,
        route=route_name(route),
        compress=read_mode(config.compress.mode).label,
        group=None if group is None else group.name,
    )
    look = Look(
        tenant=tenant,
        model=question.model,
        scope=scope.digest,
        key=ExactKey.of(scope, question).digest,
        text=text,
        error_budget=semantic.error_budget,
        group=scope.group,
        peers=() if group is None else tuple(peer for peer in group.tenants if peer != tenant),
    )
    with tempfile.TemporaryDirectory(prefix="forebay-", ignore_cleanup_errors=True) as folder:
        socket = Path(folder) / "s"
        try:
            process = await launch(options, socket, module=module)
        except (SemanticStopped, OSError) as error:
            raise NotExplained(f"The semantic process did not start: {error}.") from None
        client = SemanticClient(str(socket))
        client.start()
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await _ask(client, look)
        except TimeoutError:
            raise NotExplained("The semantic process has not read the whole store in time.") from None
        finally:
            await client.close()
            await process.stop()


async def _ask(client: SemanticClient, look: Look) -> Looked:
    """Ask once everything in the store can be found."""
    while True:
        numbers = await client.ask(Stats(), Numbers, PATIENCE_S)
        if numbers is not None and numbers.caught_up and not numbers.waiting:
            looked = await client.ask(Explain(look), Looked, PATIENCE_S)
            if looked is not None:
                return looked
        await asyncio.sleep(0.02)
