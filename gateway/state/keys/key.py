"""What a key looks like and what is kept of it.

`fb-` + id + `-` + secret. The id tells people which key is which (`forebay keys list`); the secret has 192
bits from the operating system. Only SHA-256 of the whole is kept. A slow hash (scrypt, argon2) protects
passwords because people choose them from a small set that can be tried out; nobody tries out 2^192 secrets,
however fast the hash, while a slow one would cost every single request tens of milliseconds.
"""

from __future__ import annotations

import hashlib
import secrets
import time

import msgspec

PREFIX = "fb-"
HASH_PREFIX = "sha256:"
_ID_BYTES = 6
_SECRET_BYTES = 24


class KeyRecord(msgspec.Struct, frozen=True):
    """What is kept of a key. Unix seconds; a revoked key stays, so that its gateway does not fall open."""

    id: str
    tenant: str
    key_hash: str
    created: int
    revoked: int | None = None


def digest_of(key: str) -> bytes:
    """Return SHA-256 of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def digest_in(key_hash: str) -> bytes:
    """Return the digest that a `key_hash` (`sha256:` and hexadecimal digits) stands for."""
    return bytes.fromhex(key_hash.removeprefix(HASH_PREFIX))


def new_key(tenant: str) -> tuple[str, KeyRecord]:
    """Return a new key, which exists nowhere else, and what is to be kept of it."""
    key_id = secrets.token_hex(_ID_BYTES)
    key = f"{PREFIX}{key_id}-{secrets.token_hex(_SECRET_BYTES)}"
    return key, KeyRecord(key_id, tenant, HASH_PREFIX + digest_of(key).hex(), int(time.time()))
