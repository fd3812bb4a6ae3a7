from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from gateway.config.load import load_config
from gateway.config.schema import Config
from gateway.screen import Screen
from gateway.state.keys.key import new_key
from gateway.state.keys.sqlite import SqliteKeys
from gateway.upstreams.base import State

URL = "http://127.0.0.1:8080"


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Config:
    monkeypatch.chdir(tmp_path)
    return load_config(None, environ={})


@pytest.fixture
def out() -> StringIO:
    return StringIO()


@pytest.fixture
def screen(config: Config, out: StringIO) -> Screen:
    return Screen(config, None, Console(file=out, highlight=False, soft_wrap=True))


def test_it_says_what_it_waits_for_and_then_how_to_use_it(screen: Screen, out: StringIO) -> None:
    screen.engine_changed("engine", State.STARTING, "")
    screen.listening(URL)
    assert "engine: loading smollm2-135m-instruct …" in out.getvalue()
    assert "Ready" not in out.getvalue()
    screen.engine_changed("engine", State.READY, "")
    assert "Ready after" in out.getvalue()
    assert f"curl {URL}/v1/chat/completions" in out.getvalue()
    assert '"model": "auto"' in out.getvalue()
    assert 'api_key="not-needed"' in out.getvalue() and "authorization" not in out.getvalue()


def test_where_a_key_is_asked_for_the_examples_have_one(
    screen: Screen, out: StringIO, tmp_path: Path
) -> None:
    screen.listening(URL)
    SqliteKeys(tmp_path / ".forebay" / "state.db").add(new_key("a")[1], None)
    screen.engine_changed("engine", State.READY, "")
    assert "-H 'authorization: Bearer fb-…'" in out.getvalue() and 'api_key="fb-…"' in out.getvalue()


def test_an_engine_may_be_ready_before_the_port_is_open(screen: Screen, out: StringIO) -> None:
    screen.engine_changed("engine", State.READY, "")
    assert "Ready" not in out.getvalue()
    screen.listening(URL)
    assert out.getvalue().count("Ready after") == 1


def test_a_failure_is_shown_and_so_is_the_return(screen: Screen, out: StringIO) -> None:
    screen.listening(URL)
    screen.engine_changed("engine", State.READY, "")
    screen.engine_changed("engine", State.FAILED, "the engine ended with status 9; next try in 1 s")
    screen.engine_changed("engine", State.READY, "")
    assert "engine: the engine ended with status 9; next try in 1 s" in out.getvalue()
    assert "engine: ready again" in out.getvalue()
    assert out.getvalue().count("curl") == 1


def test_the_examples_address_is_one_that_works_here(screen: Screen, out: StringIO) -> None:
    screen.engine_changed("engine", State.READY, "")
    screen.listening("http://0.0.0.0:8080")
    assert "0.0.0.0" not in out.getvalue() and URL in out.getvalue()


def test_the_curl_example_can_be_pasted(screen: Screen, out: StringIO) -> None:
    screen.engine_changed("engine", State.READY, "")
    screen.listening(URL)
    example = out.getvalue().split("\n\n")[1]
    assert example.count("\\\n") == 1 and "[{" in example
