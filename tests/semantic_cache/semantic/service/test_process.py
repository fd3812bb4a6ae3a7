"""The semantic process from outside: it follows its store, keeps tenants apart, and learns."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import redis

from semantic_cache.epochs import Epochs
from semantic_cache.semantic.launcher import (
    EXIT_BROKEN,
    EXIT_REFUSED,
    EXIT_UNUSABLE,
    SemanticOptions,
    SemanticStopped,
    launch,
)
from semantic_cache.semantic.protocol import Block, Embed, Embedded, Explain, Learn, Learned, Looked
from semantic_cache.store.redis_scripts import TENANTS
from tests.semantic_cache.support.samples import key
from tests.semantic_cache.support.semantic_process import (
    MODULE,
    PATIENT_S,
    Semantic,
    let_children_import,
    look,
    record,
    running_semantic,
    scope_of,
)
from tests.support.redis_server import running_redis

STORED = "what is the capital of France"
REORDERED = "the capital of France is what"
NEAR = "what is the large capital of France"


@pytest.fixture
async def semantic(tmp_path: Path) -> AsyncIterator[Semantic]:
    async with running_semantic(tmp_path) as running:
        yield running


async def test_serves_the_entry_of_the_same_question_in_other_words(semantic: Semantic) -> None:
    stored = await semantic.put(STORED)
    await semantic.until(1)
    looked = await semantic.look(REORDERED)
    assert looked.serve == stored.digest and looked.similarity is not None and looked.similarity > 0.99
    assert looked.ticket and looked.vector and looked.embedder == "words:test"
    assert [(v.gate, v.passed, v.detail) for v in looked.considered[0].gates] == [("negation", True, "")]
    refused = await semantic.look(f"{REORDERED} not now")
    assert refused.serve is None


async def test_explains_with_texts_and_details_and_issues_no_ticket(semantic: Semantic) -> None:
    await semantic.put(STORED)
    await semantic.until(1)
    explained = await semantic.client.ask(
        Explain(look("what is not the capital of France")), Looked, PATIENT_S
    )
    assert explained is not None and explained.ticket == 0
    (candidate,) = explained.considered
    assert candidate.text == STORED and candidate.gates[0].detail == "not"


async def test_nobody_is_served_what_another_tenant_or_scope_asked(semantic: Semantic) -> None:
    await semantic.put(STORED, "acme")
    await semantic.put(STORED, "other", scope=scope_of("other"))
    # A record that lies about its scope is still another tenant's.
    await semantic.put("canary phrase", "mallory", scope=scope_of("acme"))
    await semantic.until(3)
    assert (await semantic.look(STORED, "third")).reason == "no_candidates"
    assert (await semantic.look(REORDERED, scope=scope_of("acme", "another"))).reason == "no_candidates"
    assert (await semantic.look("phrase canary")).reason == "no_candidates"
    assert (await semantic.look(REORDERED)).serve == key(STORED, "acme").digest


async def test_a_question_is_not_its_own_neighbour(semantic: Semantic) -> None:
    await semantic.put(STORED)
    await semantic.until(1)
    assert (await semantic.look(STORED)).reason == "no_candidates"


async def test_a_threshold_of_the_request_only_tightens(semantic: Semantic) -> None:
    await semantic.put(STORED)
    await semantic.until(1)
    assert (await semantic.look(NEAR)).serve is not None
    assert (await semantic.look(NEAR, threshold=0.999)).serve is None
    assert (await semantic.look("what of France", threshold=0.1)).serve is None


async def test_what_goes_from_the_store_goes_from_the_process(semantic: Semantic) -> None:
    stored = await semantic.put(STORED)
    await semantic.put("another question altogether", tags=("old",))
    await semantic.until(2)
    await semantic.store.delete(stored)
    await semantic.until(1)
    assert (await semantic.look(REORDERED)).serve is None
    await semantic.store.purge("acme", lambda epochs: epochs.purged(tag="old"))
    await semantic.until(0)


async def test_an_answer_asked_for_before_a_purge_stays_out_when_it_comes_later(semantic: Semantic) -> None:
    await semantic.store.purge("acme", Epochs.purged)
    await semantic.put(STORED, epoch=0)
    await semantic.put("asked afterwards", epoch=1)
    await semantic.until(1)
    assert (await semantic.look("afterwards asked")).serve is not None


async def test_vectors_of_another_embedder_are_made_anew(semantic: Semantic) -> None:
    await semantic.put(STORED, embedder="other:1", vector=b"\0\x3c" * 64)
    await semantic.until(1)
    looked = await semantic.look(REORDERED)
    assert looked.serve is not None and looked.similarity is not None and looked.similarity > 0.99


async def test_a_vector_that_came_with_the_record_is_used(semantic: Semantic) -> None:
    question = await semantic.look("blue cheese")
    await semantic.put("never said like this", embedder=question.embedder, vector=question.vector)
    await semantic.until(1)
    assert (await semantic.look("cheese blue")).serve == key("never said like this").digest


async def test_a_store_from_before_is_there_after_a_restart(semantic: Semantic, tmp_path: Path) -> None:
    for number in range(30):
        await semantic.put(f"question {number} about thing {number * 7}")
    await semantic.until(30)
    semantic.process.process.kill()
    await semantic.process.wait()
    semantic.process = await launch(SemanticOptions(store=semantic.url), semantic.socket, module=MODULE)
    await semantic.until(30)
    assert (await semantic.look("thing 49 about question 7")).serve is not None


async def test_a_wrong_label_stops_an_entry_and_outlives_the_process(semantic: Semantic) -> None:
    await semantic.put(STORED)
    await semantic.until(1)
    looked = await semantic.look(NEAR)
    learned = await semantic.client.ask(Learn(looked.ticket, False), Learned, PATIENT_S)
    assert learned == Learned(False)
    assert (await semantic.look(NEAR)).serve is None
    assert await semantic.client.ask(Learn(looked.ticket, False), Learned, PATIENT_S) == Learned(None)
    await semantic.process.stop()
    semantic.socket.parent.mkdir(mode=0o700, exist_ok=True)
    semantic.process = await launch(SemanticOptions(store=semantic.url), semantic.socket, module=MODULE)
    await semantic.until(1)
    assert (await semantic.look(NEAR)).serve is None


@pytest.mark.parametrize(
    ("fresh", "stored", "same"),
    [
        ("Paris.", "**Paris**", True),
        ("Paris is the capital", "the capital is Paris", True),
        ("It is 42 km to the town", "It is 43 km to the town", False),
        ("It is a town on the river with a bridge", "A bridge is in the town on the lake", None),
        ("Paris", "A completely different thing", False),
        ("", "Paris", None),
    ],
)
async def test_labels_two_answers(semantic: Semantic, fresh: str, stored: str, same: bool | None) -> None:
    await semantic.put(STORED)
    await semantic.until(1)
    ticket = (await semantic.look(REORDERED)).ticket
    learned = await semantic.client.ask(Learn(ticket, None, fresh, stored), Learned, PATIENT_S)
    assert learned == Learned(same)


async def test_a_blocked_question_is_never_served_by_that_entry_again(semantic: Semantic) -> None:
    stored = await semantic.put(STORED)
    await semantic.until(1)
    asked = look(REORDERED)
    blocked = await semantic.client.ask(Block("acme", stored.digest, asked.key), Learned, PATIENT_S)
    assert blocked == Learned(False)
    assert (await semantic.look(REORDERED)).reason == "no_candidates"
    # Others still are, and so is everybody whom it answers after it was refreshed.
    assert (await semantic.look(NEAR)).serve == stored.digest
    await semantic.store.put(
        stored, msgspec.structs.replace((await semantic.store.get(stored)), answer=b'{"b":2}'), record(STORED)
    )
    await semantic.until(1)
    assert (await semantic.look(REORDERED)).reason == "no_candidates"


async def test_an_expired_record_is_no_candidate(semantic: Semantic) -> None:
    await semantic.put(STORED, stale_until=time.time() + 0.3)
    async with asyncio.timeout(PATIENT_S):
        while (await semantic.look(REORDERED)).reason != "no_candidates":
            await asyncio.sleep(0.01)


async def test_it_refuses_what_cannot_be_used(tmp_path: Path) -> None:
    let_children_import()
    (tmp_path / "private").mkdir()
    alien = tmp_path / "alien.db"
    sqlite3.connect(alien).execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(SemanticStopped) as stopped:
        await launch(
            SemanticOptions(store=f"sqlite://{alien}"), tmp_path / "private" / "s", module=MODULE, ready_s=60
        )
    assert stopped.value.status == EXIT_REFUSED and "belongs to another program" in str(stopped.value)
    # The directory is the parent's: without it, anybody could make one of its name.
    assert list((tmp_path / "private").iterdir()) == []


async def test_a_library_that_is_missing_is_not_worth_another_try(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from semantic_cache.embed.errors import BadEmbedder\n"
        "from semantic_cache.semantic.service.options import read_options\n"
        "from semantic_cache.semantic.service.process import run\n"
        "def build(options):\n"
        "    raise BadEmbedder('It needs\\na library.') from ImportError('library')\n"
        "sys.exit(run(Path(sys.argv[1]), read_options(), build))\n"
    )
    let_children_import()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(tmp_path / "s")), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(msgspec.json.encode(SemanticOptions(store=f"sqlite://{tmp_path}/c.db")) + b"\n")
    async with asyncio.timeout(PATIENT_S):
        assert await process.stdout.readline() == b"refused: It needs a library.\n"
        assert await process.wait() == EXIT_UNUSABLE
    process.stdin.close()


async def test_a_label_takes_no_more_from_the_store_than_its_own_budget(tmp_path: Path) -> None:
    async with running_semantic(tmp_path, max_entries=5, max_mb=10_000) as semantic:
        for number in range(20):
            await semantic.put(f"question {number} about thing {number * 7}")
        await semantic.put(STORED)
        await semantic.until(21)
        looked = await semantic.look(NEAR)
        assert await semantic.client.ask(Learn(looked.ticket, True), Learned, PATIENT_S) == Learned(True)
        # Whoever writes makes room, by the budget that it was given.
        await semantic.until((await semantic.store.stats()).entries)
        assert (await semantic.store.stats()).entries <= 5


async def test_it_ends_when_something_happens_that_nobody_foresaw(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as server:
        async with running_semantic(tmp_path, server.url) as semantic:
            with redis.Redis(port=server.port) as client:
                # No name that this program gives a tenant.
                client.hset(TENANTS, b"\xff", b"1")
            async with asyncio.timeout(PATIENT_S):
                assert await semantic.process.wait() == EXIT_BROKEN


async def test_a_vector_that_is_none_is_made_anew(semantic: Semantic) -> None:
    mine = (await semantic.look("blue cheese")).embedder
    await semantic.put(STORED, embedder=mine, vector=b"\0\x3c\0")
    await semantic.put("who baked the bread", embedder=mine, vector=b"\0\x7e" * 64)
    await semantic.until(2)
    assert (await semantic.look(REORDERED)).serve is not None
    assert (await semantic.look("the bread who baked")).serve is not None


async def test_it_takes_its_socket_along(semantic: Semantic) -> None:
    assert oct(semantic.socket.stat().st_mode & 0o777) == "0o600"
    await semantic.process.stop()
    assert semantic.process.process.returncode == 0
    assert not semantic.socket.exists() and semantic.socket.parent.exists()


async def test_it_leaves_with_its_socket_when_its_parent_is_killed(tmp_path: Path) -> None:
    let_children_import()
    directory = tmp_path / "private"
    directory.mkdir()
    program = (
        "import asyncio, sys, pathlib\n"
        "from semantic_cache.semantic.launcher import SemanticOptions, launch\n"
        f"options = SemanticOptions(store='sqlite://{tmp_path}/cache.db')\n"
        f"process = asyncio.run(launch(options, pathlib.Path('{directory}/s'), module='{MODULE}'))\n"
        "print(process.process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    async with asyncio.timeout(PATIENT_S):
        while directory.exists():
            await asyncio.sleep(0.01)
        while _alive(child):
            await asyncio.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().split(")")[1].split()[0] != "Z"


async def test_a_look_that_nobody_waits_for_any_more_is_not_decided(semantic: Semantic) -> None:
    await semantic.put(STORED)
    await semantic.until(1)
    asked = look(REORDERED, patience_s=0.0)
    assert await semantic.client.ask(asked, Looked, PATIENT_S) is None
    assert semantic.outcomes[-1] == "late"
    assert (await semantic.look(REORDERED, patience_s=PATIENT_S)).serve is not None


async def test_it_follows_redis_as_well(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as server:
        async with running_semantic(tmp_path, server.url) as semantic:
            await semantic.put(STORED)
            await semantic.until(1)
            looked = await semantic.look(NEAR)
            assert looked.serve == key(STORED).digest
            assert await semantic.client.ask(Learn(looked.ticket, False), Learned, PATIENT_S) == Learned(
                False
            )
            assert (await semantic.look(NEAR)).serve is None
            # What it holds survives the server; what it is told afterwards comes from another one.
            server.kill()
            server.start()
            await semantic.until(0)
            await semantic.put("who baked the bread")
            await semantic.until(1)


async def test_texts_come_back_in_their_order(semantic: Semantic) -> None:
    embedded = await semantic.client.ask(Embed(["a", "b", "a"]), Embedded, PATIENT_S)
    assert embedded is not None and embedded.dim == 64
    assert embedded.vectors[0] == embedded.vectors[2] != embedded.vectors[1]
