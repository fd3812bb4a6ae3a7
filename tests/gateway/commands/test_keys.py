"""`forebay keys`."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli import build_app
from gateway.config.load import load_config
from gateway.config.schema import Limits, StoreUrl
from gateway.state.keys.key import HASH_PREFIX, digest_of
from gateway.state.open import open_keys

STORE = ".forebay/state.db"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FOREBAY__STATE__STORE", raising=False)
    return tmp_path


@pytest.fixture
def forebay(capsys: pytest.CaptureFixture[str]):
    """Runs a command line and returns its status and what it printed."""

    def run(line: str) -> tuple[int, str, str]:
        try:
            build_app()(line.split(), exit_on_error=False, print_error=False, result_action="return_value")
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_a_key_is_shown_once(forebay, folder: Path) -> None:
    status, key, note = forebay("keys create team")
    key = key.strip()
    assert status == 0 and key.startswith("fb-") and "not shown again" in note and key not in note
    assert key not in forebay("keys list")[1]
    (record,) = open_keys(StoreUrl(f"sqlite://{folder / STORE}")).snapshot().keys
    assert record.tenant == "team" and record.key_hash == HASH_PREFIX + digest_of(key).hex()


def test_listing_makes_no_file(forebay, folder: Path) -> None:
    assert forebay("keys list") == (0, "ID  TENANT  CREATED  STATE  LIMITS\n", "")
    assert not (folder / ".forebay").exists()


def test_limits_are_shown_and_kept(forebay) -> None:
    forebay("keys create team --rpm 60 --tpm 1000 --usd-per-day 2.5")
    forebay("keys create team")
    lines = forebay("keys list")[1].splitlines()
    assert len(lines) == 3 and all("rpm=60, tpm=1000, usd_per_day=2.5" in line for line in lines[1:])


def test_a_revoked_key_is_listed_as_such(forebay) -> None:
    key = forebay("keys create team")[1].strip()
    key_id = key.split("-")[1]
    assert forebay(f"keys revoke {key_id}")[:2] == (0, f"{key_id} is revoked\n")
    assert "revoked" in forebay("keys list")[1]
    status, _, error = forebay(f"keys revoke {key_id}")
    assert status == 1 and error.startswith("forebay: there is no valid key")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("keys create ../x", "a tenant's name is made of"),
        ("keys create team --rpm 0", "--rpm is too small"),
        ("keys create team --usd-per-day -1", "--usd-per-day is too small"),
    ],
)
def test_what_cannot_be_is_refused(forebay, folder: Path, line: str, message: str) -> None:
    status, out, error = forebay(line)
    assert (status, out) == (2, "") and message in error
    assert not (folder / ".forebay").exists()


def test_limits_stand_in_one_place(forebay, folder: Path) -> None:
    (folder / "forebay.yaml").write_text("tenants: [{name: team, limits: {rpm: 5}}]")
    status, _, error = forebay("keys create team --rpm 6")
    assert status == 2 and "stand in the configuration" in error
    assert forebay("keys create team")[0] == 0
    assert "rpm=5" in forebay("keys list")[1]


def test_an_entry_for_the_configuration(forebay, folder: Path) -> None:
    status, key, entry = forebay("keys create team --rpm 5 --print-only")
    assert status == 0 and not (folder / ".forebay").exists()
    (folder / "forebay.yaml").write_text(entry)
    (tenant,) = load_config(None, environ={}).tenants
    assert tenant.name == "team" and tenant.limits == Limits(rpm=5)
    assert tenant.key_hash == HASH_PREFIX + digest_of(key.strip()).hex()
    assert "in the configuration" in forebay("keys list")[1]


def test_the_first_key_of_a_gateway_for_a_network(forebay, folder: Path) -> None:
    (folder / "forebay.yaml").write_text("server: {host: 0.0.0.0}")
    status, _, error = forebay("config check")
    assert status == 2 and "forebay keys create NAME" in error
    assert forebay("keys create team")[0] == 0
    assert forebay("config check")[0] == 0


def test_a_damaged_store_is_one_line(forebay, folder: Path) -> None:
    (folder / ".forebay").mkdir()
    (folder / STORE).write_bytes(b"not a database" * 100)
    for line in ("keys list", "keys create team", "keys revoke 0"):
        status, _, error = forebay(line)
        assert status == 1 and error.count("\n") == 1 and "state.db" in error
    (folder / "forebay.yaml").write_text("server: {host: 0.0.0.0}")
    status, _, error = forebay("config check")
    assert status == 2 and "cannot find out whether there are keys" in error
