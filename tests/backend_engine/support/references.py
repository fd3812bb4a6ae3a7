"""transformers' tokenizers, which ours are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def reference_from_gguf(path: Path) -> Any:
    """Return the tokenizer that transformers builds from a GGUF file."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


def reference_ids(tokenizer: Any, text: str, *, add_special: bool = False) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=add_special)
    return ids
