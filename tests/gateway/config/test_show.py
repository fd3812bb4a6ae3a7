from __future__ import annotations

from pathlib import Path

from gateway.config.load import load_config
from gateway.config.show import as_yaml


def test_secrets_are_masked() -> None:
    shown = as_yaml(load_config(None, environ={"OPENAI_API_KEY": "sk-secret"}))
    assert "sk-secret" not in shown and "api_key: '********'" in shown


def test_what_is_shown_can_be_loaded_again(tmp_path: Path) -> None:
    config = load_config(None, environ={})
    (tmp_path / "again.yaml").write_text(as_yaml(config))
    assert load_config(tmp_path / "again.yaml", environ={}) == config
