"""Names become paths, or an error that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.models.catalog import CATALOG, MINILM, SMOLLM2
from gateway.models.errors import ModelNotPulled, ModelUnknown, NotAModel
from gateway.models.store import ModelStore, StoredModel


def test_a_known_model_that_is_not_here_says_the_command(store: ModelStore) -> None:
    with pytest.raises(ModelNotPulled, match=r"forebay models pull tiny$"):
        store.path("tiny")
    with pytest.raises(ModelNotPulled, match=r"forebay models pull org/name:q4\.gguf$"):
        store.path("org/name:q4.gguf")


def test_a_name_and_its_alias_are_the_same_model(store: ModelStore) -> None:
    weights = store.entry("tiny-model") / "tiny.gguf"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"GGUF")
    assert store.path("tiny") == store.path("tiny-model") == weights


def test_a_local_path_is_a_name_itself(store: ModelStore, gguf: Path, checkpoint: Path) -> None:
    assert store.path(str(gguf)) == gguf
    assert store.path(str(checkpoint)) == checkpoint
    assert store.list() == []


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\3\4 not a model"])
def test_a_path_that_holds_no_model_is_refused(store: ModelStore, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.gguf"
    path.write_bytes(content)
    with pytest.raises(NotAModel, match=r"file\.gguf"):
        store.path(str(path))
    with pytest.raises(NotAModel):
        store.path(str(tmp_path))


def test_a_folder_called_like_a_repository_does_not_hide_it(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotPulled):
        store.path("org/name")


def test_an_unknown_name_gets_the_nearest_one(store: ModelStore) -> None:
    with pytest.raises(ModelUnknown, match="Did you mean 'tiny-model'"):
        store.path("tiny-modle")


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".locks", "../../etc", "/nowhere", "~nobody", "~no-such-user", "x" * 5000]
)
def test_no_name_leads_out_of_the_store(store: ModelStore, name: str) -> None:
    with pytest.raises((ModelUnknown, NotAModel)):
        store.path(name)
    with pytest.raises(ModelUnknown):
        store.entry(name)


def test_the_list_shows_weights_and_references(store: ModelStore, gguf: Path) -> None:
    weights = store.entry("tiny-model") / "tiny.gguf"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"GGUF")
    store.refer("org/name:q4.gguf", gguf)
    assert store.list() == [
        StoredModel("org/name:q4.gguf", gguf, gguf.stat().st_size, referenced=True),
        StoredModel("tiny-model", weights, 4, referenced=False),
    ]


def test_a_reference_whose_files_have_gone_is_not_pulled(store: ModelStore, gguf: Path) -> None:
    store.refer("org/name", gguf)
    assert store.path("org/name") == gguf
    gguf.unlink()
    assert store.list() == []
    with pytest.raises(ModelNotPulled):
        store.path("org/name")


def test_removing_deletes_our_files_and_keeps_the_users(store: ModelStore, gguf: Path) -> None:
    weights = store.entry("tiny-model") / "tiny.gguf"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"GGUF")
    store.refer("mine", gguf)
    assert store.remove("tiny").name == "tiny-model"
    assert store.remove("mine").referenced
    assert not weights.parent.exists()
    assert gguf.exists()
    assert store.list() == []
    with pytest.raises(ModelUnknown):
        store.remove("tiny")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"FOREBAY_HOME": "/data/forebay", "XDG_CACHE_HOME": "/cache"}, "/data/forebay/models"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/forebay/models"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/someone/.cache/forebay/models"),
        ({}, "/home/someone/.cache/forebay/models"),
    ],
)
def test_where_models_lie(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], expected: str) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    for variable in ("FOREBAY_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    assert ModelStore().root == Path(expected)


def test_every_catalog_entry_is_pinned() -> None:
    assert CATALOG["smollm2"] is CATALOG["smollm2-135m-instruct"] is SMOLLM2
    assert CATALOG["minilm-l6"] is CATALOG["sentence-transformers/all-MiniLM-L6-v2"] is MINILM
    for model in CATALOG.values():
        assert "==" in model.requirement
        assert len(model.wheel_sha256) == 64
        assert all(len(file.sha256) == 64 for file in model.files)
