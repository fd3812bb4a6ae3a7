"""Hugging Face directories: sharding, types, settings, and broken files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from backend_engine.errors import CheckpointError, ModelError, UnsupportedModel
from backend_engine.loading.checkpoint import load_checkpoint
from backend_engine.rope_scaling import RopeScaling
from tests.backend_engine.support.tiny_models import LLAMA3_ROPE, random_model, save_directory
from tests.backend_engine.support.torch_models import build_model


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return save_directory(random_model("llama"), tmp_path)


def edit_json(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    content.update(changes)
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_shards_give_the_same_tensors_as_one_file(tmp_path: Path) -> None:
    model = random_model("llama")
    one, many = tmp_path / "one", tmp_path / "many"
    save_directory(model, one)
    save_directory(model, many, max_shard_size="100KB")
    assert len(list(many.glob("model-*.safetensors"))) > 2
    expected, actual = load_checkpoint(one), load_checkpoint(many)
    for name, tensor in model.state_dict().items():
        assert torch.equal(actual.tensor(name), tensor)
        assert torch.equal(expected.tensor(name), tensor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_float_types_become_fp32(dtype: torch.dtype, tmp_path: Path) -> None:
    model = random_model("llama").to(dtype)
    checkpoint = load_checkpoint(save_directory(model, tmp_path))
    tensor = checkpoint.tensor("model.norm.weight")
    assert tensor.dtype == torch.float32
    assert torch.equal(tensor, model.model.norm.weight.float())


def test_tensors_are_the_callers_own(directory: Path) -> None:
    checkpoint = load_checkpoint(directory)
    checkpoint.tensor("model.norm.weight").zero_()
    assert checkpoint.tensor("model.norm.weight").abs().sum() > 0


def test_another_tensor_type_is_named(tmp_path: Path) -> None:
    model = random_model("llama").to(torch.float64)
    checkpoint = load_checkpoint(save_directory(model, tmp_path))
    with pytest.raises(UnsupportedModel, match=r"model\.norm\.weight has type F64"):
        checkpoint.tensor("model.norm.weight")


def test_end_ids_of_the_generation_config_come_first(directory: Path) -> None:
    edit_json(directory / "generation_config.json", eos_token_id=[2, 7])
    assert load_checkpoint(directory).config.eos_token_ids == {2, 7}
    (directory / "generation_config.json").unlink()
    assert load_checkpoint(directory).config.eos_token_ids == {2}


def test_rope_is_read_in_old_and_new_spelling(directory: Path) -> None:
    config = directory / "config.json"
    edit_json(config, rope_parameters=LLAMA3_ROPE)
    new = load_checkpoint(directory).config
    old_scaling = {key: value for key, value in LLAMA3_ROPE.items() if key != "rope_theta"}
    edit_json(config, rope_parameters=None, rope_scaling=old_scaling, rope_theta=10_000.0)
    old = load_checkpoint(directory).config
    assert new.rope_theta == old.rope_theta == 10_000.0
    assert old.rope_scaling == new.rope_scaling == RopeScaling("llama3", 8.0, 64)


def test_yarn_is_read_in_the_ways_that_it_is_written(directory: Path) -> None:
    def scaling(**parameters: Any) -> RopeScaling | None:
        edit_json(directory / "config.json", rope_parameters={"rope_type": "yarn", **parameters})
        return load_checkpoint(directory).config.rope_scaling

    assert scaling(factor=4.0) == RopeScaling("yarn", 4.0)
    assert scaling(factor=4.0, original_max_position_embeddings=64) == RopeScaling("yarn", 4.0, 64)
    from_windows = scaling(factor=None, original_max_position_embeddings=64)
    assert from_windows == RopeScaling("yarn", 256 / 64, 64)
    # DeepSeek's two weights: the share of the first over the second.
    weighted = scaling(factor=4.0, mscale=2.0, mscale_all_dim=1.0)
    expected = (0.2 * math.log(4.0) + 1) / (0.1 * math.log(4.0) + 1)
    assert weighted == RopeScaling("yarn", 4.0, attention_factor=pytest.approx(expected))


@pytest.mark.parametrize(
    ("model_type", "changes", "window"),
    [
        ("llama", {"sliding_window": 50}, 256),
        ("mistral", {"sliding_window": 50}, 50),
        ("qwen2", {"sliding_window": 50, "use_sliding_window": False}, 256),
        ("qwen2", {"sliding_window": 50, "use_sliding_window": True}, 50),
    ],
)
def test_a_sliding_window_bounds_the_context(
    model_type: str, changes: dict[str, Any], window: int, tmp_path: Path
) -> None:
    directory = save_directory(random_model(model_type), tmp_path)
    edit_json(directory / "config.json", **changes)
    assert load_checkpoint(directory).config.max_context == window


def test_chat_templates_are_found_where_they_may_lie(directory: Path) -> None:
    def rendered() -> str | None:
        template = load_checkpoint(directory).chat_template
        return template and template.render([])

    settings = directory / "tokenizer_config.json"
    assert rendered() is None
    edit_json(settings, chat_template="plain {{ bos_token }}", bos_token="<|im_start|>")
    assert rendered() == "plain <|im_start|>"
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "usual"}]
    edit_json(settings, chat_template=named)
    assert rendered() == "usual"
    (directory / "chat_template.jinja").write_text("from a file")
    assert rendered() == "from a file"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model_type": "gpt2"}, UnsupportedModel, "'gpt2'"),
        ({"model_type": None}, UnsupportedModel, "None"),
        ({"hidden_act": "gelu"}, UnsupportedModel, "'gelu'"),
        ({"attention_bias": True}, UnsupportedModel, "attention_bias"),
        ({"mlp_bias": True}, UnsupportedModel, "mlp_bias"),
        ({"quantization_config": {"bits": 4}}, UnsupportedModel, "quantization_config"),
        ({"partial_rotary_factor": 0.5}, UnsupportedModel, "partial_rotary_factor"),
        ({"rope_parameters": {"full_attention": {}}}, UnsupportedModel, "by layer"),
        ({"rope_parameters": [1]}, CheckpointError, "rope"),
        ({"rope_parameters": {"rope_type": "longrope"}}, UnsupportedModel, "'longrope'"),
        ({"rope_parameters": {"rope_type": "linear"}}, CheckpointError, "factor is None"),
        ({"rope_parameters": {**LLAMA3_ROPE, "factor": "8"}}, CheckpointError, "factor is '8'"),
        ({"hidden_size": None}, CheckpointError, "hidden_size is None"),
        ({"hidden_size": "96"}, CheckpointError, "hidden_size is '96'"),
        ({"num_hidden_layers": 0}, UnsupportedModel, "num_layers"),
        ({"num_attention_heads": 0}, CheckpointError, "num_attention_heads"),
        ({"eos_token_id": "x"}, CheckpointError, "token id"),
        ({"rope_parameters": {"rope_theta": -1.0, "rope_type": "default"}}, CheckpointError, "rope_theta"),
        ({"max_position_embeddings": 10**12}, UnsupportedModel, "1000000000000"),
        ({"rms_norm_eps": "tiny"}, CheckpointError, "rms_norm_eps"),
    ],
)
def test_configs_that_cannot_be_run_are_refused(
    changes: dict[str, Any], error: type[ModelError], words: str, directory: Path
) -> None:
    (directory / "generation_config.json").unlink(missing_ok=True)
    edit_json(directory / "config.json", **changes)
    with pytest.raises(error, match=words):
        load_checkpoint(directory)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_and_truncated_files_are_named(name: str, directory: Path) -> None:
    path = directory / name
    whole = path.read_bytes()
    for size in (0, 5, 100, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
            load_checkpoint(directory)
    path.unlink()
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_checkpoint(directory)


def test_an_index_is_checked_against_its_shards(tmp_path: Path) -> None:
    save_directory(random_model("llama"), tmp_path, max_shard_size="100KB")
    index = tmp_path / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    edit_json(index, weight_map={**weight_map, "ghost.weight": "model-00001-of-00005.safetensors"})
    shard = sorted(tmp_path.glob("model-*"))[0]
    edit_json(index, weight_map={**weight_map, "ghost.weight": shard.name})
    with pytest.raises(CheckpointError, match=r"ghost\.weight is missing"):
        load_checkpoint(tmp_path)
    edit_json(index, weight_map={**weight_map, "model.norm.weight": "../outside.safetensors"})
    with pytest.raises(CheckpointError, match="outside"):
        load_checkpoint(tmp_path)
    edit_json(index, weight_map=7)
    with pytest.raises(CheckpointError, match="weight_map"):
        load_checkpoint(tmp_path)
    edit_json(index, weight_map=weight_map)
    shard.unlink()
    with pytest.raises(CheckpointError, match=f"{shard.name}: no such file"):
        load_checkpoint(tmp_path)


def test_a_missing_tensor_is_named(directory: Path) -> None:
    edit_json(directory / "config.json", num_hidden_layers=3)
    with pytest.raises(CheckpointError, match=r"model\.layers\.2\..* is missing"):
        build_model(load_checkpoint(directory), quantization="none")
