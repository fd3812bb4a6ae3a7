"""The `forebay` command as a user types it, in its own process where that matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend_engine.launcher import EngineOptions
from gateway.cli import build_app
from gateway.commands import unbuilt
from gateway.commands.engine import EngineFlags, engine_options


def forebay(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run a command in this process; gives status, standard output and standard error."""
    status = 0
    try:
        build_app()(arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for variable in list(os.environ):
        if variable.startswith(("FOREBAY__", "OPENAI_")):
            monkeypatch.delenv(variable)
    return tmp_path


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = forebay("--help", capsys=capsys)
    assert status == 0
    for word in ("serve", "engine", "models", "config", "bench", "OpenAI client"):
        assert word in out
    assert not any(f" {name} " in out for name in unbuilt.COMMANDS)


@pytest.mark.parametrize("command", ["serve", "engine", "models", "config", "bench", "config check"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = forebay(*command.split(), "--help", capsys=capsys)
    assert status == 0 and len(out) > 200


def test_the_engines_help_names_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    out = forebay("engine", "--help", capsys=capsys)[1]
    for flag in (
        "--model",
        "--port",
        "--kv-memory-mb",
        "--max-batch-tokens",
        "--no-prefix-cache",
        "[default: 8081]",
    ):
        assert flag in out


@pytest.mark.parametrize("name", unbuilt.COMMANDS)
@pytest.mark.parametrize("arguments", [[], ["x"], ["create", "--name", "y"], ["--help"]])
def test_a_command_that_is_not_built_says_so(
    name: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = forebay(name, *arguments, capsys=capsys)
    assert status == 2 and f"'{name}' is not built yet" in err


def test_importing_another_gateways_configuration_is_not_built(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = forebay("config", "import-litellm", "file.yaml", capsys=capsys)
    assert status == 2 and "'config import-litellm' is not built yet" in err


@pytest.mark.parametrize("arguments", [["srve"], ["serve", "--prot", "1"], ["serve", "--port", "high"]])
def test_a_mistake_on_the_command_line_is_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert forebay(*arguments, capsys=capsys)[0] == 2


def test_a_good_configuration_is_fine(empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert forebay("config", "check", capsys=capsys) == (0, "the default configuration is fine\n", "")
    (empty_folder / "forebay.yaml").write_text("server: {port: 1}")
    assert forebay("config", "check", capsys=capsys) == (0, "forebay.yaml is fine\n", "")


def test_a_bad_configuration_says_where(empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (empty_folder / "x.yaml").write_text("server:\n  prot: 1")
    expected = "forebay: x.yaml:2:3: unknown key 'server.prot', did you mean 'port'?\n"
    for command in (["config", "check"], ["config", "show"], ["serve"]):
        assert forebay(*command, "--config", "x.yaml", capsys=capsys) == (2, "", expected)


def test_the_configuration_in_effect_is_shown_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("FOREBAY__SERVER__PORT", "9000")
    status, out, _ = forebay("config", "show", capsys=capsys)
    assert status == 0 and "port: 9000" in out and "********" in out and "sk-secret" not in out


def test_an_unknown_benchmark_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = forebay("bench", "nope", capsys=capsys)
    assert status == 2 and "there is no benchmark 'nope' (there are: " in err


def test_a_benchmark_gets_its_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr("gateway.commands.bench._names", lambda: ["chat"])
    monkeypatch.setattr("os.execv", lambda path, argv: ran.append(argv))
    forebay("bench", "chat", "--json", "--data", "x", capsys=capsys)
    assert ran == [[sys.executable, "-m", "benchmarks.chat", "--json", "--data", "x"]]


def test_the_engine_gets_the_models_path_and_keeps_its_name(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = empty_folder / "tiny.gguf"
    model.write_bytes(b"GGUF")
    ran: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda path, argv: ran.append(argv))
    forebay(
        "engine",
        "--model",
        str(model),
        "--model-name",
        "tiny",
        "--port",
        "0",
        "--no-prefix-cache",
        capsys=capsys,
    )
    expected = EngineOptions(model=str(model), model_name="tiny", port=0, prefix_cache=False)
    assert ran == [expected.argv()]


def test_without_a_name_the_model_is_served_as_it_was_called(empty_folder: Path) -> None:
    model = empty_folder / "tiny.gguf"
    model.write_bytes(b"GGUF")
    assert engine_options(EngineFlags(model=str(model))).model_name == str(model)


def test_an_unknown_model_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FOREBAY_HOME", str(empty_folder))
    status, _, err = forebay("engine", capsys=capsys)
    assert status == 1 and "forebay models pull smollm2-135m-instruct" in err


def test_the_gateway_imports_no_torch() -> None:
    code = (
        "import json, sys\n"
        "import gateway.cli, gateway.service\n"
        "heavy = {'torch', 'numpy', 'tokenizers', 'transformers', 'gguf', 'safetensors', 'huggingface_hub'}\n"
        "heavy |= {'opentelemetry', 'openai', 'backend_engine.engine'}\n"
        "print(json.dumps(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_the_command_line_alone_does_not_load_the_http_stack() -> None:
    code = "import sys, gateway.cli; print('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
