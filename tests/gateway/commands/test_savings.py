"""The part of `forebay cache stats` that tells of savings."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import build_app
from gateway.config.schema import StoreUrl
from gateway.state.open import open_savings
from gateway.state.savings.base import ACTUAL, DIRECT, UNPRICED, Amount, Place, day_of


@pytest.fixture
def config(tmp_path: Path) -> Path:
    store = StoreUrl(f"sqlite://{tmp_path}/state.db")
    today = day_of(time.time())
    amounts = {
        Place("ada", today - 3, DIRECT): Amount(4, 4_000_000_000),
        Place("ada", today, ACTUAL): Amount(4, 1_000_000_000),
        Place("ada", today, "exact"): Amount(3, 3_500_000_000, 9_000_000),
        Place("ada", today, "escalation"): Amount(1, -500_000_000, -1_000_000),
        Place("bob", today, UNPRICED): Amount(2),
    }
    open_savings(store).add(amounts, "one")
    path = tmp_path / "forebay.yaml"
    path.write_text(
        f"state: {{store: '{store.reveal()}'}}\ncache: {{store: 'sqlite://{tmp_path}/cache.db'}}\n"
    )
    return path


def run(config: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    command = ["cache", "stats", "--config", str(config), *arguments]
    build_app()(command, result_action="return_value")
    said = capsys.readouterr()
    return said.out, said.err


def savings(config: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(run(config, capsys, "--json", *arguments)[0])["savings"]


def test_each_tenants_layers_stand_in_a_table(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run(config, capsys)
    assert "ada, last 30 days: 4 requests would have cost $4.000000 and cost $1.000000" in out
    assert "saved $3.000000 (75.0%)" in out
    assert ["exact", "3", "3.500000", "9.0"] in [line.split() for line in out.splitlines()]
    assert ["escalation", "1", "-0.500000", "-1.0"] in [line.split() for line in out.splitlines()]
    assert "2 requests without a price" in out


def test_json_has_them_by_tenant(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = savings(config, capsys)
    assert set(found) == {"ada", "bob"}
    assert found["ada"]["saved_usd"] == sum(layer["usd"] for layer in found["ada"]["layers"].values()) == 3
    assert set(savings(config, capsys, "--tenant", "ada")) == {"ada"}


def test_only_the_days_that_are_asked_for(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert savings(config, capsys, "--days", "3")["ada"]["direct_usd"] == 0
    assert savings(config, capsys, "--days", "4")["ada"]["direct_usd"] == 4
    with pytest.raises(SystemExit):
        run(config, capsys, "--days", "0")


def test_the_cache_is_counted_without_them(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database" * 100)
    out, err = run(config, capsys, "--json")
    assert json.loads(out)["savings"] is None
    assert "no savings" in err
