"""Fills the cache with answers of the past, under the keys that requests to this gateway would have.

What is warmed for a group (`@NAME`) is for all of its tenants at once: whoever runs the gateway
vouches for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from gateway.cache_key import route_name
from gateway.compression.mode import read_mode
from gateway.config.schema import Config
from gateway.errors import ConfigError, ModelNotFound
from gateway.groups import Groups
from gateway.hops.route import RouteByName
from gateway.semantic_tier import rules_of
from semantic_cache.admission import STORED, judge_body, refuse_request
from semantic_cache.entry import Entry
from semantic_cache.errors import NotCanonical
from semantic_cache.lifetime import Lifetimes
from semantic_cache.question import Question, read_question
from semantic_cache.record import Record
from semantic_cache.scope import GROUP_MARK, ExactKey, Scope, owner_of
from semantic_cache.semantic.question import refuse_answer, refuse_question, text_of
from semantic_cache.store.base import Store


class _Line(msgspec.Struct, frozen=True):
    request: msgspec.Raw
    response: msgspec.Raw


_DECODE = msgspec.json.Decoder(_Line).decode


class Warmer:
    """Stores past answers of one tenant."""

    def __init__(
        self, store: Store, config: Config, tenant: str, clock: Callable[[], float] = time.time
    ) -> None:
        """`tenant` may be a group's owner (`owner_of`). Raises ConfigError if there is no such group."""
        assert config.cache is not None
        self._groups = Groups(config.cache.shared)
        self._group = next((group for group in config.cache.shared if owner_of(group.name) == tenant), None)
        if self._group is None and tenant.startswith(GROUP_MARK):
            raise ConfigError(
                f"The configuration has no group '{tenant[len(GROUP_MARK) :]}' ('cache.shared')."
            )
        self._store = store
        self._cache = config.cache
        self._routes = RouteByName(config)
        self._lifetimes = Lifetimes(config.cache.ttl_s, config.cache.stale_s)
        self._rules = None if config.cache.semantic is None else rules_of(config.cache.semantic)
        self._tenant = tenant
        self._compress = read_mode(config.compress.mode).label
        self._clock = clock

    async def take(self, line: bytes) -> str:
        """Store the answer of a line `{"request": …, "response": …}` of chat completions.

        Returns `stored`, or the word that says why it is not. Raises StoreUnavailable.
        """
        try:
            read = _DECODE(line)
            question = read_question("chat", bytes(read.request))
            route = self._routes.find(question.model)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return "malformed"
        except NotCanonical as error:
            return error.reason
        except ModelNotFound:
            return "unknown_model"
        if reason := refuse_request(question, self._cache.sampled):
            return reason
        verdict = judge_body("chat", 200, bytes(read.response))
        if not verdict.stored:
            return verdict.reason
        group = self._group or self._groups.find(self._tenant, question.model)
        if self._group is not None and question.model not in (self._group.models or (question.model,)):
            return "not_shared"
        scope = Scope.of(
            question,
            tenant=self._tenant,
            route=route_name(route),
            compress=self._compress,
            group=None if group is None else group.name,
        )
        key = ExactKey.of(scope, question)
        times = self._lifetimes.of(key.digest, self._clock())
        entry = Entry(
            endpoint="chat",
            model=question.model,
            answer=verdict.answer,
            has_usage=verdict.has_usage,
            created_at=times.created_at,
            expires_at=times.expires_at,
            stale_until=times.stale_until,
            epoch=(await self._store.epochs(self._tenant)).now,
            tenant=self._tenant,
        )
        kept = await self._store.put(key, entry, self._record(scope, question, entry))
        return STORED if kept else "budget"

    def _record(self, scope: Scope, question: Question, entry: Entry) -> Record | None:
        rules = self._rules
        text = text_of(question)
        if rules is None or text is None or refuse_question(question, text, rules):
            return None
        if refuse_answer(entry.answer, rules):
            return None
        # Without a vector: the semantic process makes it.
        return Record(
            scope=scope.digest,
            text=text,
            model=entry.model,
            stale_until=entry.stale_until,
            epoch=entry.epoch,
        )
