"""MiniLM-L6 by PyTorch in fp32: what the verifier is trained on; encodings are kept on disk between runs.

Training and benchmarks only: the service has embedders of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAX_TOKENS = 256
BATCH = 64


@dataclass(frozen=True, slots=True)
class ReferenceEncoding:
    """`semantic_cache.decision.base.Encoding`; `tokens` are fp16, as they are kept on disk."""

    vector: NDArray[np.float32]
    tokens: NDArray[np.float16]
    spans: NDArray[np.int32]


class EncodedTexts:
    """The encodings of a list of texts, as few large arrays."""

    def __init__(
        self,
        vectors: NDArray[np.float32],
        tokens: NDArray[np.float16],
        spans: NDArray[np.int32],
        ends: NDArray[np.int64],
    ) -> None:
        self.vectors, self.tokens, self.spans, self.ends = vectors, tokens, spans, ends

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> ReferenceEncoding:
        begin = int(self.ends[index - 1]) if index else 0
        rows = slice(begin, int(self.ends[index]))
        return ReferenceEncoding(self.vectors[index], self.tokens[rows], self.spans[rows])

    def take(self, rows: Sequence[int]) -> EncodedTexts:
        """Return some of the texts, in the order given."""
        parts = [self[row] for row in rows]
        return EncodedTexts(
            np.stack([part.vector for part in parts]),
            np.concatenate([part.tokens for part in parts]),
            np.concatenate([part.spans for part in parts]),
            np.cumsum([len(part.spans) for part in parts]),
        )


class ReferenceEmbedder:
    """Loads `model.safetensors` and `tokenizer.json` from a folder."""

    def __init__(self, model: Path, cache: Path | None = None, threads: int = 1) -> None:
        self.folder = model
        self.cache = cache
        self.threads = threads

    def encode(self, texts: Sequence[str]) -> EncodedTexts:
        """Encode texts, or read their encodings from the cache folder."""
        digest = hashlib.sha256("\0".join([str(MAX_TOKENS), *texts]).encode()).hexdigest()[:16]
        parts = ("vectors", "tokens", "spans", "ends")
        paths = [self.cache / f"{digest}-{part}.npy" for part in parts] if self.cache else []
        if paths and paths[-1].exists():
            return EncodedTexts(*(np.load(path, mmap_mode="r") for path in paths))
        encoded = self._run(texts)
        for path, part in zip(paths, parts, strict=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, getattr(encoded, part))
        return encoded

    def _run(self, texts: Sequence[str]) -> EncodedTexts:
        import torch
        from tokenizers import Tokenizer
        from transformers import BertModel

        torch.set_num_threads(self.threads)
        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS)
        model = BertModel.from_pretrained(str(self.folder), add_pooling_layer=False).eval()
        rows = tokenizer.encode_batch(list(texts))
        order = sorted(range(len(rows)), key=lambda row: len(rows[row].ids))
        hidden: list[NDArray[np.float16]] = [np.empty((0, 0), np.float16)] * len(rows)
        vectors = np.empty((len(rows), model.config.hidden_size), np.float32)
        with torch.inference_mode():
            for begin in range(0, len(order), BATCH):
                part = order[begin : begin + BATCH]
                longest = len(rows[part[-1]].ids)
                ids = torch.zeros(len(part), longest, dtype=torch.long)
                mask = torch.zeros(len(part), longest, dtype=torch.long)
                for line, row in enumerate(part):
                    length = len(rows[row].ids)
                    ids[line, :length] = torch.tensor(rows[row].ids)
                    mask[line, :length] = 1
                states = model(input_ids=ids, attention_mask=mask).last_hidden_state
                weights = mask[..., None].float()
                mean = (states * weights).sum(1) / weights.sum(1)
                mean = torch.nn.functional.normalize(mean, dim=-1)
                for line, row in enumerate(part):
                    vectors[row] = mean[line].numpy()
                    hidden[row] = states[line, : len(rows[row].ids)].numpy().astype(np.float16)
        spans = [np.array(row.offsets, np.int32).reshape(-1, 2) for row in rows]
        ends = np.cumsum([len(row.ids) for row in rows])
        return EncodedTexts(vectors, np.concatenate(hidden), np.concatenate(spans), ends)
