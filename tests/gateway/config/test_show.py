from __future__ import annotations

from pathlib import Path

from gateway.config.load import load_config
from gateway.config.show import as_yaml


def test_secrets_are_masked() -> None:
    shown = as_yaml(load_config(None, environ={"OPENAI_API_KEY": "sk-secret"}))
    assert "sk-secret" not in shown and "api_key: '********'" in shown


def test_the_password_of_a_store_is_masked_and_its_address_is_not() -> None:
    url = "redis://user:hunter2@cache.example:6379/0"
    shown = as_yaml(load_config(None, environ={"FOREBAY__STATE__STORE": url}))
    assert "hunter2" not in shown and "redis://********@cache.example:6379/0" in shown
    assert "store: sqlite://.forebay/state.db" in as_yaml(load_config(None, environ={}))


def test_what_is_shown_can_be_loaded_again(tmp_path: Path) -> None:
    config = load_config(None, environ={})
    (tmp_path / "again.yaml").write_text(as_yaml(config))
    assert load_config(tmp_path / "again.yaml", environ={}) == config
