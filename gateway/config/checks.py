"""What must hold between the parts of a configuration."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from yarl import URL

from gateway.compression.mode import BadMode, UnbuiltMode, read_mode
from gateway.config.document import Node, Place
from gateway.config.schema import (
    ANY_MODEL,
    LOOPBACK,
    Config,
    EngineUpstream,
    OpenAIUpstream,
    RouteConfig,
    SharedCache,
)
from gateway.errors import ConfigError, StateUnavailable
from gateway.routing.capabilities import capabilities
from gateway.state.location import is_known
from gateway.state.open import open_keys
from router.errors import BadPolicy
from router.policy.learned import load


def check(config: Config, document: Node) -> None:
    """Raise ConfigError, with the place, for the first thing that does not fit."""
    if not is_known(config.state.store.reveal()):
        place = _place(document, "state", "store")
        raise ConfigError(f"{place}: 'state.store' must begin with sqlite://, redis://, rediss:// or unix://")
    _check_tenants(config, document)
    _check_bind(config, document)
    for name, upstream in config.upstreams.items():
        if isinstance(upstream, OpenAIUpstream):
            _check_url(upstream.base_url, _place(document, "upstreams", name, "base_url"))
    _check_models(config, document)
    _check_semantic(config, document)
    _check_shared(config, document)
    _check_compress(config, document)
    for name, route in config.routes.items():
        if name in config.models:
            raise ConfigError(f"{_place(document, 'routes', name)}: '{name}' is the name of a model as well")
        for tier in route.tiers:
            if tier not in config.models or tier == ANY_MODEL:
                place = _place(document, "routes", name, "tiers")
                raise ConfigError(f"{place}: there is no model '{tier}'{_near(tier, config.models)}")
        _check_policy(name, route, document)


def _check_policy(name: str, route: RouteConfig, document: Node) -> None:
    place = _place(document, "routes", name, "tiers")
    if len(set(route.tiers)) < len(route.tiers):
        raise ConfigError(f"{place}: the tiers of '{name}' are the same model")
    if route.policy is None:
        if len(route.tiers) == 1:
            return
        raise ConfigError(
            f"{place}: two tiers need 'routes.{name}.policy', a file that 'forebay route train' has written"
        )
    place = _place(document, "routes", name, "policy")
    if len(route.tiers) == 1:
        raise ConfigError(f"{place}: with one tier there is nothing for a policy to decide")
    try:
        policy = load(Path(route.policy))
    except BadPolicy as error:
        raise ConfigError(f"{place}: {error}") from None
    if policy.needs_topic:
        raise ConfigError(
            f"{place}: {route.policy} was learned with topics, which requests do not have; "
            "learn it from a log without 'topic'"
        )


def _check_bind(config: Config, document: Node) -> None:
    server = config.server
    if server.host in LOOPBACK or server.allow_unauthenticated:
        return
    if any(tenant.key_hash is not None for tenant in config.tenants):
        return
    place = _place(document, "server", "host")
    try:
        if open_keys(config.state.store).snapshot().keys:
            return
    except StateUnavailable as error:
        raise ConfigError(
            f"{place}: cannot find out whether there are keys, without which nobody may listen on "
            f"{server.host}: {error}"
        ) from None
    raise ConfigError(
        f"{place}: listening on {server.host} would let anyone who reaches this machine use your models, "
        "since there are no keys; make one with 'forebay keys create NAME', or set "
        "'server: {allow_unauthenticated: true}' if the network itself keeps strangers out"
    )


def _check_semantic(config: Config, document: Node) -> None:
    semantic = config.cache.semantic if config.cache is not None else None
    if semantic is None:
        return
    if semantic.upstream is not None and not isinstance(
        config.upstreams.get(semantic.upstream), OpenAIUpstream
    ):
        place = _place(document, "cache", "semantic", "upstream")
        known = [name for name, of in config.upstreams.items() if isinstance(of, OpenAIUpstream)]
        raise ConfigError(
            f"{place}: there is no upstream '{semantic.upstream}' with embeddings"
            f"{_near(semantic.upstream, known)}"
        )
    names = {*config.models, *config.routes} - {ANY_MODEL}
    if semantic.judge is not None and semantic.judge not in names and ANY_MODEL not in config.models:
        place = _place(document, "cache", "semantic", "judge")
        raise ConfigError(f"{place}: there is no model '{semantic.judge}'{_near(semantic.judge, names)}")


def _check_shared(config: Config, document: Node) -> None:
    groups = config.cache.shared if config.cache is not None else ()
    entries = document.find("cache", "shared")
    known = {*config.models, *config.routes} - {ANY_MODEL}
    for at, group in enumerate(groups):
        place = entries.value[at].place if entries is not None else document.place
        if len(set(group.tenants)) < len(group.tenants):
            raise ConfigError(f"{place}: '{group.name}' names a tenant twice")
        for model in group.models or ():
            if model not in known and (model == ANY_MODEL or ANY_MODEL not in config.models):
                raise ConfigError(f"{place}: there is no model '{model}'{_near(model, known)}")
        for other in groups[:at]:
            if group.name == other.name:
                raise ConfigError(f"{place}: there is a group '{group.name}' already")
            if (tenant := _shared_twice(group, other)) is not None:
                raise ConfigError(
                    f"{place}: the tenant '{tenant}' would share a model's answers with two groups, "
                    f"'{other.name}' and '{group.name}'"
                )


def _shared_twice(one: SharedCache, other: SharedCache) -> str | None:
    """Return a tenant that is in both groups for one model, if there is one."""
    apart = one.models is not None and other.models is not None and set(one.models).isdisjoint(other.models)
    both = () if apart else [tenant for tenant in one.tenants if tenant in other.tenants]
    return next(iter(both), None)


def _check_compress(config: Config, document: Node) -> None:
    place = _place(document, "compress", "mode")
    try:
        read_mode(config.compress.mode)
    except UnbuiltMode as error:
        raise ConfigError(f"{place}: 'compress.mode: {error}' is not built yet") from None
    except BadMode as error:
        raise ConfigError(f"{place}: 'compress.mode' {error}") from None

    if (scorer := config.compress.scorer) is None:
        return
    place = _place(document, "compress", "scorer", "model")
    model = config.models.get(scorer.model)
    if model is None or scorer.model == ANY_MODEL:
        raise ConfigError(f"{place}: there is no model '{scorer.model}'{_near(scorer.model, config.models)}")
    if not capabilities(model, config.upstreams[model.upstream]).prompt_logprobs:
        raise ConfigError(
            f"{place}: the model '{scorer.model}' can't score prompts, as the upstream '{model.upstream}' is "
            "not known to answer 'prompt_logprobs'; if it does (vLLM), say so with "
            f"'models.{scorer.model}.capabilities: {{prompt_logprobs: true}}'"
        )


def _check_tenants(config: Config, document: Node) -> None:
    entries = document.find("tenants")
    for at, tenant in enumerate(config.tenants):
        place = entries.value[at].place if entries is not None else document.place
        before = config.tenants[:at]
        if any(tenant.name == other.name for other in before):
            raise ConfigError(f"{place}: there is a tenant '{tenant.name}' already")
        if tenant.key_hash is not None and any(tenant.key_hash == other.key_hash for other in before):
            raise ConfigError(f"{place}: the key of '{tenant.name}' is that of another tenant as well")


def _check_url(base_url: str, place: Place) -> None:
    try:
        url = URL(base_url)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(f"{place}: 'base_url' must begin with http:// or https:// and name a host")
    if url.user or url.password or url.query_string or url.fragment:
        raise ConfigError(f"{place}: 'base_url' must not hold credentials, a query or a fragment")


def _check_models(config: Config, document: Node) -> None:
    for name, model in config.models.items():
        upstream = config.upstreams.get(model.upstream)
        if upstream is None:
            place = _place(document, "models", name, "upstream")
            raise ConfigError(
                f"{place}: there is no upstream '{model.upstream}'{_near(model.upstream, config.upstreams)}"
            )
        place = _place(document, "models", name, "model")
        if name == ANY_MODEL and model.model is not None:
            raise ConfigError(f"{place}: '{ANY_MODEL}' passes names through, so it takes no 'model'")
        if isinstance(upstream, EngineUpstream) and model.model not in (None, upstream.model):
            raise ConfigError(
                f"{place}: the upstream '{model.upstream}' serves '{upstream.model}', not '{model.model}'; "
                f"set 'upstreams.{model.upstream}.model'"
            )


def _place(document: Node, *path: str) -> Place:
    """Return the place of what stands at `path`, or of the nearest thing above it."""
    for length in range(len(path), 0, -1):
        node = document.find(*path[:length])
        if node is not None:
            return node.place
    return document.place


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean '{near[0]}'?" if near else ""
