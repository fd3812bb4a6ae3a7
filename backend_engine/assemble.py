"""Puts an engine together: checkpoint, model, KV pages, scheduler. The one place that knows all parts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
from backend_engine.runner import Runner
from backend_engine.scheduler import Scheduler
from backend_engine.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """An engine with what its server needs to know of the model."""

    engine: Engine
    config: ModelConfig
    tokenizer: Tokenizer
    chat_template: ChatTemplate | None
    max_context: int
    num_blocks: int

    @property
    def capacity_tokens(self) -> int:
        return self.engine.scheduler.capacity_tokens


def load_engine(options: EngineOptions, *, on_step: Callable[[int], None] | None = None) -> LoadedEngine:
    """Load the model at `options.model` and build an engine around it.

    Raises CheckpointError or UnsupportedModel for the model's files, ModelError for options that it
    cannot be run with.
    """
    torch.set_num_threads(options.threads or os.cpu_count() or 1)
    checkpoint = load_checkpoint(Path(options.model))
    config = checkpoint.config
    max_context = options.max_context or config.max_context
    if max_context > config.max_context:
        raise ModelError(
            f"max_context {max_context} is beyond the model's window of {config.max_context} tokens"
        )
    block_bytes = kv_bytes_per_token(config) * options.block_size
    num_blocks = options.kv_memory_mb * 1024 * 1024 // block_bytes
    if num_blocks < 1:
        need = -(-block_bytes // (1024 * 1024))
        raise ModelError(
            f"kv_memory_mb {options.kv_memory_mb} holds no block of this model; one needs {need} MiB"
        )
    model = build_model(checkpoint, quantization=options.quantization)
    scheduler = Scheduler(
        BlockPool(num_blocks, options.block_size),
        max_batch_tokens=options.max_batch_tokens,
        max_sequences=options.max_sequences,
        max_waiting=options.max_waiting,
        prefix_cache=options.prefix_cache,
    )
    runner = Runner(model, TorchKVPages(config, num_blocks, options.block_size))
    tokenizer = checkpoint.tokenizer
    end_ids = tokenizer.eos_ids | config.eos_token_ids
    return LoadedEngine(
        engine=Engine(runner, scheduler, end_ids, on_step=on_step),
        config=config,
        tokenizer=tokenizer,
        chat_template=checkpoint.chat_template,
        max_context=max_context,
        num_blocks=num_blocks,
    )
