"""A draft head whose whole draft is one native call."""

from __future__ import annotations

import ctypes

import torch

from backend_engine.errors import UnsupportedModel
from backend_engine.models.llama import LlamaModel
from backend_engine.native.abi import DraftBatchStruct, DraftModelStruct
from backend_engine.native.library import Team
from backend_engine.native.packed_linear import PANEL, PackedLinear
from backend_engine.quant.base import Linear
from backend_engine.quant.blocks import BLOCK, round_to_four_bits
from backend_engine.spec.draft_weights import DraftWeights


class NativeDraftHead:
    """Runs `weights` with the embedding of `model`, and rows of its head."""

    def __init__(self, weights: DraftWeights, model: LlamaModel, team: Team) -> None:
        """The linears of `model` must be `PackedLinear`. Raises UnsupportedModel for sizes no kernel has."""
        hidden, inner, vocabulary = weights.hidden, weights.inner, len(weights.vocabulary)
        if hidden % BLOCK or inner % BLOCK or vocabulary % PANEL:
            raise UnsupportedModel(f"a draft head of sizes {hidden}, {inner} and {vocabulary} has no kernel")
        embedding, head = _packed(model.embedding), _packed(model.head)
        # Of four bits: a guess costs what its weights take to read, and it is as good.
        matrices = {name: blocks.dequantize() for name, blocks in weights.linears.items()}
        matrices["head"] = head.rows(weights.vocabulary)
        self._linears = {
            name: PackedLinear(team, round_to_four_bits(matrix), matrix.shape[1])
            for name, matrix in matrices.items()
        }
        # The library reads weights where they are, so all that owns them must live as long as this.
        self._weights, self._model, self._team = weights, model, team
        self.taps = weights.taps
        self._struct = DraftModelStruct(
            hidden=hidden,
            inner=inner,
            num_taps=len(weights.taps),
            eps=weights.eps,
            feature_norm=weights.feature_norm.data_ptr(),
            mlp_norm=weights.mlp_norm.data_ptr(),
            norm=weights.norm.data_ptr(),
            embedding=embedding.struct,
            token_ids=weights.vocabulary.data_ptr(),
            **{name: linear.struct for name, linear in self._linears.items()},
        )
        self._handle: int = team.library.draft_head_new(team.handle, ctypes.byref(self._struct))

    def __del__(self) -> None:
        # Absent if the constructor failed.
        if hasattr(self, "_handle"):
            self._team.library.draft_head_delete(self._handle)

    def draft(
        self, features: torch.Tensor, last_tokens: list[int], limits: list[int], least_confidence: float
    ) -> list[tuple[list[int], list[float]]]:
        """Draft for rows of `features`, fp32 [rows, taps, hidden], that `last_tokens` were drawn from.

        The draft of a row has at most limits[row] tokens, and ends before its confidence, the product of the
        shares, falls below `least_confidence`. A share is of 1 for the whole draft vocabulary.
        """
        rows, most = len(last_tokens), max(limits)
        features = features.contiguous()
        last, limit = torch.tensor(last_tokens), torch.tensor(limits)
        tokens, shares = torch.empty(rows, most, dtype=torch.int64), torch.empty(rows, most)
        lengths = torch.empty(rows, dtype=torch.int64)
        struct = DraftBatchStruct(
            rows=rows,
            most=most,
            least_confidence=least_confidence,
            features=features.data_ptr(),
            last_tokens=last.data_ptr(),
            limits=limit.data_ptr(),
            tokens=tokens.data_ptr(),
            shares=shares.data_ptr(),
            lengths=lengths.data_ptr(),
        )
        self._team.library.draft(self._handle, ctypes.byref(struct))
        return [
            (row[:length], of[:length])
            for row, of, length in zip(tokens.tolist(), shares.tolist(), lengths.tolist(), strict=True)
        ]


def _packed(table: Linear) -> PackedLinear:
    if not isinstance(table, PackedLinear):
        raise TypeError(f"the native draft head reads packed tables, not {type(table).__name__}")
    return table
