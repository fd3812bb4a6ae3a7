"""What every place for keys promises."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from gateway.config.schema import Limits, StoreUrl
from gateway.errors import StateUnavailable
from gateway.state.keys.base import KeyStore, Snapshot
from gateway.state.keys.key import digest_in, digest_of, new_key
from gateway.state.open import open_keys


@pytest.fixture
def open_store(state_url: str) -> Callable[[], KeyStore]:
    return lambda: open_keys(StoreUrl(state_url))


@pytest.fixture
def store(open_store: Callable[[], KeyStore]) -> KeyStore:
    return open_store()


def test_a_store_that_nobody_wrote_to_is_empty(store: KeyStore, tmp_path: Path) -> None:
    assert store.snapshot() == Snapshot()
    assert not (tmp_path / "folder").exists()


def test_what_is_added_is_there_for_all(store: KeyStore, open_store: Callable[[], KeyStore]) -> None:
    records = [new_key(tenant)[1] for tenant in ("a", "b", "a")]
    for record in records:
        store.add(record, None)
    assert {key.id: key for key in open_store().snapshot().keys} == {key.id: key for key in records}


def test_a_revoked_key_stays_and_is_revoked_once(store: KeyStore) -> None:
    record = new_key("a")[1]
    store.add(record, None)
    assert [store.revoke(record.id, 7), store.revoke(record.id, 8)] == [True, False]
    assert [key.revoked for key in store.snapshot().keys] == [7]
    assert not store.revoke("000000000000", 9)


def test_the_limits_of_a_tenant_are_those_given_last(store: KeyStore) -> None:
    store.add(new_key("a")[1], Limits(rpm=1))
    store.add(new_key("b")[1], None)
    assert store.snapshot().limits == {"a": Limits(rpm=1)}
    store.add(new_key("a")[1], None)
    assert store.snapshot().limits == {"a": Limits(rpm=1)}
    store.add(new_key("a")[1], Limits(tpm=5, usd_per_day=0.5))
    assert store.snapshot().limits == {"a": Limits(tpm=5, usd_per_day=0.5)}


def test_a_store_out_of_reach_says_so(tmp_path: Path) -> None:
    (tmp_path / "bad.db").write_bytes(b"not a database" * 100)
    (tmp_path / "folder.db").mkdir()
    urls = [f"sqlite://{tmp_path}/bad.db", f"sqlite://{tmp_path}/folder.db", "redis://127.0.0.1:1/0"]
    for url in urls:
        with pytest.raises(StateUnavailable):
            open_keys(StoreUrl(url)).snapshot()


def test_a_damaged_record_says_so(redis_server, tmp_path: Path) -> None:
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
        client.hset("forebay:{keys}:records", "x", "{")
        with pytest.raises(StateUnavailable):
            open_keys(StoreUrl(redis_server.url)).snapshot()
        client.flushall()
    store = open_keys(StoreUrl(f"sqlite://{tmp_path}/state.db"))
    store.add(new_key("a")[1], Limits(rpm=1))
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("UPDATE tenant_limits SET limits = '{'")
    db.close()
    with pytest.raises(StateUnavailable):
        store.snapshot()


def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    store = open_keys(StoreUrl(f"sqlite://{tmp_path}/folder/state.db"))
    store.add(new_key("a")[1], None)
    for path in (tmp_path / "folder", tmp_path / "folder" / "state.db"):
        assert os.stat(path).st_mode & 0o077 == 0


def test_keys_are_long_random_and_kept_as_hashes() -> None:
    made = [new_key("a") for _ in range(100)]
    assert len({key for key, _ in made}) == len({record.id for _, record in made}) == 100
    for key, record in made:
        prefix, key_id, secret = key.split("-")
        assert (prefix, key_id) == ("fb", record.id)
        assert len(bytes.fromhex(secret)) * 8 >= 160
        assert digest_in(record.key_hash) == digest_of(key)
        assert secret not in repr(record)
