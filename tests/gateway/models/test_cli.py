"""`forebay models`: what it prints and its exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.models.cli import models_app


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_HOME", str(tmp_path / "home"))


def run(*argv: str) -> int:
    with pytest.raises(SystemExit) as ended:
        models_app(list(argv))
    return int(ended.value.code or 0)


def test_a_models_life(gguf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pull", str(gguf)) == 0
    assert f"my-model refers to {gguf}" in capsys.readouterr().err
    assert run("list") == 0
    listed = capsys.readouterr().out
    assert f"-> {gguf}" in listed
    assert "forebay models pull smollm2-135m-instruct" in listed
    assert run("rm", "my-model") == 0
    assert f"its files stay at {gguf}" in capsys.readouterr().out
    assert gguf.exists()


@pytest.mark.parametrize("argv", [("pull", "smolm2"), ("rm", "smollm2")])
def test_an_error_is_one_line_on_standard_error(
    argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*argv) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("forebay: ")
    assert captured.err.count("\n") == 1
