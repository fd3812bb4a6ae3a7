"""How text is treated before merging, by the name that GGUF gives it in `tokenizer.ggml.pre`.

The rules are facts of each model family, published in its tokenizer.json.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import Regex
from tokenizers.normalizers import NFC, Normalizer
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _REST
_QWEN2 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _REST


@dataclass(frozen=True, slots=True)
class TextRules:
    """How text is cut; `whole_words_first` takes a piece that is in the vocabulary without merging."""

    pre_tokenizer: Callable[[], PreTokenizer]
    normalizer: Callable[[], Normalizer] | None = None
    whole_words_first: bool = False


def _gpt2() -> PreTokenizer:
    return ByteLevel(add_prefix_space=False, use_regex=True)


def _single_digits() -> PreTokenizer:
    return Sequence([Digits(individual_digits=True), _gpt2()])


def _split(pattern: str) -> PreTokenizer:
    return Sequence(
        [Split(Regex(pattern), behavior="isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
    )


_LLAMA3_RULES = TextRules(lambda: _split(_LLAMA3), whole_words_first=True)

TEXT_RULES: dict[str, TextRules] = {
    "default": TextRules(_gpt2),
    "gpt-2": TextRules(_gpt2),
    "smollm": TextRules(_single_digits),
    "llama-bpe": _LLAMA3_RULES,
    "llama-v3": _LLAMA3_RULES,
    "llama3": _LLAMA3_RULES,
    "qwen2": TextRules(lambda: _split(_QWEN2), normalizer=NFC),
}
