"""The hard partition of the cache, and the exact tier's key within it.

Neither can be made without a tenant. Two requests have the same key only if they have the same scope and ask
the same; digests are SHA-256 over length-framed parts, and the version in them moves with the rules, so that
what an older release stored under other rules is never found.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

import msgspec

from semantic_cache.question import Question

_SCOPE = b"forebay scope 1\0"
_EXACT = b"forebay exact 1\0"
_FRAME = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What must be equal before one answer may serve two requests. Raises ValueError for an empty tenant."""

    tenant: str
    """Derived by the server, never from the body."""
    endpoint: str
    model: str
    """The requested name."""
    ours: bytes
    """Digest of what changes the answer on our side."""
    system: bytes
    history: bytes
    tools: bytes
    format: bytes
    sampling: bytes
    """All that is in no other part; unknown members too."""
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        if not self.tenant:
            raise ValueError("a scope needs a tenant")
        parts = (
            self.tenant,
            self.endpoint,
            self.model,
            self.ours,
            self.system,
            self.history,
            self.tools,
            self.format,
            self.sampling,
        )
        object.__setattr__(self, "digest", sha256(_SCOPE + _FRAME(parts)).digest())

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
        """Return the scope of a request.

        `route` is what the model name resolves to (upstream and the model's name there), so that another
        target in the config means other entries; `asked_route` and `compress` are the values of
        `x-forebay-route` and `x-forebay-compress`; `namespace` is the client's own partition.
        """
        return cls(
            tenant=tenant,
            endpoint=question.endpoint,
            model=question.model,
            ours=_digest(_FRAME((route, asked_route, compress, namespace))),
            system=_digest(question.system),
            history=_digest(question.history),
            tools=_digest(question.tools),
            format=_digest(question.format),
            sampling=_digest(question.sampling),
        )


@dataclass(frozen=True, slots=True)
class ExactKey:
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


def _digest(part: bytes) -> bytes:
    return sha256(part).digest()
