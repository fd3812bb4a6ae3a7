"""Puts an engine together: checkpoint, model, KV pages, scheduler. The one place that knows all parts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from backend_engine.attention.torch_cpu import TorchKVPages
from backend_engine.chat_template import ChatTemplate
from backend_engine.engine import Engine
from backend_engine.errors import ModelError
from backend_engine.kv.block_bytes import BlockBytes
from backend_engine.kv.block_pool import BlockPool
from backend_engine.kv.disk_tier import DiskTier
from backend_engine.kv.dtype import kv_bytes_per_token
from backend_engine.kv.events import KvEventLog
from backend_engine.kv.fingerprint import kv_fingerprint
from backend_engine.kv.offload import Offload
from backend_engine.kv.tiers import RamTier
from backend_engine.launcher import EngineOptions
from backend_engine.loading.checkpoint import load_checkpoint
from backend_engine.model_config import ModelConfig
from backend_engine.models.llama import LlamaModel, build_model
from backend_engine.models.torch_decoder import TorchDecoder
from backend_engine.native.decoder import NativeDecoder, unsupported_by_native
from backend_engine.native.draft_head import NativeDraftHead
from backend_engine.native.draws import NativeDraws
from backend_engine.native.library import Team, native_library
from backend_engine.native.packed_linear import PackedLinear
from backend_engine.native.pages import NativePages
from backend_engine.quant.base import LinearFormat, Quantization
from backend_engine.quant.block_format import BlockFormat
from backend_engine.quant.block_linear import BlockLinear
from backend_engine.quant.fp32 import Fp32Format
from backend_engine.runner import Decoder, Runner
from backend_engine.scheduler import Scheduler
from backend_engine.spec.base import Drafter
from backend_engine.spec.draft_head import HeadDrafter
from backend_engine.spec.draft_model import ModelDrafter
from backend_engine.spec.draft_weights import DraftWeights
from backend_engine.spec.ngram import NgramDrafter
from backend_engine.spec.speculator import Speculator
from backend_engine.spec.suffix import SuffixDrafter
from backend_engine.tokenizer import Tokenizer

MIB = 1024 * 1024
HEADS = Path(__file__).parent / "spec" / "heads"
"""The draft heads that are part of the package; `spec/distil` made them."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory with its text side; `team` runs its native kernels, None if torch computes."""

    model: LlamaModel
    team: Team | None
    config: ModelConfig
    tokenizer: Tokenizer
    chat_template: ChatTemplate | None

    @property
    def kernels(self) -> str:
        """What computes: an instruction set and where its library comes from, or torch."""
        return "torch" if self.team is None else str(self.team.library)

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end an answer, from the checkpoint's config and its tokenizer."""
        return self.tokenizer.eos_ids | self.config.eos_token_ids


def load_model(
    path: str,
    quantization: Quantization,
    *,
    threads: int = 0,
    max_context: int | None = None,
    yarn_factor: float | None = None,
) -> LoadedModel:
    """Load the model at `path` for `threads` threads (0: one per core).

    `max_context` and `yarn_factor` set the window that is served (see `ModelConfig.served`). Raises
    CheckpointError or UnsupportedModel naming what is wrong with its files, ModelError for the window.
    """
    threads = threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    checkpoint = load_checkpoint(Path(path))
    checkpoint = replace(checkpoint, config=checkpoint.config.served(max_context, yarn_factor))
    library = None if quantization == "none" else native_library()
    team = None if library is None else Team(library, threads)
    return LoadedModel(
        model=build_model(checkpoint, linear_format(quantization, team)),
        team=team,
        config=checkpoint.config,
        tokenizer=checkpoint.tokenizer,
        chat_template=checkpoint.chat_template,
    )


def linear_format(quantization: Quantization, team: Team | None) -> LinearFormat:
    """Return what makes linear layers, native ones if there is a team to run them."""
    if quantization == "none":
        return Fp32Format()
    return BlockFormat(quantization, BlockLinear if team is None else partial(PackedLinear, team))


def build_decoder(
    loaded: LoadedModel, options: EngineOptions, num_blocks: int, taps: tuple[int, ...] = ()
) -> Decoder:
    """Give `loaded` its KV pages; the native decoder runs it if that can. For `taps` see `Decoder`."""
    size, dtype = options.block_size, options.kv_dtype
    if loaded.team is not None and unsupported_by_native(loaded.config, size) is None:
        pages = NativePages(loaded.config, num_blocks, size, dtype)
        return NativeDecoder(loaded.model, pages, loaded.team, taps)
    return TorchDecoder(loaded.model, TorchKVPages(loaded.config, num_blocks, size, dtype), taps)


def build_engine(
    loaded: LoadedModel,
    options: EngineOptions,
    *,
    on_step: Callable[[int], None] | None = None,
    on_draft: Callable[[int, int], None] | None = None,
    drafter: Drafter | None = None,
) -> Engine:
    """Give `loaded` KV pages and a scheduler; raises ModelError if the memory holds no block.

    See `Engine` for the callbacks. A `drafter` takes the place of the one that `options` ask for.
    """
    block_bytes = kv_bytes_per_token(loaded.config, options.kv_dtype) * options.block_size
    num_blocks = options.kv_memory_mb * MIB // block_bytes
    if num_blocks < 1:
        need = -(-block_bytes // MIB)
        raise ModelError(f"kv_memory_mb {options.kv_memory_mb} holds no KV block; one needs {need} MiB")
    speculator = build_speculator(loaded, options, num_blocks, drafter)
    taps = () if speculator is None else speculator.taps
    decoder = build_decoder(loaded, options, num_blocks, taps)
    kv_events = KvEventLog()
    offload = build_offload(loaded, options, BlockBytes(decoder.page_tensors, num_blocks))
    listeners = (kv_events,) if offload is None else (kv_events, offload)
    scheduler = Scheduler(
        BlockPool(num_blocks, options.block_size, listeners),
        max_batch_tokens=options.max_batch_tokens,
        max_sequences=options.max_sequences,
        max_waiting=options.max_waiting,
        prefix_cache=options.prefix_cache,
        offload=offload,
        max_decode_stretch=options.max_decode_stretch,
    )
    return Engine(
        Runner(decoder, (len(taps), loaded.config.hidden_size) if taps else None),
        scheduler,
        loaded.end_ids,
        kv_events=kv_events,
        speculator=speculator,
        draw=None if loaded.team is None else NativeDraws(loaded.team),
        on_step=on_step,
        on_draft=on_draft,
    )


def build_speculator(
    loaded: LoadedModel, options: EngineOptions, num_blocks: int, drafter: Drafter | None = None
) -> Speculator | None:
    """Return what drafts as `options` ask or with `drafter`, None if nothing is to be drafted.

    Raises ModelError for a draft model that cannot be loaded or has another vocabulary.
    """
    if drafter is None and options.speculation == "off":
        return None
    # Prompts must get their share of a step.
    max_tokens = options.max_batch_tokens // 4
    if drafter is not None:
        return Speculator(drafter, max_tokens=max_tokens)
    if options.draft_model is not None and not options.draft_model.endswith(".safetensors"):
        return Speculator(build_draft_model(loaded, options, num_blocks), max_tokens=max_tokens)
    text = NgramDrafter() if options.speculation == "ngram" else SuffixDrafter()
    head = None
    if options.draft_model is not None:
        head = load_draft_head(loaded, Path(options.draft_model))
    elif options.speculation == "auto":
        head = find_draft_head(loaded)
    return Speculator(text, max_tokens=max_tokens, model=head)


def build_draft_model(loaded: LoadedModel, options: EngineOptions, num_blocks: int) -> ModelDrafter:
    """Return a drafter of the model that `options` name, with room for `num_blocks` blocks."""
    assert options.draft_model is not None
    draft = load_model(options.draft_model, options.quantization, threads=options.threads)
    if not same_vocabulary(draft, loaded):
        raise ModelError(f"draft_model {options.draft_model} has another vocabulary than the model")
    if draft.config.max_context < loaded.config.max_context:
        raise ModelError(f"draft_model {options.draft_model} has a smaller window than the model")
    pool = BlockPool(num_blocks, options.block_size)
    return ModelDrafter(build_decoder(draft, options, num_blocks), pool)


def load_draft_head(loaded: LoadedModel, path: Path) -> HeadDrafter:
    """Return a drafter of the head in a file; raises ModelError if it cannot draft for `loaded`."""
    weights = DraftWeights.load(path)
    if not weights.fits(loaded.config, loaded.tokenizer.token_bytes):
        raise ModelError(f"draft_model {path} is the draft head of another model")
    if loaded.team is None:
        raise ModelError("a draft head needs the native kernels, and weights of int8 or int4")
    return HeadDrafter(NativeDraftHead(weights, loaded.model, loaded.team))


def find_draft_head(loaded: LoadedModel) -> HeadDrafter | None:
    """Return a drafter of the head that comes with us for this model, None if there is none or no kernels."""
    if loaded.team is None:
        return None
    for path in sorted(HEADS.glob("*.safetensors")):
        weights = DraftWeights.load(path)
        if weights.fits(loaded.config, loaded.tokenizer.token_bytes):
            return HeadDrafter(NativeDraftHead(weights, loaded.model, loaded.team))
    return None


def same_vocabulary(a: LoadedModel, b: LoadedModel) -> bool:
    """Tell whether every token id stands for the same bytes in both models."""
    return a.config.vocab_size == b.config.vocab_size and all(
        a.tokenizer.token_bytes(token) == b.tokenizer.token_bytes(token)
        for token in range(a.config.vocab_size)
    )


def build_offload(loaded: LoadedModel, options: EngineOptions, pages: BlockBytes) -> Offload | None:
    """Return the second tier that `options` ask for, if any; raises ModelError if it cannot be had."""
    if not options.prefix_cache_ram_mb and options.prefix_cache_disk is None:
        return None
    disk = None
    if options.prefix_cache_disk is not None:
        fingerprint = kv_fingerprint(Path(options.model), loaded.config, options.quantization, pages.layout)
        try:
            disk = DiskTier(Path(options.prefix_cache_disk), options.prefix_cache_disk_mb * MIB, fingerprint)
        except OSError as error:
            raise ModelError(f"prefix_cache_disk {options.prefix_cache_disk}: {error.strerror}") from error
    ram = None
    if options.prefix_cache_ram_mb:
        ram = RamTier(options.prefix_cache_ram_mb * MIB, None if disk is None else disk.put)
    return Offload(pages, ram, disk)
