"""A question taken apart once for all gates: words with their stems, sentences, places in the text."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from semantic_cache.gates.lexicon import CONTRACTIONS, FUNCTION_WORDS, IRREGULAR, SPELLING
from semantic_cache.gates.remembered import remembered

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*(?:-[^\W\d_]+)*|\d+(?:[.,:/]\d+)*(?:st|nd|rd|th)?\b|[$€£¥%]")
_SENTENCE_END = re.compile(r"[.!?;]+[\"')\]]*\s+|\n+")
_FRACTIONS = re.compile(r"[¼-¾⅐-⅞]")
_VOWELS = frozenset("aeiouy")
_FRAME = re.compile(
    r"(?:what(?:'s| is| are| would be| will be) (?:a|an|the|some|your|my)? ?(?:good|best|easiest|right|"
    r"proper|simplest|fastest|quickest|most effective)? ?(?:ways?|methods?|approach) (?:to|of|for)\b)"
    r"|(?:if (?:you|i|we|one) (?:want|wants|wish|would like|need|have) to\b)"
    r"|(?:in order to\b)"
    r"|(?:what (?:should|can|must|do|could|would) (?:i|you|we|one) (?:have to |need to )?"
    r"do(?: (?:to|if|in order to))?\b)"
    r"|(?:(?:do|does|would) (?:you|anyone|anybody) (?:think|believe|know|happen to know)"
    r"(?: that| if| whether| about)?\b)"
    r"|(?:(?:can|could|would|will) (?:you|someone|anyone|anybody)(?: please)? (?:please )?"
    r"(?:tell|explain|help|show|give|let)(?: (?:me|us))?"
    r"(?: (?:know|to|understand|figure out|with|about|if|whether|that))*\b)"
    r"|(?:i(?: am|'m)? (?:just |was |really )?(?:wonder|wondering|curious|like to know|want to know|"
    r"need to know|would like to know)(?: about| if| whether)?\b)"
    r"|(?:please (?:tell|explain|help|show|give|let)(?: me| us)?(?: know)?\b)"
    r"|(?:is there (?:a|any|some) (?:good |easy |simple )?way (?:to|of|for)\b)"
    r"|(?:how (?:do|can|could|should|would|might|may|to) "
    r"(?:(?:i|you|we|one|someone|people) )?(?:go about\b|best\b)?)",
    re.IGNORECASE,
)
LONG = 16
"""Content words from which a text is a passage: there the order of clauses is free, and a word may be
dropped."""


class Word(NamedTuple):
    """One word: as written, lower case without possessive, its stem, and where it stands."""

    text: str
    lower: str
    stem: str
    begin: int
    sentence: int
    first: bool
    """It opens its sentence, so that its capital says nothing."""
    framed: bool
    """It belongs to a turn of phrase that only makes a question of what follows ("what is a good way to")."""

    @property
    def capital(self) -> bool:
        """Written with a capital."""
        return self.text[0].isupper()

    @property
    def content(self) -> bool:
        """It carries meaning of its own."""
        return (
            not self.framed
            and self.lower not in FUNCTION_WORDS
            and (len(self.lower) > 1 or not self.lower.isascii())
        )


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A parsed text; equal to nothing but itself, so that caches need not look through its words."""

    raw: str
    words: tuple[Word, ...]
    content: tuple[Word, ...]
    lowers: frozenset[str]
    stems: frozenset[str]
    flat: str
    """Lower-case words in order with single spaces, one at each end; contractions in full."""

    @property
    def long(self) -> bool:
        """It is a passage rather than a plain question."""
        return len(self.content) >= LONG


def passages(a: Text, b: Text) -> bool:
    """Return whether two texts are long enough for their clauses to be told in another order."""
    return (a.long or b.long) and min(len(a.content), len(b.content)) >= LONG // 2


@remembered(4096)
def parse(raw: str) -> Text:
    """Take a question apart; the last ones are remembered, with what the gates found in them."""
    return take_apart(raw)


def take_apart(raw: str) -> Text:
    """Take a text of any length apart, and remember nothing of it."""
    text = raw
    for glyph in _FRACTIONS.findall(raw):
        # NFKC would make "21/2" of "2½".
        text = text.replace(glyph, " " + unicodedata.normalize("NFKC", glyph).replace("⁄", "/"))
    text = unicodedata.normalize("NFKC", text).replace("’", "'").replace("‘", "'").replace("`s", "'s")
    frames = [match.span() for match in _FRAME.finditer(text)]
    starts = [0, *(match.end() for match in _SENTENCE_END.finditer(text))]
    words: list[Word] = []
    sentence, last = 0, -1
    for match in _WORD.finditer(text):
        while sentence + 1 < len(starts) and match.start() >= starts[sentence + 1]:
            sentence += 1
        first = sentence != last
        last = sentence
        framed = any(begin <= match.start() < end for begin, end in frames)
        for piece in _expand(match.group()):
            lower = _lower(piece)
            words.append(Word(piece, lower, stem(lower), match.start(), sentence, first, framed))
            first = False
    content = tuple(word for word in words if word.content)
    flat = f" {' '.join(word.lower for word in words)} "
    return Text(
        text,
        tuple(words),
        content,
        frozenset(word.lower for word in words),
        frozenset(word.stem for word in words),
        flat,
    )


def _expand(word: str) -> tuple[str, ...]:
    lower = word.lower()
    if lower in CONTRACTIONS:
        parts = CONTRACTIONS[lower]
        return (parts[0].capitalize(), *parts[1:]) if word[0].isupper() else parts
    if "'" in word:
        head, _, tail = word.partition("'")
        if tail.lower() in ("s", "") and head:
            return (head,)
        if tail.lower() == "t" and head.lower().endswith("n"):
            return (head[:-1], "not")
        if (
            full := {"re": "are", "ve": "have", "ll": "will", "d": "would", "m": "am"}.get(tail.lower())
        ) and head:
            return (head, full)
    return (word,)


def _lower(word: str) -> str:
    lower = word.lower()
    return SPELLING.get(lower, lower)


@lru_cache(maxsize=16384)
def stem(lower: str) -> str:
    """Return a word's stem: number, tense and person taken off, nothing that changes its meaning."""
    if lower in IRREGULAR:
        return IRREGULAR[lower]
    if not lower.isascii() or not lower.isalpha() or len(lower) < 4:
        return lower
    for suffix in ("ings", "ing", "ied", "ed"):
        if lower.endswith(suffix):
            base = lower[: -len(suffix)]
            if suffix == "ied":
                return base + "y"
            if len(base) < 3 or not _VOWELS & set(base):
                return lower
            return _base(base)
    if lower.endswith("ies") and len(lower) > 4:
        return lower[:-3] + "y"
    if lower.endswith(("sses", "shes", "ches", "xes", "zes")):
        return lower[:-2]
    if lower.endswith("s") and not lower.endswith(("ss", "us", "is")):
        return _base(lower[:-1]) if lower.endswith("es") else lower[:-1]
    return _base(lower) if lower.endswith("e") else lower


def _base(base: str) -> str:
    """Drop what a suffix leaves: a doubled consonant or a final e, so that all forms meet."""
    if len(base) > 3 and base[-1] == base[-2] and base[-1] not in "lsz":
        return base[:-1]
    return base[:-1] if base.endswith("e") and len(base) > 3 else base
