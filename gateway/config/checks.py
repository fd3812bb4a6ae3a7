"""What must hold between the parts of a configuration."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from yarl import URL

from gateway.compression.mode import BadMode, read_mode
from gateway.config.document import Node, Place
from gateway.config.schema import (
    ANY_MODEL,
    LOOPBACK,
    Config,
    EngineUpstream,
    FitConfig,
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
        place = _place(document, "routes", name, "tiers")
        if len(set(route.tiers)) < len(route.tiers):
            raise ConfigError(f"{place}: the tiers of '{name}' are the same model")
        _check_knobs(name, route, config, document)
        _check_judging(name, route, config, document)
        _check_policy(name, route, document)


def _check_judging(name: str, route: RouteConfig, config: Config, document: Node) -> None:
    plain = RouteConfig(route.tiers)
    for key in ("streams", "hold_s", "classifier", "self_check", "samples"):
        # What is shown has every key, so one that says nothing new is none.
        if len(route.tiers) == 1 and getattr(route, key) != getattr(plain, key):
            place = _place(document, "routes", name, key)
            raise ConfigError(f"{place}: with one tier there is nothing to judge, so no '{key}'")
    if route.classifier is not None and route.classifier.model not in {*config.models, *config.routes}:
        place = _place(document, "routes", name, "classifier", "model")
        model = route.classifier.model
        raise ConfigError(
            f"{place}: there is no model '{model}'{_near(model, {*config.models} - {ANY_MODEL})}"
        )


_KNOBS = ("quality", "budget", "latency")
_LEARNING = (*_KNOBS, "shadow", "judge", "perplexity")


def _check_knobs(name: str, route: RouteConfig, config: Config, document: Node) -> None:
    given = [key for key in _LEARNING if (said := getattr(route, key)) is not None and said is not False]
    if given and len(route.tiers) == 1:
        raise ConfigError(
            f"{_place(document, 'routes', name, given[0])}: with one tier there is nothing for "
            f"'{given[0]}' to decide"
        )
    if given and route.policy is not None:
        raise ConfigError(
            f"{_place(document, 'routes', name, given[0])}: '{given[0]}' and 'policy' exclude each other: a "
            "policy has the quality that it was learned for, and learns nothing more"
        )
    knobs = [key for key in _KNOBS if getattr(route, key) is not None]
    if len(knobs) > 1:
        place = _place(document, "routes", name, knobs[1])
        raise ConfigError(f"{place}: '{knobs[0]}' and '{knobs[1]}' exclude each other")
    if route.budget is not None:
        for tier in route.tiers:
            if config.models[tier].price is None:
                place = _place(document, "routes", name, "budget")
                raise ConfigError(f"{place}: a budget needs the price of every tier, and '{tier}' has none")
    if route.perplexity:
        _check_scorer(route.tiers[0], config, _place(document, "routes", name, "perplexity"))
    names = {*config.models, *config.routes} - {ANY_MODEL, name}
    if route.judge is not None and route.judge not in names:
        place = _place(document, "routes", name, "judge")
        raise ConfigError(f"{place}: there is no model '{route.judge}'{_near(route.judge, names)}")


def _check_policy(name: str, route: RouteConfig, document: Node) -> None:
    if route.policy is None:
        return
    place = _place(document, "routes", name, "policy")
    if len(route.tiers) == 1:
        raise ConfigError(f"{place}: with one tier there is nothing for a policy to decide")
    if len(route.tiers) > 2:
        raise ConfigError(f"{place}: a policy decides between two tiers, and '{name}' has more")
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
        mode = read_mode(config.compress.mode)
    except BadMode as error:
        raise ConfigError(f"{place}: 'compress.mode' {error}") from None
    if config.compress.reversible and config.cache is None:
        place = _place(document, "compress", "reversible")
        raise ConfigError(f"{place}: 'compress.reversible' keeps texts in the cache, and there is none")
    if config.compress.fit is not None:
        _check_fit(config.compress.fit, config, document)
    elif mode.kind == "fit":
        raise ConfigError(f"{place}: 'compress.fit: null' switches off what 'compress.mode: fit' asks for")
    if config.compress.scorer is not None:
        place = _place(document, "compress", "scorer", "model")
        _check_scorer(config.compress.scorer.model, config, place)


def _check_fit(fit: FitConfig, config: Config, document: Node) -> None:
    place = _place(document, "compress", "fit", "strategies")
    if len(set(fit.strategies)) < len(fit.strategies):
        raise ConfigError(f"{place}: 'compress.fit.strategies' names one twice")
    place = _place(document, "compress", "fit", "longer")
    if fit.longer and "longer" not in fit.strategies:
        raise ConfigError(
            f"{place}: 'compress.fit.longer' has no effect without 'longer' among the strategies"
        )
    known = config.models.keys() - {ANY_MODEL}
    for name in fit.longer:
        if name not in known:
            raise ConfigError(f"{place}: there is no model '{name}'{_near(name, known)}")
        model = config.models[name]
        if model.context is None and isinstance(config.upstreams[model.upstream], OpenAIUpstream):
            raise ConfigError(f"{place}: say how long the window of '{name}' is: 'models.{name}.context'")


def _check_scorer(name: str, config: Config, place: Place) -> None:
    model = config.models.get(name)
    if model is None or name == ANY_MODEL:
        raise ConfigError(f"{place}: there is no model '{name}'{_near(name, config.models)}")
    if not capabilities(model, config.upstreams[model.upstream]).prompt_logprobs:
        raise ConfigError(
            f"{place}: the model '{name}' can't score prompts, as the upstream '{model.upstream}' is "
            "not known to answer 'prompt_logprobs'; if it does (vLLM), say so with "
            f"'models.{name}.capabilities: {{prompt_logprobs: true}}'"
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
