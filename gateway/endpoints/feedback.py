"""`/forebay/requests/{id}/feedback`: whether the answer to one of the last requests was good.

A bad answer of another question never answers this one again, and counts against its entry; a bad answer of
the question's own is forgotten, so that it is fetched anew. A bad answer that a group shares is nobody's any
more but its contributor's.
"""

from __future__ import annotations

import asyncio
from typing import Literal, TypeAlias

import msgspec
from aiohttp import web

from gateway.agreement import agree
from gateway.endpoints.route import PARAMETERS
from gateway.errors import BodyTooLarge, InvalidRequest, RequestNotFound, StateUnavailable
from gateway.siblings import Siblings
from gateway.state.keys.keyring import Keyring
from gateway.state.settled import SettledAnswer
from semantic_cache.errors import StoreUnavailable
from semantic_cache.scope import ExactKey
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.protocol import Block, Learn, Learned, Withdraw
from semantic_cache.semantic.question import answer_texts
from semantic_cache.store.base import Store
from telemetry.metrics import GatewayMetrics

Effect: TypeAlias = Literal["blocked", "forgotten", "learnt", "none", "withdrawn"]
PATIENCE_S = 5.0
_MOST_BYTES = 4096


class _Feedback(msgspec.Struct, forbid_unknown_fields=True):
    good: bool


_DECODE = msgspec.json.Decoder(_Feedback).decode


class FeedbackOn:
    """Takes what the tenant of a request says of its answer."""

    def __init__(
        self,
        siblings: Siblings,
        keyring: Keyring,
        store: Store | None,
        client: SemanticClient | None,
        metrics: GatewayMetrics,
    ) -> None:
        """`store` and `client` are None where there is no cache, or no semantic tier."""
        self._siblings = siblings
        self._keyring = keyring
        self._store = store
        self._client = client
        self._metrics = metrics

    async def take(self, request: web.BaseRequest) -> web.Response:
        """`POST /forebay/requests/{id}/feedback`

        Raises Unauthenticated, RequestNotFound, InvalidRequest, StateUnavailable.
        """
        tenant = self._keyring.identify(request.headers.get("authorization")).tenant
        record = await self._siblings.settled(request[PARAMETERS]["id"])
        if record is None or record.tenant != tenant:
            raise RequestNotFound(
                "No request of this id is remembered: it is unknown, too old, or still running."
            )
        good = await _read(request)
        effect: Effect = "none"
        if record.stored is not None and self._store is not None:
            try:
                effect = await self._apply(tenant, record.stored, self._store, good=good)
            except StoreUnavailable:
                raise StateUnavailable("The cache's store does not answer; try again later.") from None
        body = msgspec.json.encode({"id": record.id, "object": "forebay.feedback", "effect": effect})
        return web.Response(body=body, content_type="application/json")

    async def _apply(self, tenant: str, stored: SettledAnswer, store: Store, *, good: bool) -> Effect:
        entry, question = bytes.fromhex(stored.entry), bytes.fromhex(stored.question)
        if good:
            return await self._praise(stored)
        if entry != question:
            self._metrics.semantic_label("feedback", good)
        if stored.group:
            own = None if stored.holder == stored.group else ExactKey(tenant, entry)
            await self._withdraw(ExactKey(stored.group, entry), store, own)
            if own is None:
                return "withdrawn"
        if entry == question:
            await store.delete(ExactKey(tenant, entry))
            return "forgotten"
        if self._client is None:
            return "none"
        blocked = await self._client.ask(Block(tenant, entry, question, stored.ticket), Learned, PATIENCE_S)
        if blocked is not None and blocked.same is not None:
            return "blocked"
        # Whatever keeps the process from learning, this answer is not given to that question again.
        await store.delete(ExactKey(tenant, entry))
        return "forgotten"

    async def _praise(self, stored: SettledAnswer) -> Effect:
        if self._client is None or stored.entry == stored.question:
            return "none"
        self._metrics.semantic_label("feedback", True)
        learned = await self._client.ask(Learn(stored.ticket, True), Learned, PATIENCE_S)
        return "none" if learned is None or learned.same is None else "learnt"

    async def _withdraw(self, shared: ExactKey, store: Store, own: ExactKey | None) -> None:
        """Take a group's answer from it, and see to it that nobody confirms that one again.

        If it was the tenant's `own` answer that was wrong, then unless the group's is known to say something
        else: it would be given next.
        """
        entry = await store.get(shared)
        if entry is None:
            return
        if own is not None and entry.contributor != own.tenant:
            mine = await store.get(own)
            if mine is not None:
                texts = answer_texts(mine.answer), answer_texts(entry.answer)
                same = await agree(self._client, *texts, PATIENCE_S)
                if same is False or (same is None and self._client is None):
                    return
        if self._client is not None and entry.contributor:
            await self._client.ask(Withdraw(entry.contributor, shared.digest), Learned, PATIENCE_S)
        await store.delete(shared)


async def _read(request: web.BaseRequest) -> bool:
    if (request.content_length or 0) > _MOST_BYTES:
        raise BodyTooLarge(_MOST_BYTES)
    try:
        async with asyncio.timeout(PATIENCE_S):
            return _DECODE(await request.content.read(_MOST_BYTES)).good
    except (msgspec.DecodeError, TimeoutError):
        raise InvalidRequest('Send the body {"good": true} or {"good": false}.', param="good") from None
