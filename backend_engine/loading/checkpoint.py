"""Any model file as one thing: a config, named fp32 tensors, a tokenizer and a chat template."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from backend_engine.chat_template import ChatTemplate
from backend_engine.errors import CheckpointError
from backend_engine.loading.gguf import GgufFile
from backend_engine.loading.safetensors import HuggingFaceDirectory
from backend_engine.model_config import ModelConfig
from backend_engine.quant.blocks import BlockWeights
from backend_engine.rope import check_rope
from backend_engine.tokenizer import Tokenizer


class TensorSource(Protocol):
    """Where a checkpoint's tensors come from."""

    def tensor(self, name: str) -> torch.Tensor:
        """Return tensor `name` in fp32, freshly made."""
        ...

    def blocks(self, name: str) -> BlockWeights | None:
        """Return the blocks in which matrix `name` is stored, None if it is stored otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One model; its tensors are read when they are asked for, and are the caller's to keep or drop.

    Tensor names are those of Hugging Face's Llama: `model.embed_tokens.weight`,
    `model.layers.3.self_attn.q_proj.weight`, …, `model.norm.weight`, `lm_head.weight` (absent if tied).
    Weights are [out_features, in_features]; the rows of q and k are in the order of `rotate_half`.
    """

    config: ModelConfig
    tokenizer: Tokenizer
    chat_template: ChatTemplate | None
    source: TensorSource

    def tensor(self, name: str) -> torch.Tensor:
        """Return tensor `name` in fp32; raises CheckpointError if the model has none of that name."""
        return self.source.tensor(name)


def load_checkpoint(path: Path) -> Checkpoint:
    """Open a GGUF file, or a Hugging Face directory with safetensors.

    Raises CheckpointError for a missing, truncated or inconsistent file, UnsupportedModel for one that
    describes something this engine does not run.
    """
    try:
        if not path.exists():
            raise CheckpointError(f"{path}: no such file or directory")
        files = HuggingFaceDirectory(path) if path.is_dir() else GgufFile(path)
        check_rope(files.config)
        return Checkpoint(files.config, files.tokenizer(), files.chat_template(), files)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from error
