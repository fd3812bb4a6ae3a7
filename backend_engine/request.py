"""One sequence being generated: its tokens, its KV blocks and its life so far."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.kv.hashing import chain_root
from backend_engine.sampling.logprobs import PositionLogprobs
from backend_engine.sampling.params import SamplingParams
from backend_engine.structured.guide import Guide

FinishReason = Literal["stop", "length", "abort", "deadline", "error"]
"""`error`: the sequence's grammar failed, see `Guide.error`."""


class Status(Enum):
    NEW = "new"
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(slots=True)
class Timings:
    """Readings of `time.monotonic()`, in seconds, at a request's turning points; 0 until it gets there."""

    arrived: float = field(default_factory=time.monotonic)
    scheduled: float = 0.0
    first_token: float = 0.0
    last_token: float = 0.0
    finished: float = 0.0


@dataclass(slots=True, eq=False)
class Request:
    """A sequence has no phase: each step brings `num_computed` closer to `len(token_ids)`.

    The KV of tokens `[0, num_computed)` is in the blocks of `block_table`; the last token's is never
    computed before a further token is wanted. Preemption sets `num_computed` back to 0 and nothing else.
    """

    id: str
    token_ids: list[int]
    """Prompt, then output."""
    params: SamplingParams
    detokenizer: IncrementalDetokenizer
    guide: Guide | None = None
    """Holds the output to a grammar; it has accepted exactly the output tokens."""
    salt: str = ""
    priority: int = 0
    """Lower goes first, as in vLLM."""
    deadline: float | None = None
    """Reading of `time.monotonic()` after which the answer is of no use to the caller."""
    sample_index: int = 0
    """Which of the `n` samples of one API request this is; sets its random stream apart."""
    seed: int = 0
    serial: int = 0
    """Place among equal requests, given by the scheduler."""
    num_prompt_tokens: int = 0
    status: Status = Status.NEW
    finish_reason: FinishReason | None = None
    num_computed: int = 0
    num_cached: int = 0
    """Prompt tokens found in the prefix cache when first admitted."""
    num_preemptions: int = 0
    num_prefill_chunks: int = 0
    block_table: list[int] = field(default_factory=list)
    block_names: list[bytes] = field(default_factory=list)
    draft: list[int] = field(default_factory=list)
    """Tokens that may come next, to be verified in the next step if the sequence is decoding then."""
    num_published: int = 0
    """Leading blocks of `block_table` that have been offered to the prefix cache."""
    prompt_logprobs: list[PositionLogprobs] = field(default_factory=list)
    timings: Timings = field(default_factory=Timings)
    chain_root: bytes = b""

    def __post_init__(self) -> None:
        self.num_prompt_tokens = len(self.token_ids)
        self.chain_root = chain_root(self.salt)

    @property
    def num_tokens(self) -> int:
        return len(self.token_ids)

    @property
    def num_output_tokens(self) -> int:
        return len(self.token_ids) - self.num_prompt_tokens

    @property
    def num_uncomputed(self) -> int:
        return len(self.token_ids) - self.num_computed

    @property
    def num_tokens_left(self) -> int:
        """Tokens that the limit still allows."""
        return self.params.max_tokens - self.num_output_tokens

    @property
    def output_ids(self) -> list[int]:
        return self.token_ids[self.num_prompt_tokens :]
