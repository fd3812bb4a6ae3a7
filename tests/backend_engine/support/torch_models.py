"""Models whose products run in torch, native kernels or not."""

from __future__ import annotations

from backend_engine.assemble import linear_format
from backend_engine.loading.checkpoint import Checkpoint
from backend_engine.models.llama import LlamaModel
from backend_engine.models.llama import build_model as build_from
from backend_engine.quant.base import Quantization


def build_model(checkpoint: Checkpoint, *, quantization: Quantization) -> LlamaModel:
    return build_from(checkpoint, linear_format(quantization, None))
