"""Outcomes in Redis: a stream for each route and tenant, all of a route in one slot of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.state.outcomes.base import MOST, Fresh, Raised
from gateway.state.redis_client import client, failures
from router.online.tried import Tried

_MOST_TENANTS = 1_000
"""Tenants whose outcomes are read at once; a route with more learns from the first that had some."""
# KEYS: the alarms. ARGV: the tier, the alarm, its time. An earlier one that comes late must not make the
# outcomes between the two count again.
_RAISE = """
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held and cjson.decode(held)['at'] >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""


class RedisOutcomes:
    """Outcomes that all replicas share."""

    def __init__(self, url: str) -> None:
        self._url = url

    def add(self, route: str, tried: Sequence[Tried], alarms: Sequence[Raised]) -> None:
        with failures("an outcome of a route", msgspec.DecodeError, KeyError), client(self._url) as redis:
            pipe: Any = redis.pipeline(transaction=False)
            for one in tried:
                pipe.hsetnx(_key(route, "tenants"), one.tenant, "")
                pipe.xadd(
                    _stream(route, one.tenant), {"tried": msgspec.msgpack.encode(one)},
                    maxlen=MOST, approximate=False,
                )  # fmt: skip
            pipe.execute()
            for alarm in alarms:
                raised: Any = (alarm.tier, msgspec.json.encode(alarm), repr(alarm.at))
                redis.eval(_RAISE, 1, _key(route, "alarms"), *raised)

    def since(self, route: str, cursor: dict[str, str]) -> Fresh:
        with failures("an outcome of a route", msgspec.DecodeError, KeyError), client(self._url) as redis:
            tenants: Any = redis.hkeys(_key(route, "tenants"))
            raised: Any = redis.hvals(_key(route, "alarms"))
            after = dict(cursor)
            names = [tenant.decode() for tenant in tenants[:_MOST_TENANTS]]
            asked: dict[Any, Any] = {_stream(route, tenant): after.get(tenant, "0") for tenant in names}
            found: Any = redis.xread(asked) if asked else []
        with failures("an outcome of a route", msgspec.DecodeError, KeyError):
            by_stream = {_stream(route, tenant): tenant for tenant in names}
            tried = []
            for stream, entries in found or []:
                for entry, fields in entries:
                    tried.append(msgspec.msgpack.decode(fields[b"tried"], type=Tried))
                    after[by_stream[stream.decode()]] = entry.decode()
            alarms = tuple(msgspec.json.decode(raw, type=Raised) for raw in raised)
            return Fresh(tuple(sorted(tried, key=lambda one: one.at)), alarms, after)


def _key(route: str, part: str) -> str:
    # Braces of the name would end the hash tag early; escaping them keeps different names apart.
    return f"forebay:{{outcomes:{route.replace('%', '%25').replace('}', '%7D')}}}:{part}"


def _stream(route: str, tenant: str) -> str:
    return _key(route, f"of:{tenant}")
