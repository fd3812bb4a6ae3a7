"""Names of KV blocks: a chained SHA-256 over the tokens, begun from the tenant's salt.

A block's name covers every token before it, so equal names mean equal KV. SHA-256 rather than a fast
hash because names decide whose KV is served to whom: a forged collision would leak another's context
(vLLM made the same change after reports on predictable and poisonable hashes).
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence

_DOMAIN = b"forebay-kv-v1\x00"


def chain_root(salt: str) -> bytes:
    """Return the digest that starts a chain; different salts never share a block."""
    return hashlib.sha256(_DOMAIN + salt.encode()).digest()


def extend_chain(digests: list[bytes], root: bytes, token_ids: Sequence[int], block_size: int) -> None:
    """Append to `digests` the names of the full blocks of `token_ids` that it lacks."""
    parent = digests[-1] if digests else root
    for start in range(len(digests) * block_size, len(token_ids) - block_size + 1, block_size):
        parent = hashlib.sha256(parent + array("i", token_ids[start : start + block_size]).tobytes()).digest()
        digests.append(parent)
