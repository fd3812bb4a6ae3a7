"""A Hugging Face directory of safetensors."""

from __future__ import annotations

from pathlib import Path

import torch

from backend_engine.chat_template import ChatTemplate
from backend_engine.errors import UnsupportedModel
from backend_engine.model_config import ModelConfig
from backend_engine.tokenizer import Tokenizer


class HuggingFaceDirectory:
    """One directory."""

    config: ModelConfig

    def __init__(self, path: Path) -> None:
        raise UnsupportedModel(f"{path}: safetensors directories are not read yet")

    def tokenizer(self) -> Tokenizer:
        raise NotImplementedError

    def chat_template(self) -> ChatTemplate | None:
        raise NotImplementedError

    def tensor(self, name: str) -> torch.Tensor:
        raise NotImplementedError
