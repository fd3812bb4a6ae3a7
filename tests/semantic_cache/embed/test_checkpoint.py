"""What is read from a folder, what is refused, and what changes the digest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from semantic_cache.embed.checkpoint import UnsupportedNetwork, load_checkpoint
from semantic_cache.embed.errors import BadEmbedder
from tests.semantic_cache.support.bert_folder import WINDOW, write_bert


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def test_weights_are_within_half_a_step_of_the_file(tiny: Path) -> None:
    layer = load_checkpoint(tiny).weights.layers[1].up
    original = load_file(tiny / "model.safetensors")["encoder.layer.1.intermediate.dense.weight"]
    steps = layer.scales.astype(np.float32)[:, :, None]
    rounded = ((layer.codes.astype(np.float32) - 128) * steps).reshape(original.shape)
    # fp16 of the step costs a little more than half a step at the ends of the range.
    assert np.all(np.abs(rounded - original) <= 0.6 * np.repeat(steps[:, :, 0], 32, axis=1))
    assert layer.codes.min() >= 1


def test_the_tokenizer_cuts_at_the_window_and_pads_nothing(tiny: Path) -> None:
    tokenizer = load_checkpoint(tiny).tokenizer
    assert len(tokenizer.encode("a " * 100)) == WINDOW
    assert [len(one) for one in tokenizer.encode_batch(["a", "a b c"])] == [3, 5]


def test_a_prefix_of_the_names_is_passed_over(copy: Path, tiny: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    save_file({f"bert.{name}": value for name, value in tensors.items()}, copy / "model.safetensors")
    found, expected = load_checkpoint(copy).weights, load_checkpoint(tiny).weights
    np.testing.assert_array_equal(found.words, expected.words)


def test_the_digest_stands_for_weights_tokenizer_pooling_and_window(copy: Path, tiny: Path) -> None:
    digests = [load_checkpoint(tiny).digest]
    assert load_checkpoint(copy).digest == digests[0]
    tensors = load_file(copy / "model.safetensors")
    tensors["embeddings.LayerNorm.bias"] = tensors["embeddings.LayerNorm.bias"] + 1
    save_file(tensors, copy / "model.safetensors")
    digests.append(load_checkpoint(copy).digest)
    for name, key, value in (
        ("tokenizer.json", "version", "1.0 "),
        ("sentence_bert_config.json", "max_seq_length", 20),
        ("config.json", "layer_norm_eps", 1e-6),
    ):
        content = json.loads((copy / name).read_text())
        if name == "tokenizer.json":
            (copy / name).write_text(json.dumps(content) + "\n")
        else:
            (copy / name).write_text(json.dumps({**content, key: value}))
        digests.append(load_checkpoint(copy).digest)
    assert len(set(digests)) == 5


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "roberta"},
        {"hidden_act": "relu"},
        {"position_embedding_type": "relative_key"},
        {"num_attention_heads": 8},
    ],
)
def test_another_network_is_left_to_its_library(tmp_path: Path, config: dict[str, object]) -> None:
    with pytest.raises(UnsupportedNetwork):
        load_checkpoint(write_bert(tmp_path / "other", **config))


def test_another_pooling_is_left_to_its_library(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedNetwork, match="pooling"):
        load_checkpoint(write_bert(tmp_path / "max", pooling="max_tokens"))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "modules.json"])
def test_a_folder_that_is_not_whole_is_one_error(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BadEmbedder, match=str(copy)):
        load_checkpoint(copy)


def test_a_file_that_is_cut_short_is_one_error(copy: Path) -> None:
    whole = (copy / "model.safetensors").read_bytes()
    for length in (4, 100, len(whole) - 64):
        (copy / "model.safetensors").write_bytes(whole[:length])
        with pytest.raises(BadEmbedder):
            load_checkpoint(copy)
