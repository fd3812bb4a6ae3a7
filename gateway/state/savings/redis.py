"""Savings in Redis: a hash for each tenant and day, three fields for each name. Connects for each call: there
is one a second at most.

All keys share a slot of a cluster, so that one script adds everything that a gateway has for all tenants, or
nothing. It is some hundred bytes a tenant and day, and a call a second from each worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.state.redis_client import client, failures
from gateway.state.savings.base import KEPT_DAYS, Amount, Place

_TENANTS = "forebay:{savings}:tenants"
"""A field for each tenant: the last day that it has sums of."""
_REMEMBERED_S = 600
_FIELDS = "rns"
"""Requests, nano-dollars, microseconds."""

# KEYS: the batch, the tenants, then a hash for each place. ARGV: seconds that a batch is remembered, days
# that sums are kept, then for each place its tenant, day, name and amounts.
_ADD = """
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[1]) then return 0 end
for at = 3, #KEYS do
  local base = 2 + (at - 3) * 6
  local tenant, day, name = ARGV[base + 1], tonumber(ARGV[base + 2]), ARGV[base + 3]
  redis.call('HINCRBY', KEYS[at], 'r' .. name, ARGV[base + 4])
  redis.call('HINCRBY', KEYS[at], 'n' .. name, ARGV[base + 5])
  redis.call('HINCRBY', KEYS[at], 's' .. name, ARGV[base + 6])
  redis.call('EXPIREAT', KEYS[at], string.format('%.0f', (day + tonumber(ARGV[2])) * 86400))
  local last = tonumber(redis.call('HGET', KEYS[2], tenant) or '-1')
  if day > last then redis.call('HSET', KEYS[2], tenant, ARGV[base + 2]) end
end
return 1
"""


class RedisSavings:
    """Sums that all replicas share."""

    def __init__(self, url: str) -> None:
        self._url = url

    def add(self, amounts: Mapping[Place, Amount], batch: str) -> None:
        keys = [f"forebay:{{savings}}:batch:{batch}", _TENANTS, *(_key(p.tenant, p.day) for p in amounts)]
        rest = [str(part) for place, amount in amounts.items() for part in (*place, *amount)]
        with failures("a sum of savings", ValueError), client(self._url) as redis:
            redis.eval(_ADD, len(keys), *keys, str(_REMEMBERED_S), str(KEPT_DAYS), *rest)

    def read(self, tenant: str | None, first_day: int) -> Sequence[tuple[Place, Amount]]:
        with failures("a sum of savings", ValueError), client(self._url) as redis:
            last: Any = redis.hgetall(_TENANTS)
            days = [
                (name, day)
                for name, last_day in sorted((name.decode(), int(at)) for name, at in last.items())
                if tenant in (None, name)
                for day in range(max(first_day, last_day - KEPT_DAYS), last_day + 1)
            ]
            with redis.pipeline(transaction=False) as pipe:
                for name, day in days:
                    pipe.hgetall(_key(name, day))
                found: Any = pipe.execute()
            return [sum_ for at, fields in zip(days, found, strict=True) for sum_ in _sums(*at, fields)]


def _key(tenant: str, day: int) -> str:
    return f"forebay:{{savings}}:{day}:{tenant}"


def _sums(tenant: str, day: int, fields: Mapping[bytes, bytes]) -> Iterator[tuple[Place, Amount]]:
    numbers = {field.decode(): int(value) for field, value in fields.items()}
    for name in sorted({field[1:] for field in numbers}):
        amounts = [numbers.get(kind + name, 0) for kind in _FIELDS]
        yield Place(tenant, day, name), Amount(*amounts)
