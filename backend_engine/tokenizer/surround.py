"""Which tokens go around a text that is encoded with `add_special`."""

from __future__ import annotations

import tokenizers
from tokenizers.processors import TemplateProcessing


def surround(backend: tokenizers.Tokenizer, *, before: int | None, after: int | None) -> None:
    """Make `backend` put the token ids `before` and `after` around the text, where they are given."""
    prefix = [] if before is None else [f"t{before}"]
    suffix = [] if after is None else [f"t{after}"]
    names = {f"t{token_id}": token_id for token_id in (before, after) if token_id is not None}
    backend.post_processor = TemplateProcessing(
        single=[*prefix, "$A", *suffix], pair=None, special_tokens=list(names.items())
    )
