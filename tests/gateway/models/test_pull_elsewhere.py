"""Models by reference: the user's own files, and Hugging Face's cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from gateway.models.errors import ModelNotPulled, ModelUnknown, NotAModel, PullFailed
from gateway.models.pull import pull
from gateway.models.store import ModelStore
from tests.gateway.models.conftest import Said


class Hub:
    """Stands in for the hub's client, which tests cannot reach: remembers calls and gives `answer`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Path | Exception) -> None:
        self.answer = answer
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self._download)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", self._download)

    def _download(self, *args: Any, **kwargs: Any) -> str:
        self.calls.append((args, kwargs))
        if isinstance(self.answer, Exception):
            raise self.answer
        return str(self.answer)


def test_a_users_own_file_gets_a_name(store: ModelStore, gguf: Path, said: Said) -> None:
    assert pull(str(gguf), store, progress=said) == gguf
    assert store.path("my-model") == gguf
    assert "the files stay where they are" in said.text.getvalue()


def test_a_users_own_file_cannot_take_the_name_of_a_catalog_model(store: ModelStore, gguf: Path) -> None:
    own = gguf.with_name("tiny.gguf")
    gguf.rename(own)
    with pytest.raises(PullFailed, match="rename"):
        pull(str(own), store)


def test_a_path_that_holds_no_model_is_refused(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(NotAModel):
        pull(str(tmp_path), store)


def test_what_is_neither_name_nor_path_nor_repository_is_unknown(store: ModelStore) -> None:
    with pytest.raises(ModelUnknown, match="Did you mean 'tiny'"):
        pull("tinny", store)


def test_a_repository_is_referred_to_in_the_hubs_cache(
    store: ModelStore, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(monkeypatch, checkpoint)
    assert pull("org/name", store) == checkpoint
    assert store.path("org/name") == checkpoint
    assert pull("org/name", store) == checkpoint
    ((args, kwargs),) = hub.calls
    assert args == ("org/name",)
    assert {"*.safetensors", "config.json", "tokenizer*"} <= set(kwargs["allow_patterns"])
    assert store.remove("org/name").referenced
    assert checkpoint.exists()


def test_one_gguf_of_a_repository(store: ModelStore, gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch, gguf)
    assert pull("org/name:sub/q4.gguf", store) == gguf
    assert hub.calls == [(("org/name", "sub/q4.gguf"), {})]
    assert store.path("org/name:sub/q4.gguf") == gguf
    with pytest.raises(ModelNotPulled):
        store.path("org/name")


def test_a_repository_without_safetensors_says_how_to_name_a_file(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Hub(monkeypatch, tmp_path)
    with pytest.raises(NotAModel, match=r"org/name:FILE\.gguf"):
        pull("org/name", store)
    assert store.list() == []


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (LocalEntryNotFoundError("…"), PullFailed, "cannot be reached"),
        (ConnectionError("reset by peer"), PullFailed, "reset by peer"),
        (huggingface_hub.errors.EntryNotFoundError("404"), ModelUnknown, "has no file"),
    ],
)
def test_the_hubs_failures_become_ours(
    store: ModelStore,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    expected: type[Exception],
    message: str,
) -> None:
    Hub(monkeypatch, error)
    with pytest.raises(expected, match=message):
        pull("org/name:q4.gguf", store)
    assert store.list() == []
