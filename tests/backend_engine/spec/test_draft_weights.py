"""A draft head's file keeps what was saved, and says for which model it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from backend_engine.errors import CheckpointError
from backend_engine.model_config import ModelConfig
from backend_engine.quant.blocks import round_to_eight_bits
from backend_engine.spec.draft_weights import LINEARS, VECTORS, DraftWeights, fingerprint

CONFIG = ModelConfig("llama", 100, 64, 96, 6, 2, 2, 32, 128)


def piece(token: int) -> bytes:
    return f"piece {token}".encode()


def small() -> DraftWeights:
    torch.manual_seed(3)
    shapes = {"features": (64, 128), "token": (64, 64), "gate_up": (192, 64), "down": (64, 96)}
    vocabulary = torch.arange(5, 37)
    return DraftWeights(
        taps=(3, 6),
        eps=1e-5,
        pieces=fingerprint(vocabulary, piece),
        num_layers=6,
        vocabulary=vocabulary,
        feature_norm=torch.rand(2, 64),
        mlp_norm=torch.rand(64),
        norm=torch.rand(64),
        linears={name: round_to_eight_bits(torch.randn(shape)) for name, shape in shapes.items()},
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    saved = small()
    saved.save(tmp_path / "head.safetensors")
    loaded = DraftWeights.load(tmp_path / "head.safetensors")
    assert (loaded.taps, loaded.eps, loaded.hidden, loaded.inner) == ((3, 6), 1e-5, 64, 96)
    assert torch.equal(loaded.vocabulary, saved.vocabulary)
    for name in VECTORS:
        assert torch.equal(getattr(loaded, name), getattr(saved, name))
    for name in LINEARS:
        assert torch.equal(loaded.linears[name].dequantize(), saved.linears[name].dequantize())


@pytest.mark.parametrize(
    ("config", "pieces", "fits"),
    [
        (CONFIG, piece, True),
        (ModelConfig("llama", 100, 96, 96, 6, 3, 3, 32, 128), piece, False),
        (ModelConfig("llama", 100, 64, 96, 7, 2, 2, 32, 128), piece, False),
        (ModelConfig("llama", 30, 64, 96, 6, 2, 2, 32, 128), piece, False),
        (CONFIG, lambda token: b"another %d" % token, False),
    ],
    ids=["its own", "wider", "deeper", "fewer tokens", "other tokens"],
)
def test_it_fits_models_of_its_shape_and_vocabulary(config: ModelConfig, pieces: object, fits: bool) -> None:
    assert small().fits(config, pieces) == fits  # type: ignore[arg-type]


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    with pytest.raises(CheckpointError, match=r"head\.safetensors"):
        DraftWeights.load(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="not a readable draft head"):
        DraftWeights.load(path)
    save_file({"norm": torch.ones(3)}, path)
    with pytest.raises(CheckpointError, match="not a draft head"):
        DraftWeights.load(path)
