"""Opens what the configured store URL names. Redis' client is imported only where it is used."""

from __future__ import annotations

from gateway.config.schema import StoreUrl
from gateway.state.keys.base import KeyStore
from gateway.state.keys.sqlite import SqliteKeys
from gateway.state.ledger.ledger import Ledger
from gateway.state.ledger.sqlite import SqliteAccounts
from gateway.state.location import sqlite_path
from gateway.state.outage import Outage
from gateway.state.outcomes.base import OutcomeStore
from gateway.state.outcomes.sqlite import SqliteOutcomes
from gateway.state.savings.base import SavingsStore
from gateway.state.savings.sqlite import SqliteSavings


def open_keys(store: StoreUrl) -> KeyStore:
    """Return the keys; nothing is touched before the first call."""
    if (path := sqlite_path(store.reveal())) is not None:
        return SqliteKeys(path)
    from gateway.state.keys.redis import RedisKeys

    return RedisKeys(store.reveal())


def open_ledger(store: StoreUrl, outage: Outage) -> Ledger:
    """Return the accounts; nothing is touched before the first request of a limited tenant."""
    if (path := sqlite_path(store.reveal())) is not None:
        return Ledger(SqliteAccounts(path, outage))
    from gateway.state.ledger.redis import RedisAccounts

    return Ledger(RedisAccounts(store.reveal(), outage))


def open_outcomes(store: StoreUrl) -> OutcomeStore:
    """Return what routes learn from; nothing is touched before the first call."""
    if (path := sqlite_path(store.reveal())) is not None:
        return SqliteOutcomes(path)
    from gateway.state.outcomes.redis import RedisOutcomes

    return RedisOutcomes(store.reveal())


def open_savings(store: StoreUrl) -> SavingsStore:
    """Return the savings; nothing is touched before the first call."""
    if (path := sqlite_path(store.reveal())) is not None:
        return SqliteSavings(path)
    from gateway.state.savings.redis import RedisSavings

    return RedisSavings(store.reveal())
