"""Names: whoever or whatever has a name in one text has it in the other."""

from __future__ import annotations

from semantic_cache.gates.base import GateVerdict
from semantic_cache.gates.lexicon import FUNCTION_WORDS
from semantic_cache.gates.remembered import remembered
from semantic_cache.gates.text import Text, Word
from semantic_cache.gates.words import words_in

NAME = "entities"
_ALIASES = {
    "usa": "us",
    "america": "us",
    "american": "us",
    "u.s": "us",
    "uk": "britain",
    "england": "britain",
    "nyc": "new",
    "js": "javascript",
    "ml": "machine",
    "ai": "artificial",
}
_TITLES = frozenset(words_in("mr mrs ms dr prof sir madam lady lord mister miss"))


def entities(a: Text, b: Text) -> GateVerdict:
    """Refuse if a capitalised name of one text does not occur in the other, in any case of letters."""
    for text, other in ((a, b), (b, a)):
        for word in _names(text):
            if not _found(word, other):
                return GateVerdict(NAME, False, word.text)
    return GateVerdict(NAME, True)


@remembered(4096)
def names(text: Text) -> frozenset[str]:
    """Return the stems of a text's names."""
    return frozenset(word.stem for word in _names(text))


@remembered(4096)
def _names(text: Text) -> tuple[Word, ...]:
    if _shouted(text):
        return ()
    inner = {word.lower for word in text.words if word.capital and not word.first}
    return tuple(
        word
        for word in text.words
        if word.capital
        and (not word.first or word.lower in inner or word.text[1:2].isupper())
        and word.lower not in FUNCTION_WORDS
        and word.lower not in _TITLES
        and (len(word.text) > 1 or not word.first)
    )


def _shouted(text: Text) -> bool:
    """All capitals, or a title in which every word has one: capitals name nothing."""
    letters = [word for word in text.content if word.text.isalpha()]
    return len(letters) > 4 and all(word.text.isupper() for word in letters)


def _found(word: Word, text: Text) -> bool:
    if word.lower in text.lowers or word.stem in text.stems:
        return True
    return _ALIASES.get(word.lower, word.lower) in _aliases(text)


@remembered(4096)
def _aliases(text: Text) -> frozenset[str]:
    return frozenset(_ALIASES.get(word, word) for word in text.lowers)
