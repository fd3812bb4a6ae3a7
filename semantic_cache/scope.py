"""The hard partition of the cache, and the exact tier's key within it.

Neither can be made without a tenant. Two requests have the same key only if they have the same scope and ask
the same; digests are SHA-256 over length-framed parts, and the version in them moves with the rules, so that
what an older release stored under other rules is never found.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from semantic_cache.question import Question

_SCOPE = b"forebay scope 2\0"
_EXACT = b"forebay exact 1\0"
_FRAME = msgspec.msgpack.Encoder().encode


class Scope(msgspec.Struct, frozen=True, gc=False):
    """What must be equal before one answer may serve two requests. Raises ValueError for an empty tenant."""

    tenant: str
    """Derived by the server, never from the body."""
    digest: bytes
    """Of the tenant and of everything else that `of` takes into it."""

    def __post_init__(self) -> None:
        if not self.tenant:
            raise ValueError("a scope needs a tenant")

    @classmethod
    def of(
        cls,
        question: Question,
        *,
        tenant: str,
        route: str,
        asked_route: str | None = None,
        compress: str | None = None,
        namespace: str | None = None,
    ) -> Scope:
        """Return the scope of a request: all of the question but its query, and what is said on our side.

        `route` is what the model name resolves to (upstream and the model's name there), so that another
        target in the config means other entries; `asked_route` and `compress` are the values of
        `x-forebay-route` and `x-forebay-compress`; `namespace` is the client's own partition.
        """
        parts = (
            tenant,
            question.endpoint,
            question.model,
            route,
            asked_route,
            compress,
            namespace,
            question.system,
            question.history,
            question.tools,
            question.format,
            question.sampling,
        )
        return cls(tenant, sha256(_SCOPE + _FRAME(parts)).digest())


class ExactKey(msgspec.Struct, frozen=True, gc=False):
    """The name of one stored answer. Raises ValueError for an empty tenant."""

    tenant: str
    digest: bytes

    def __post_init__(self) -> None:
        if not self.tenant:
            raise ValueError("a key needs a tenant")

    @classmethod
    def of(cls, scope: Scope, question: Question) -> ExactKey:
        """Return the key of a question within the scope that was made from it."""
        return cls(scope.tenant, sha256(_EXACT + scope.digest + question.query).digest())
