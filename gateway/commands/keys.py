"""`forebay keys`: makes, lists and revokes the keys that clients of the gateway send."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from gateway.commands.failure import EXIT_USAGE, errors_as_exit_status, fail
from gateway.config.load import load_config
from gateway.config.schema import TENANT_NAME, Config, Limits
from gateway.errors import ConfigError
from gateway.state.keys.base import Snapshot
from gateway.state.keys.key import KeyRecord, new_key
from gateway.state.open import open_keys

keys_app = App(name="keys", help="Make, list and revoke the keys that clients of the gateway send.")


@keys_app.command
def create(
    name: str,
    /,
    *,
    rpm: int | None = None,
    tpm: int | None = None,
    usd_per_day: float | None = None,
    print_only: Annotated[bool, Parameter(negative=())] = False,
    config: Path | None = None,
) -> None:
    """Make a key for a tenant and print it, this once: only its hash is kept.

    Running gateways take it within a second.
    Limits that are given here replace the tenant's; without any, it keeps those that it has.

    Parameters
    ----------
    name
        The tenant; it may have several keys, which share its limits.
    rpm
        Requests per minute.
    tpm
        Tokens per minute.
    usd_per_day
        US dollars per day of UTC.
    print_only
        Store nothing; print the entry for `tenants` in the configuration instead.
    config
        Configuration file (default: forebay.yaml in the working directory, if there is one).
    """
    if not re.fullmatch(TENANT_NAME, name):
        raise fail(
            "a tenant's name is made of letters, digits, '.', '_' and '-', and begins with a letter or digit",
            EXIT_USAGE,
        )
    limits = _limits(rpm, tpm, usd_per_day)
    key, record = new_key(name)
    if print_only:
        sys.stderr.write(_entry(record, limits))
    else:
        with errors_as_exit_status():
            settings = _settings(config)
            if limits is not None and any(tenant.name == name for tenant in settings.tenants):
                raise ConfigError(f"the limits of '{name}' stand in the configuration; change them there")
            open_keys(settings.state.store).add(record, limits)
        sys.stderr.write(f"Key {record.id} of tenant '{name}'. It is not shown again:\n")
    sys.stdout.write(f"{key}\n")


@keys_app.command(name="list")
def list_keys(*, config: Path | None = None) -> None:
    """List all keys, revoked ones included, with the limits of their tenants.

    Parameters
    ----------
    config
        Configuration file (default: forebay.yaml in the working directory, if there is one).
    """
    with errors_as_exit_status():
        settings = _settings(config)
        snapshot = open_keys(settings.state.store).snapshot()
    rows = [("ID", "TENANT", "CREATED", "STATE", "LIMITS"), *_rows(settings, snapshot)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


@keys_app.command
def revoke(key_id: str, /, *, config: Path | None = None) -> None:
    """Make a key invalid for ever. Running gateways refuse it within a second.

    Parameters
    ----------
    key_id
        Its id, as `forebay keys list` shows it: the part of the key between `fb-` and the next `-`.
    config
        Configuration file (default: forebay.yaml in the working directory, if there is one).
    """
    with errors_as_exit_status():
        done = open_keys(_settings(config).state.store).revoke(key_id, int(time.time()))
    if not done:
        raise fail(f"there is no valid key '{key_id}' (see 'forebay keys list')")
    sys.stdout.write(f"{key_id} is revoked\n")


def _settings(config: Path | None) -> Config:
    # A gateway that shall listen beyond this machine must be given its first key somehow.
    return load_config(config, flags={("server", "host"): "127.0.0.1"})


def _limits(rpm: int | None, tpm: int | None, usd_per_day: float | None) -> Limits | None:
    given = {"rpm": rpm, "tpm": tpm, "usd_per_day": usd_per_day}
    if all(limit is None for limit in given.values()):
        return None
    try:
        return msgspec.convert(given, Limits)
    except msgspec.ValidationError as error:
        name = str(error).partition("$.")[2].rstrip("`").replace("_", "-")
        raise fail(f"--{name} is too small", EXIT_USAGE) from None


def _entry(record: KeyRecord, limits: Limits | None) -> str:
    shown = f", limits: {{{_shown(limits, ': ')}}}" if limits is not None else ""
    return f"tenants: [{{name: {record.tenant}, key_hash: '{record.key_hash}'{shown}}}]\n"


def _rows(settings: Config, snapshot: Snapshot) -> list[tuple[str, ...]]:
    limits: Mapping[str, Limits] = {
        **snapshot.limits,
        **{tenant.name: tenant.limits for tenant in settings.tenants},
    }
    rows: list[tuple[str, ...]] = [
        ("-", tenant.name, "-", "in the configuration", _shown(tenant.limits))
        for tenant in settings.tenants
        if tenant.key_hash is not None
    ]
    for key in snapshot.keys:
        created = datetime.fromtimestamp(key.created, UTC).strftime("%Y-%m-%d")
        state = "valid" if key.revoked is None else "revoked"
        rows.append((key.id, key.tenant, created, state, _shown(limits.get(key.tenant))))
    return rows


def _shown(limits: Limits | None, equals: str = "=") -> str:
    given = {} if limits is None else msgspec.structs.asdict(limits)
    return ", ".join(f"{name}{equals}{limit:g}" for name, limit in given.items() if limit is not None)
