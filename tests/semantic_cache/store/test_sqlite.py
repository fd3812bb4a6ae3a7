"""What SQLite can suffer: a process killed while it writes, damage, other files, other processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from semantic_cache.errors import BadStoreUrl, StoreUnavailable
from semantic_cache.store import sqlite_writer
from semantic_cache.store.base import Budget, StoreEvent
from semantic_cache.store.open import open_store
from semantic_cache.store.sqlite import SqliteStore
from tests.semantic_cache.support.samples import Clock, entry, key
from tests.semantic_cache.support.write_loop import answer_of

KILLS = 4
PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache.db"


@pytest.fixture
async def store(path: Path, clock: Clock, events: dict[StoreEvent, int]) -> AsyncIterator[SqliteStore]:
    def note(event: StoreEvent, count: int) -> None:
        events[event] += count

    store = SqliteStore(path, on_event=note, clock=clock)
    yield store
    await store.close()


def change(path: Path, statement: str, *values: object) -> None:
    """Change the database behind the store's back."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0


def overwrite(path: Path, place: int, data: bytes) -> None:
    """Damage a file."""
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)


def content(path: Path) -> bytes:
    return path.read_bytes()


@pytest.fixture
async def made(path: Path, clock: Clock) -> Path:
    """A database with entries in it that nobody has open."""
    store = SqliteStore(path, clock=clock)
    await asyncio.gather(
        *(store.put(key(str(number)), entry(clock(), answer=b"x" * 2000)) for number in range(50))
    )
    await store.close()
    return path


async def until_read(store: SqliteStore) -> None:
    """Wait until the store can be read again."""
    while True:
        with contextlib.suppress(StoreUnavailable):
            assert await store.get(key("1")) is None
            return
        await asyncio.sleep(0.02)


async def until_kept(store: SqliteStore, name: str, now: float) -> None:
    """Put an entry as soon as the store takes it again."""
    while True:
        with contextlib.suppress(StoreUnavailable):
            if await store.put(key(name), entry(now)) and await store.get(key(name)):
                return
        await asyncio.sleep(0.02)


def written_until_killed(path: Path) -> int:
    """Kill a process amid its writes; return the last number that it knew to be kept."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.semantic_cache.support.write_loop", f"sqlite://{path}"],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(25)]
        process.kill()
        # The last line may be cut.
        lines += process.stdout.read().splitlines(keepends=True)
    return int([line for line in lines if line.endswith(b"\n")][-1])


async def test_a_process_killed_while_it_writes_leaves_whole_entries_or_none(path: Path) -> None:
    for _ in range(KILLS):
        kept = written_until_killed(path)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            counted = connection.execute("SELECT count(*), sum(size) FROM entries").fetchone()
            assert connection.execute("SELECT entries, bytes FROM total").fetchone() == counted
        store = open_store(f"sqlite://{path}")
        for number in range(kept - 100, kept + 1):
            found = await store.get(key(str(number)))
            assert found is not None and found.answer == answer_of(number)
        for number in range(kept + 1, kept + 100):
            found = await store.get(key(str(number)))
            assert found is None or found.answer == answer_of(number)
        await store.close()


@pytest.mark.parametrize("part", ["first byte", "last byte", "cut"])
async def test_a_corrupt_entry_is_a_miss_and_deleted(
    store: SqliteStore, path: Path, clock: Clock, events: dict[StoreEvent, int], part: str
) -> None:
    await store.put(key("a"), entry(clock()))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (stored,) = connection.execute("SELECT entry FROM entries").fetchone()
    broken = {"first byte": b"?" + stored[1:], "last byte": stored[:-1] + b"?", "cut": stored[:5]}[part]
    change(path, "UPDATE entries SET entry = ?", broken)
    assert await store.get(key("a")) is None
    assert events[StoreEvent.CORRUPT] == 1
    assert (await store.stats()).entries == 0


async def test_an_entry_under_another_key_is_a_miss(store: SqliteStore, path: Path, clock: Clock) -> None:
    await store.put(key("a", "acme"), entry(clock()))
    change(path, "UPDATE entries SET tenant = 'other', key = ?", key("a", "other").digest)
    assert await store.get(key("a", "other")) is None


async def test_a_file_that_is_no_database_is_moved_aside(made: Path, clock: Clock) -> None:
    overwrite(made, 0, b"not a database at all" * 500)
    with capture_logs() as logs:
        store = SqliteStore(made, clock=clock)
    assert [line["event"] for line in logs] == ["store_damaged"]
    assert content(Path(logs[0]["moved_to"])).startswith(b"not a database")
    assert await store.put(key("a"), entry(clock()))
    await store.close()


async def test_a_database_that_cannot_be_used_is_moved_aside(made: Path, clock: Clock) -> None:
    overwrite(made, PAGE, b"\xff" * 20 * PAGE)
    with capture_logs() as logs:
        store = SqliteStore(made, clock=clock)
    assert [line["event"] for line in logs] == ["store_damaged"]
    await until_kept(store, "new", clock())
    await store.close()


@pytest.mark.parametrize("by", ["reading", "writing"])
async def test_damage_that_shows_while_running_is_moved_aside(made: Path, clock: Clock, by: str) -> None:
    with contextlib.closing(sqlite3.connect(made)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_entries_1'"
        ).fetchone()
    overwrite(made, (page - 1) * PAGE, b"\xff" * PAGE)
    store = SqliteStore(made, clock=clock)
    with capture_logs() as logs:
        if by == "reading":
            await until_read(store)
        else:
            await until_kept(store, "new", clock())
    assert [line["event"] for line in logs].count("store_damaged") == 1
    await until_kept(store, "new", clock())
    assert (await store.stats()).entries == 1
    await store.close()


async def test_a_file_that_another_process_replaced_is_followed(
    store: SqliteStore, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put(key("old"), entry(clock()))
    for suffix in ("", "-wal", "-shm"):
        os.replace(f"{path}{suffix}", f"{path}.aside{suffix}")
    other = SqliteStore(path, clock=clock)
    await other.put(key("new"), entry(clock()))
    await until_kept(store, "mine", clock())
    assert await other.get(key("mine")) is not None
    # A reader looks at most once a second.
    now = time.monotonic() + 2
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert await store.get(key("new")) is not None
    assert await store.get(key("old")) is None
    await other.close()


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = content(path)
    with pytest.raises(BadStoreUrl, match="another program"):
        SqliteStore(path)
    assert content(path) == before


async def test_a_cache_of_another_release_is_begun_anew(path: Path, clock: Clock) -> None:
    store = SqliteStore(path, clock=clock)
    await store.put(key("a"), entry(clock()))
    await store.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    store = SqliteStore(path, clock=clock)
    assert await store.get(key("a")) is None
    assert await store.put(key("a"), entry(clock()))
    await store.close()


async def test_only_the_owner_may_read_the_files(store: SqliteStore, path: Path, clock: Clock) -> None:
    await store.put(key("a"), entry(clock()))
    files = list(path.parent.iterdir())
    assert len(files) >= 3
    assert all(file.stat().st_mode & 0o077 == 0 for file in (*files, path.parent))


async def test_what_was_cleared_is_no_longer_in_the_files(
    store: SqliteStore, path: Path, clock: Clock
) -> None:
    secret = b"the answer that must go " * 400
    await store.put(key("a"), entry(clock(), answer=secret))
    await store.put(key("b", "other"), entry(clock()))
    await store.clear("acme")
    for file in path.parent.iterdir():
        assert secret[:24] not in content(file)


async def test_reads_do_not_wait_for_a_writer(store: SqliteStore, path: Path, clock: Clock) -> None:
    await store.put(key("a"), entry(clock()))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert await store.get(key("a")) is not None
        connection.execute("ROLLBACK")


async def test_failing_writes_leave_reads_alone(
    store: SqliteStore,
    path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    events: dict[StoreEvent, int],
) -> None:
    await store.put(key("a"), entry(clock()))

    def full(*_: object) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite_writer, "evict", full)
    with capture_logs() as logs:
        for _ in range(5):
            with pytest.raises(StoreUnavailable):
                await store.put(key("b"), entry(clock()))
            assert await store.get(key("a")) is not None
    assert [line["detail"] for line in logs] == ["database or disk is full"]
    assert events[StoreEvent.UNAVAILABLE] == 5
    monkeypatch.undo()
    await until_kept(store, "b", clock())


async def test_what_waits_to_be_written_is_bounded(
    store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch, events: dict[StoreEvent, int]
) -> None:
    monkeypatch.setattr(sqlite_writer, "_MAX_WAITING", 3)
    results = await asyncio.gather(
        *(store.put(key(str(n)), entry(clock())) for n in range(5)), return_exceptions=True
    )
    assert [type(result) for result in results] == [bool, bool, bool, StoreUnavailable, StoreUnavailable]
    assert events[StoreEvent.UNAVAILABLE] == 2
    assert await store.put(key("later"), entry(clock()))


async def test_puts_at_once_share_transactions(
    store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    go = threading.Event()
    commit = store._writer._commit

    def watched(batch: list[sqlite_writer._Waiting]) -> list[object]:
        go.wait(10)
        batches.append(len(batch))
        return commit(batch)

    monkeypatch.setattr(store._writer, "_commit", watched)
    puts = asyncio.gather(*(store.put(key(str(n)), entry(clock())) for n in range(50)))
    await asyncio.sleep(0)
    go.set()
    await puts
    assert len(batches) <= 2


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever may wait for others waits for ever."""
    monkeypatch.setattr(sqlite_writer, "_LINGER_S", 10_000.0)


async def gathered(store: SqliteStore, clock: Clock) -> asyncio.Task[bool]:
    """Have one entry kept, and begin with a second one that waits for company."""
    assert await store.put(key("first"), entry(clock()))
    put = asyncio.ensure_future(store.put(key("second"), entry(clock())))
    await asyncio.sleep(0)
    assert store._writer._gathered
    return put


@pytest.mark.usefixtures("patient")
async def test_after_a_quiet_time_an_entry_is_kept_at_once(store: SqliteStore, clock: Clock) -> None:
    assert await store.put(key("a"), entry(clock()))


@pytest.mark.usefixtures("patient")
async def test_what_somebody_asks_for_takes_along_what_was_gathered(store: SqliteStore, clock: Clock) -> None:
    put = await gathered(store, clock)
    assert (await store.stats()).entries == 2
    assert await put
    await store.delete(key("second"))
    assert await store.clear() == 1


@pytest.mark.usefixtures("patient")
async def test_what_was_gathered_is_kept_when_the_store_is_closed(
    store: SqliteStore, path: Path, clock: Clock
) -> None:
    put = await gathered(store, clock)
    await store.close()
    assert await put
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (2,)


@pytest.mark.usefixtures("patient")
async def test_a_full_batch_waits_for_nobody(store: SqliteStore, clock: Clock) -> None:
    put = await gathered(store, clock)
    await asyncio.gather(*(store.put(key(str(n)), entry(clock())) for n in range(sqlite_writer._BATCH - 1)))
    assert await put


async def test_entries_that_replace_each_other_are_counted_once(
    store: SqliteStore, path: Path, clock: Clock
) -> None:
    await asyncio.gather(
        *(store.put(key(str(n % 7)), entry(clock(), answer=b"x" * 100 * n)) for n in range(60))
    )
    with contextlib.closing(sqlite3.connect(path)) as connection:
        counted = connection.execute("SELECT count(*), sum(size) FROM entries").fetchone()
        assert connection.execute("SELECT entries, bytes FROM total").fetchone() == counted
    assert counted[0] == 7
    found = await store.get(key("3"))
    assert found is not None and len(found.answer) == 5900


async def test_a_closed_store_is_not_available(store: SqliteStore, clock: Clock) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.put(key("a"), entry(clock()))


async def test_what_cannot_be_opened_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadStoreUrl):
        SqliteStore(tmp_path / "file" / "cache.db")
    with pytest.raises(BadStoreUrl):
        SqliteStore(tmp_path, Budget())


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite://dir/", "sqlite://a?mode=ro", "postgres://x", "", "redis://h:port/0"]
)
def test_urls_that_name_no_store_are_refused(url: str) -> None:
    with pytest.raises(BadStoreUrl) as refused:
        open_store(url)
    assert "secret" not in str(refused.value)


def test_a_refused_url_does_not_show_its_password() -> None:
    with pytest.raises(BadStoreUrl) as refused:
        open_store("redis://user:secret@host:port/0")
    assert "secret" not in str(refused.value)
