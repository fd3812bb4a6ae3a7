"""What a block's KV depends on beside its tokens: weights, their numerics, and the pages' layout."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from backend_engine.model_config import ModelConfig
from backend_engine.native.build import source_hash
from telemetry.version import __version__

_WEIGHTS = "*.safetensors"


def kv_fingerprint(model: Path, config: ModelConfig, quantization: str, layout: str) -> bytes:
    """Return 32 bytes that differ wherever stored KV must not be used.

    Reads the weights once. Our own version, the kernels' sources, torch's version and the processor's
    instruction set count too: each may round differently, and a hit must give what a miss would have given.
    """
    parts = [
        repr(config),
        quantization,
        layout,
        __version__,
        torch.__version__,
        torch.backends.cpu.get_cpu_capability(),
        source_hash(),
        *_file_digests(model),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def _file_digests(model: Path) -> list[str]:
    files = sorted(model.glob(_WEIGHTS)) if model.is_dir() else [model]
    digests = []
    for file in files:
        with file.open("rb") as content:
            digests.append(hashlib.file_digest(content, "sha256").hexdigest())
    return digests
