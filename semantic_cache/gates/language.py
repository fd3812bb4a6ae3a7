"""Script and language: both texts in one, and in one that the other gates have rules for."""

from __future__ import annotations

import unicodedata

from semantic_cache.gates.base import GateVerdict
from semantic_cache.gates.lexicon import FUNCTION_WORDS
from semantic_cache.gates.remembered import remembered
from semantic_cache.gates.text import Text

NAME = "language"
_MARKERS = {
    "german": "der die das und ist nicht ein eine ich wie wo warum mit auf von zu im den dem kann man was",
    "french": "le la les des est et je un une que qui pour dans sur avec pas comment où du ce mon puis",
    "spanish": "el la los las es y un una que por para con cómo dónde qué en de mi no se puedo cuál",
    "italian": "il lo la gli è e un una che per con come dove perché di mi non si posso sono della nel",
    "portuguese": "o a os as é e um uma que por para com como onde não de do da eu posso em meu minha",
    "dutch": "de het een en is niet ik hoe waar waarom met voor op van te dat kan mijn wat",
    "polish": "jak jest nie w na z do się czy co to mój moja gdzie",
    "swedish": "och är inte en ett jag hur var varför med för på av att kan min vad",
}
_ENGLISH = FUNCTION_WORDS | frozenset(["is", "the", "of", "to", "what", "how"])
_LANGUAGES = {
    word: tuple(language for language, words in _MARKERS.items() if word in words.split())
    for word in {word for words in _MARKERS.values() for word in words.split()}
}


def language(a: Text, b: Text) -> GateVerdict:
    """Refuse texts of two scripts or languages, and any that is not English."""
    for text in (a, b):
        if strange := _script(text.raw):
            return GateVerdict(NAME, False, strange)
        if (spoken := _spoken(text)) != "english":
            return GateVerdict(NAME, False, f"no rules for {spoken}")
    return GateVerdict(NAME, True)


@remembered(4096)
def _script(raw: str) -> str:
    """Name the first script other than Latin, or "" if there is none."""
    if raw.isascii():
        return ""
    for char in raw:
        if char.isalpha() and not char.isascii():
            script = unicodedata.name(char, "UNKNOWN").split(" ", 1)[0]
            if script not in ("LATIN", "MICRO", "GREEK", "MODIFIER", "FEMININE", "MASCULINE"):
                return script.lower()
        elif not char.isascii() and unicodedata.category(char) == "So":
            return "symbol"
    return ""


@remembered(4096)
def _spoken(text: Text) -> str:
    english = sum(word.lower in _ENGLISH for word in text.words)
    found = dict.fromkeys(_MARKERS, 0)
    for word in text.words:
        for name in _LANGUAGES.get(word.lower, ()):
            found[name] += 1
    # Of two that are as frequent the first counts, and English before all.
    best = max(found, key=found.__getitem__)
    return best if found[best] > english else "english"
