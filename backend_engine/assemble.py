"""Puts an engine together: checkpoint, model, KV pages, scheduler. The one place that knows all parts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from backend_engine.attention.torch_cpu import TorchKVPages, kv_bytes_per_token
from backend_engine.chat_template import ChatTemplate
from backend_engine.engine import Engine
from backend_engine.errors import ModelError
from backend_engine.kv.block_pool import BlockPool
from backend_engine.launcher import EngineOptions
from backend_engine.loading.checkpoint import load_checkpoint
from backend_engine.model_config import ModelConfig
from backend_engine.models.llama import build_model
from backend_engine.runner import Model, Runner
from backend_engine.scheduler import Scheduler
from backend_engine.tokenizer import Tokenizer

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory with its text side."""

    model: Model
    config: ModelConfig
    tokenizer: Tokenizer
    chat_template: ChatTemplate | None

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end an answer, from the checkpoint's config and its tokenizer."""
        return self.tokenizer.eos_ids | self.config.eos_token_ids


def load_model(
    path: str,
    quantization: Literal["int8", "none"],
    *,
    threads: int = 0,
    max_context: int | None = None,
    yarn_factor: float | None = None,
) -> LoadedModel:
    """Load the model at `path` for `threads` threads (0: one per core).

    `max_context` and `yarn_factor` set the window that is served (see `ModelConfig.served`). Raises
    CheckpointError or UnsupportedModel naming what is wrong with its files, ModelError for the window.
    """
    torch.set_num_threads(threads or os.cpu_count() or 1)
    checkpoint = load_checkpoint(Path(path))
    checkpoint = replace(checkpoint, config=checkpoint.config.served(max_context, yarn_factor))
    return LoadedModel(
        model=build_model(checkpoint, quantization=quantization),
        config=checkpoint.config,
        tokenizer=checkpoint.tokenizer,
        chat_template=checkpoint.chat_template,
    )


def build_engine(
    loaded: LoadedModel, options: EngineOptions, *, on_step: Callable[[int], None] | None = None
) -> Engine:
    """Give `loaded` KV pages and a scheduler; raises ModelError if the memory holds no block."""
    block_bytes = kv_bytes_per_token(loaded.config) * options.block_size
    num_blocks = options.kv_memory_mb * MIB // block_bytes
    if num_blocks < 1:
        need = -(-block_bytes // MIB)
        raise ModelError(f"kv_memory_mb {options.kv_memory_mb} holds no KV block; one needs {need} MiB")
    scheduler = Scheduler(
        BlockPool(num_blocks, options.block_size),
        max_batch_tokens=options.max_batch_tokens,
        max_sequences=options.max_sequences,
        max_waiting=options.max_waiting,
        prefix_cache=options.prefix_cache,
        max_decode_stretch=options.max_decode_stretch,
    )
    runner = Runner(loaded.model, TorchKVPages(loaded.config, num_blocks, options.block_size))
    return Engine(runner, scheduler, loaded.end_ids, on_step=on_step)
