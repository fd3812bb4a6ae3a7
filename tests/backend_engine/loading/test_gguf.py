"""GGUF files are read as the `gguf` package reads them, and broken ones end in our own errors."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType

from backend_engine.errors import CheckpointError, ModelError, UnsupportedModel
from backend_engine.loading.checkpoint import load_checkpoint
from backend_engine.loading.dequantize import DEQUANTIZE
from backend_engine.loading.gguf import GgufFile
from backend_engine.rope_scaling import RopeScaling
from tests.backend_engine.support.tiny_models import LLAMA3_ROPE, random_model, save_gguf
from tests.backend_engine.support.torch_models import build_model

CHAT_TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    return save_gguf(random_model("llama"), path, GGMLQuantizationType.Q4_1)


def rewritten(source: Path, target: Path, changes: dict[str, Any], *, drop: str = "") -> Path:
    """Copy a GGUF file with metadata changed (None removes a key) and the tensor `drop` left out."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, changes.pop("general.architecture", "llama"))
    values = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    values.pop("general.architecture")
    for key, value in {**values, **changes}.items():
        if value is None:
            continue
        if isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_array(key, value)
    for tensor in reader.tensors:
        if tensor.name != drop:
            writer.add_tensor(tensor.name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@pytest.mark.parametrize("kind", DEQUANTIZE, ids=lambda kind: kind.name)
def test_every_tensor_type_is_decoded_as_the_package_does(kind: GGMLQuantizationType) -> None:
    values = np.random.default_rng(3).normal(size=(7, 96)).astype(np.float32)
    values[2, :40] = 0
    values[3] *= 1e4
    encoded = gguf.quants.quantize(values, kind)
    raw = torch.from_numpy(np.frombuffer(encoded.tobytes(), dtype=np.uint8).copy())
    expected = torch.from_numpy(gguf.quants.dequantize(encoded, kind).copy())
    assert torch.equal(DEQUANTIZE[kind](raw).view(7, 96), expected)


def test_smollm2_is_read_as_the_package_reads_it(smollm2_path: Path) -> None:
    reader = gguf.GGUFReader(smollm2_path)
    checkpoint = load_checkpoint(smollm2_path)
    config = checkpoint.config
    fields = reader.fields
    assert config.num_layers == fields["llama.block_count"].contents()
    assert config.rope_theta == fields["llama.rope.freq_base"].contents()
    assert config.rms_norm_eps == fields["llama.attention.layer_norm_rms_epsilon"].contents()
    assert (config.num_heads, config.num_kv_heads, config.head_dim) == (9, 3, 64)
    assert (config.vocab_size, config.max_context, config.tie_word_embeddings) == (49152, 8192, True)
    assert (config.bos_token_id, config.eos_token_ids) == (1, {2})
    names = {
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.7.ffn_down.weight": "model.layers.7.mlp.down_proj.weight",
        "blk.29.attn_norm.weight": "model.layers.29.input_layernorm.weight",
    }
    for tensor in reader.tensors:
        if tensor.name in names:
            expected = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
            assert torch.equal(checkpoint.tensor(names[tensor.name]), expected)


def test_llama3_rope_factors_come_from_their_tensor(tmp_path: Path) -> None:
    model = random_model("llama", rope_parameters=LLAMA3_ROPE)
    config = load_checkpoint(save_gguf(model, tmp_path / "m.gguf", GGMLQuantizationType.F16)).config
    assert config.rope_scaling is not None
    assert config.rope_scaling.kind == "factors"
    assert max(config.rope_scaling.factors) == pytest.approx(8.0)


def test_linear_rope_scaling_and_a_sliding_window_are_read(model_file: Path, tmp_path: Path) -> None:
    changes = {
        "llama.rope.scaling.type": "linear",
        "llama.rope.scaling.factor": 4.0,
        "llama.attention.sliding_window": 100,
    }
    config = load_checkpoint(rewritten(model_file, tmp_path / "m.gguf", changes)).config
    assert config.rope_scaling == RopeScaling("linear", 4.0)
    assert config.max_context == 100


def test_yarn_is_read_with_its_bounds(model_file: Path, tmp_path: Path) -> None:
    keys = {
        "type": "yarn",
        "factor": 4.0,
        "original_context_length": 128,
        "yarn_beta_fast": 16.0,
        "yarn_beta_slow": 2.0,
        "attn_factor": 0.5,
    }
    changes = {f"llama.rope.scaling.{key}": value for key, value in keys.items()}
    config = load_checkpoint(rewritten(model_file, tmp_path / "m.gguf", changes)).config
    magnitude = 0.5 * (0.1 * math.log(4.0) + 1)
    assert config.rope_scaling == RopeScaling(
        "yarn", 4.0, 128, beta_fast=16.0, beta_slow=2.0, attention_factor=pytest.approx(magnitude)
    )
    assert config.max_context == 512


def test_chat_template_knows_the_special_tokens(model_file: Path, tmp_path: Path) -> None:
    assert load_checkpoint(model_file).chat_template is None
    path = rewritten(model_file, tmp_path / "m.gguf", {"tokenizer.chat_template": CHAT_TEMPLATE})
    template = load_checkpoint(path).chat_template
    assert template is not None
    assert template.render([{"role": "user", "content": "hi"}]) == "<|im_start|>hi<|im_end|>"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"general.architecture": "gemma"}, UnsupportedModel, "'gemma' is not supported"),
        ({"llama.expert_count": 8}, UnsupportedModel, "mixture"),
        ({"llama.rope.scaling.type": "longrope"}, UnsupportedModel, "'longrope'"),
        ({"llama.rope.scaling.type": "yarn"}, CheckpointError, "scaling.factor is missing"),
        (
            {
                "llama.rope.scaling.type": "yarn",
                "llama.rope.scaling.factor": 4.0,
                "llama.rope.scaling.yarn_log_multiplier": 0.1,
            },
            UnsupportedModel,
            "yarn_log_multiplier",
        ),
        ({"llama.rope.dimension_count": 8}, UnsupportedModel, "part of the head"),
        ({"llama.attention.value_length": 8}, UnsupportedModel, "different length"),
        ({"llama.block_count": None}, CheckpointError, "block_count is missing"),
        ({"llama.block_count": "two"}, CheckpointError, "block_count is 'two'"),
        ({"llama.attention.head_count": 0}, CheckpointError, "head_count is 0"),
        ({"llama.attention.head_count_kv": 5}, UnsupportedModel, "share"),
        ({"llama.embedding_length": 100}, CheckpointError, "hidden size of 100"),
        ({"llama.attention.layer_norm_rms_epsilon": None}, CheckpointError, "epsilon is missing"),
        ({"tokenizer.ggml.model": "bert"}, UnsupportedModel, "bert"),
        ({"tokenizer.chat_template": "{% for %}"}, UnsupportedModel, "chat template"),
        ({"tokenizer.chat_template": 7}, CheckpointError, "chat_template"),
        ({"tokenizer.ggml.token_type": 7}, CheckpointError, "token_type"),
        ({"general.alignment": 0}, CheckpointError, "alignment"),
        ({"llama.rope.freq_base": 0.0}, CheckpointError, "freq_base is 0"),
        ({"llama.context_length": 2**32 - 1}, UnsupportedModel, "4294967295"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(
    changes: dict[str, Any], error: type[ModelError], words: str, model_file: Path, tmp_path: Path
) -> None:
    path = rewritten(model_file, tmp_path / "m.gguf", dict(changes))
    with pytest.raises(error, match=words):
        load_checkpoint(path)


def test_a_tensor_type_that_is_not_built_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("odd.weight", np.zeros((1, 210), dtype=np.uint8), raw_dtype=GGMLQuantizationType.Q6_K)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UnsupportedModel, match=r"odd\.weight has type Q6_K"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", ["blk.1.ffn_up.weight", "output_norm.weight", "blk.0.attn_k.weight"])
def test_a_missing_tensor_is_named(name: str, model_file: Path, tmp_path: Path) -> None:
    path = rewritten(model_file, tmp_path / "m.gguf", {}, drop=name)
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        build_model(load_checkpoint(path), quantization="int8")


@pytest.mark.parametrize(
    "content", [b"", b"GG", b"PK\x03\x04 not this", b"GGUF", b"GGUF\x07\0\0\0" + bytes(20)]
)
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.gguf: "):
        load_checkpoint(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        load_checkpoint(tmp_path / "nowhere.gguf")


def test_lengths_beyond_the_file_are_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    huge = (2**62).to_bytes(8, "little")
    counts = bytes(8) + (1).to_bytes(8, "little")
    string_array = (1).to_bytes(8, "little") + b"k" + (9).to_bytes(4, "little") + (8).to_bytes(4, "little")
    byte_array = string_array[:-4] + (0).to_bytes(4, "little")
    for rest in (huge, string_array + huge, byte_array + huge):
        path.write_bytes(b"GGUF" + (3).to_bytes(4, "little") + counts + rest)
        with pytest.raises(CheckpointError, match="truncated"):
            load_checkpoint(path)


def test_a_truncated_file_is_refused_wherever_it_ends(model_file: Path, tmp_path: Path) -> None:
    whole = model_file.read_bytes()
    path = tmp_path / "cut.gguf"
    chance = random.Random(5)
    last = gguf.GGUFReader(model_file).tensors[-1]
    end = int(last.data_offset + last.n_bytes)
    for size in [*range(0, 200, 7), *(chance.randrange(end) for _ in range(60)), end - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError):
            load_checkpoint(path)


def test_a_corrupt_header_ends_in_our_own_errors_if_at_all(model_file: Path, tmp_path: Path) -> None:
    whole = model_file.read_bytes()
    header_size = whole.index(b"blk.1.ffn_up.weight") + 200
    chance = random.Random(6)
    path = tmp_path / "corrupt.gguf"
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        # Mostly outside the vocabulary, which is most of the header and hides damage well.
        start = chance.choice([0, 0, header_size - 2500, chance.randrange(header_size)])
        for _ in range(chance.randrange(1, 4)):
            damaged[min(start + chance.randrange(2500), header_size)] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            build_model(load_checkpoint(path), quantization="none")
        except ModelError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_1"])
def test_blocks_hold_exactly_the_numbers_of_the_file(kind: str, tmp_path: Path) -> None:
    model = random_model("llama", tie_word_embeddings=True)
    file = GgufFile(save_gguf(model, tmp_path / "model.gguf", GGMLQuantizationType[kind]))
    for name in ("model.embed_tokens.weight", "model.layers.1.self_attn.k_proj.weight"):
        blocks = file.blocks(name)
        assert blocks is not None
        assert torch.equal(blocks.dequantize(), file.tensor(name))
    assert file.blocks("model.norm.weight") is None


def test_tensors_without_blocks_have_none(tmp_path: Path) -> None:
    path = save_gguf(random_model("llama"), tmp_path / "model.gguf", GGMLQuantizationType.F16)
    assert GgufFile(path).blocks("lm_head.weight") is None
