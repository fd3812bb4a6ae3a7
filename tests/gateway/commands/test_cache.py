"""`forebay cache` on a real store."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.cli import build_app
from gateway.compression.kept import Kept
from semantic_cache.record import Learnt, encode
from semantic_cache.scope import ExactKey
from semantic_cache.store.base import Kept as KeptEntry
from semantic_cache.store.open import open_store
from tests.gateway.support.running import chat
from tests.gateway.support.upstream import completion

CONFIG = """
upstreams: {{up: {{kind: openai, base_url: 'http://127.0.0.1:9/v1'}}}}
models: {{m: {{upstream: up}}, other: {{upstream: up}}}}
cache:
  store: 'sqlite://{folder}/{name}.db'
  semantic: {{}}
  shared: [{{name: team, tenants: [ada, bob], models: [m]}}]
"""


class Cli:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.use("cache")

    def use(self, name: str) -> None:
        """Go on with another store."""
        self.url = f"sqlite://{self.folder}/{name}.db"
        self.config = self.folder / f"{name}.yaml"
        self.config.write_text(CONFIG.format(folder=self.folder, name=name))

    def __call__(self, *arguments: str) -> str:
        self._capsys.readouterr()
        build_app()(["cache", *arguments, "--config", str(self.config)], result_action="return_value")
        return self._capsys.readouterr().out

    def fails(self, *arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            self(*arguments)
        assert ended.value.code not in (0, None)
        return self._capsys.readouterr().err

    def warm(self, *questions: str, tenant: str = "default", model: str = "m") -> str:
        lines = self.folder / "traffic.jsonl"
        pairs: list[dict[str, Any]] = [
            {
                "request": chat(model, messages=[{"role": "user", "content": question}]),
                "response": json.loads(completion(f"answer to {question}")),
            }
            for question in questions
        ]
        lines.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
        return self("warm", str(lines), "--tenant", tenant)

    def count(self, tenant: str | None = None) -> dict[str, Any]:
        only = ["--tenant", tenant] if tenant is not None else []
        counted: dict[str, Any] = json.loads(self("stats", "--json", *only))
        return counted


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(tmp_path, capsys)


def test_warms_and_counts(cli: Cli) -> None:
    assert cli.warm("what is a heron", "who built the dam") == "2 stored\n"
    cli.warm("what is a heron", tenant="acme", model="other")
    counted = cli.count()
    assert (counted["entries"], counted["semantic_records"]) == (3, 3)
    assert counted["tenants"]["acme"]["models"] == {"other": 1}
    assert counted["tenants"]["default"]["models"] == {"m": 2}
    assert cli("stats").startswith("3 answers that ")


def test_what_was_left_out_of_prompts_is_no_answer(cli: Cli) -> None:
    cli.warm("what is a heron")

    async def keep() -> None:
        store = open_store(cli.url)
        await Kept(store, 600).keep("default", "m", "line\n" * 90, "[lines 1-90 left out]", "tool")
        await store.close()

    asyncio.run(keep())
    counted = cli.count()
    assert (counted["entries"], counted["left_out_texts"]) == (1, 1)
    assert counted["tenants"]["default"]["models"] == {"m": 1}


def test_warming_leaves_out_what_admission_would(cli: Cli) -> None:
    lines = cli.folder / "mixed.jsonl"
    cut = json.loads(completion("x"))
    cut["choices"][0]["finish_reason"] = "length"
    good = json.loads(completion("x"))
    lines.write_text(
        "\n".join(
            json.dumps(line)
            for line in (
                {"request": chat(), "response": cut},
                {"request": chat("nowhere"), "response": good},
                {"request": chat(n=2), "response": good},
                {"request": "no"},
                {"request": chat(messages=[{"role": "user", "content": "news today?"}]), "response": good},
            )
        )
    )
    said = cli("warm", str(lines))
    assert said.startswith("1 stored\n")
    for word in ("length", "unknown_model", "choices", "malformed"):
        assert f"1 left out: {word}\n" in said
    assert cli.count()["semantic_records"] == 0


def test_purges_by_tenant_model_and_epoch_and_tries_it_dry_first(cli: Cli) -> None:
    cli.warm("one", "two")
    cli.warm("one", model="other")
    cli.warm("one", tenant="acme")
    assert cli("purge", "--model", "m", "--dry-run") == "3 answers would be purged\n"
    assert cli.count()["tenants"].keys() == {"acme", "default"}
    cli("purge", "--model", "m", "--tenant", "default")
    assert cli.count()["tenants"]["default"] == {"epoch": 1, "models": {"other": 1}}
    assert cli.count("acme")["tenants"]["acme"]["models"] == {"m": 1}
    cli.warm("three")
    assert cli("purge", "--tenant", "default", "--before-epoch", "1", "--dry-run").startswith("1 ")
    cli("purge", "--tenant", "default", "--before-epoch", "1")
    assert cli.count("default")["tenants"]["default"]["models"] == {"m": 1}
    cli("purge", "--everything")
    assert cli.count()["tenants"] == {} and cli.count()["entries"] == 0


def test_purging_needs_to_be_told_what(cli: Cli) -> None:
    assert "say what to purge" in cli.fails("purge")
    assert "not both" in cli.fails("purge", "--model", "m", "--tag", "t")


def held(url: str, teach: bool = False) -> dict[ExactKey, KeptEntry]:
    """What a store holds; if wanted, after one of its entries has learnt something."""

    async def read() -> dict[ExactKey, KeptEntry]:
        store = open_store(url)
        found = {kept.key: kept async for kept in store.scan()}
        if teach:
            assert await store.teach(next(iter(found)), b"", encode(Learnt(b"x", (b"q",))))
            found = {kept.key: kept async for kept in store.scan()}
        await store.close()
        return found

    return asyncio.run(read())


def test_an_export_is_taken_in_elsewhere_with_all_that_was_learnt(cli: Cli) -> None:
    cli.warm("one", "two")
    cli.warm("one", tenant="acme")
    file = cli.folder / "export.jsonl"
    before = held(cli.url, teach=True)
    assert cli("export", str(file)) == "3 answers written\n"
    assert file.stat().st_mode & 0o777 == 0o600
    cli.use("elsewhere")
    assert cli("import", str(file)) == "3 stored\n"
    assert held(cli.url) == before


def test_an_import_leaves_out_what_is_too_old_or_no_export(cli: Cli) -> None:
    cli.warm("one")
    file = cli.folder / "export.jsonl"
    cli("export", str(file))
    line = json.loads(file.read_text())
    old = json.loads(json.dumps(line))
    past = time.time() - 10
    old["entry"][4:7] = [past - 10, past, past]
    foreign = {**line, "tenant": "acme"}
    file.write_text("\n".join(map(json.dumps, (old, foreign, {"x": 1}))) + "\nnot json\n")
    cli.use("elsewhere")
    said = cli("import", str(file))
    assert said.startswith("0 stored\n") and "1 left out: expired\n" in said
    assert "3 left out: malformed\n" in said


def test_says_in_a_line_what_cannot_be_done(cli: Cli) -> None:
    assert "No such file" in cli.fails("warm", str(cli.folder / "nowhere.jsonl"))
    cli.config.write_text("cache: null\n")
    assert "has no cache" in cli.fails("stats")
    assert "has no semantic cache" in cli.fails("explain", "what is it", "--model", "smollm2")


def test_what_is_warmed_for_a_group_is_all_its_tenants(cli: Cli) -> None:
    assert cli.warm("one", "two", tenant="@team") == "2 stored\n"
    assert cli.warm("one", tenant="@team", model="other") == "0 stored\n1 left out: not_shared\n"
    assert "has no group 'nobody'" in cli.fails(
        "warm", str(cli.folder / "traffic.jsonl"), "--tenant", "@nobody"
    )
    cli.warm("one", tenant="ada")
    # The tenants' keys differ from the group's in whose they are, and in nothing else.
    digests = {where.tenant: where.digest for where in held(cli.url)}
    assert len({where.digest for where in held(cli.url)}) == 2 and "ada" in digests


def confirmed(url: str) -> None:
    """Let a group take over what `ada` has."""

    async def work() -> None:
        store = open_store(url)
        for kept in [kept async for kept in store.scan("ada")]:
            taken = {"contributor": "ada", "contributed": kept.entry.epoch, "epoch": 0}
            entry = msgspec.structs.replace(kept.entry, tenant="@team", **taken)
            assert await store.confirm(kept.key.held_by("@team"), entry, None)
        await store.close()

    asyncio.run(work())


def test_counts_and_purges_what_a_group_has_of_a_tenant(cli: Cli) -> None:
    cli.warm("one", "two", tenant="ada")
    cli.warm("one", tenant="bob")
    confirmed(cli.url)
    assert cli.count()["tenants"]["@team"] == {"epoch": 0, "models": {"m": 2}, "contributors": {"ada": 2}}
    assert cli.count("@team")["entries"] == 2
    assert cli("purge", "--tenant", "ada", "--dry-run") == "4 answers would be purged\n"
    cli("purge", "--tenant", "ada")
    assert cli.count()["tenants"].keys() == {"bob"}
