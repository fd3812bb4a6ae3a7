"""A small BERT of random weights in the layout of sentence-transformers, with a tokenizer of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

HIDDEN, INNER, HEADS, LAYERS, WINDOW = 64, 160, 4, 2, 40
_WORDS = ["the", "a", "how", "do", "i", "reset", "my", "account", "what", "is", "open", "close", "red"]


def write_bert(folder: Path, *, pooling: str = "mean_tokens", **config: object) -> Path:
    """Write the model to `folder`, with `config` over its own values, and return `folder`."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *_WORDS, *"abcdefghijklmnopqrstuvwxyz?"]
    vocabulary += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    ids = {word: at for at, word in enumerate(dict.fromkeys(vocabulary))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)

    random = np.random.default_rng(5)
    tensors: dict[str, np.ndarray] = {}

    def table(name: str, *shape: int, scale: float = 0.3) -> None:
        tensors[name] = (scale * random.standard_normal(shape)).astype(np.float32)

    def norm(name: str) -> None:
        table(f"{name}.bias", HIDDEN)
        tensors[f"{name}.weight"] = random.uniform(0.5, 1.5, HIDDEN).astype(np.float32)

    def linear(name: str, outputs: int, inputs: int) -> None:
        table(f"{name}.weight", outputs, inputs, scale=1.5 / inputs**0.5)
        table(f"{name}.bias", outputs)

    table("embeddings.word_embeddings.weight", len(ids), HIDDEN)
    table("embeddings.position_embeddings.weight", 64, HIDDEN)
    table("embeddings.token_type_embeddings.weight", 2, HIDDEN)
    norm("embeddings.LayerNorm")
    for at in range(LAYERS):
        prefix = f"encoder.layer.{at}"
        for part in ("query", "key", "value"):
            linear(f"{prefix}.attention.self.{part}", HIDDEN, HIDDEN)
        linear(f"{prefix}.attention.output.dense", HIDDEN, HIDDEN)
        linear(f"{prefix}.intermediate.dense", INNER, HIDDEN)
        linear(f"{prefix}.output.dense", HIDDEN, INNER)
        norm(f"{prefix}.attention.output.LayerNorm")
        norm(f"{prefix}.output.LayerNorm")

    (folder / "1_Pooling").mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"))
    files: dict[str, object] = {
        "config.json": {
            "model_type": "bert",
            "architectures": ["BertModel"],
            "hidden_size": HIDDEN,
            "intermediate_size": INNER,
            "num_attention_heads": HEADS,
            "num_hidden_layers": LAYERS,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": 64,
            "type_vocab_size": 2,
            "vocab_size": len(ids),
            **config,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "BertTokenizer",
            "model_max_length": WINDOW,
            **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep")},
        },
        "sentence_bert_config.json": {"max_seq_length": WINDOW, "do_lower_case": False},
        "config_sentence_transformers.json": {},
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": HIDDEN,
            **{
                f"pooling_mode_{kind}": kind == pooling
                for kind in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
            },
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder
