"""The hard partition of the cache, and the exact tier's key within it.

Neither can be made without a tenant. Two requests have the same key only if they have the same scope and ask
the same; digests are SHA-256 over length-framed parts, and the version in them moves with the rules, so that
what an older release stored under other rules is never found.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import msgspec

from semantic_cache.question import Question

_SCOPE = b"forebay scope 3\0"
GROUP_MARK = "@"
"""What the owner of a shared scope begins with, and no tenant's name does."""
_EXACT = b"forebay exact 1\0"
_LEFT_OUT = b"forebay left out 1\0"
_FRAME = msgspec.msgpack.Encoder().encode


def owner_of(group: str) -> str:
    """Return what stands in a tenant's place for what a group of tenants shares."""
    return GROUP_MARK + group


class Scope(msgspec.Struct, frozen=True, gc=False):
    """What must be equal before one answer may serve two requests.

    Raises ValueError for an empty tenant, or one that passes for a group.
    """

    tenant: str
    """Derived by the server, never from the body."""
    digest: bytes
    """Of the tenant, or of the group that it shares with, and of everything else that `of` takes into it."""
    group: str = ""
    """The group's owner (`owner_of`) if the scope is shared; empty if it is the tenant's own."""

    def __post_init__(self) -> None:
        if not self.tenant:
            raise ValueError("a scope needs a tenant")
        if self.tenant.startswith(GROUP_MARK) and self.tenant != self.group:
            raise ValueError("no tenant has the name of a group")

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
        headers: Mapping[str, str] | None = None,
        group: str | None = None,
    ) -> Scope:
        """Return the scope of a request: all of the question but its query, and what is said on our side.

        `route` is what the model name resolves to (upstream and the model's name there), so that another
        target in the config means other entries; `asked_route` and `compress` are the values of
        `x-forebay-route` and `x-forebay-compress`; `namespace` is the client's own partition; `headers`
        are those of the client that the upstream sees. `group` is one of the configuration, whose tenants
        then have the same scope.
        """
        owner = "" if group is None else owner_of(group)
        parts = (
            owner or tenant,
            question.endpoint,
            question.model,
            route,
            asked_route,
            compress,
            namespace,
            sorted((headers or {}).items()),
            question.system,
            question.history,
            question.tools,
            question.format,
            question.sampling,
        )
        return cls(tenant, sha256(_SCOPE + _FRAME(parts)).digest(), owner)


class ExactKey(msgspec.Struct, frozen=True, gc=False):
    """The name of one stored answer. Raises ValueError for an empty tenant."""

    tenant: str
    digest: bytes

    def __post_init__(self) -> None:
        if not self.tenant:
            raise ValueError("a key needs a tenant")

    @classmethod
    def of(cls, scope: Scope, question: Question) -> ExactKey:
        """Return the key of a question within the scope that was made from it.

        In a shared scope the tenants' keys differ in the tenant alone, which says whose answer it is; that
        of the group's own answer has its owner there.
        """
        return cls(scope.tenant, sha256(_EXACT + scope.digest + question.query).digest())

    @classmethod
    def of_left_out(cls, tenant: str, id: str) -> ExactKey:
        """Return the key of text that was left out of one of a tenant's prompts; it is never that of an
        answer, nor anybody else's."""
        return cls(tenant, sha256(_LEFT_OUT + id.encode()).digest())

    def held_by(self, holder: str) -> ExactKey:
        """Return the key of the same question's answer in another one's hands."""
        return ExactKey(holder, self.digest)
