"""Time and direction: before and after, former and future, most and least, and what stands on either side."""

from __future__ import annotations

from semantic_cache.gates.base import GateVerdict
from semantic_cache.gates.remembered import remembered
from semantic_cache.gates.synonyms import synonymous
from semantic_cache.gates.text import Text, passages

NAME = "order"
_MARKERS: dict[str, tuple[str, ...]] = {
    "before": ("before", "prior", "until", "till", "earlier than", "beforehand", "by the time"),
    "after": ("after", "afterwards", "once", "later than", "since", "following", "upon"),
    "past": (
        "used to",
        "use to",
        "formerly",
        "former",
        "previously",
        "ex",
        "was once",
        "no longer",
        "anymore",
        "any more",
        "have been",
        "has been",
        "had been",
        "in the past",
    ),
    "change": (
        "becoming",
        "turning into",
        "about to",
        "going to be",
        "starting to",
        "will be",
        "future",
        "will become",
        "is getting",
        "still",
        "yet",
        "already",
        "again",
        "eventually",
        "soon",
    ),
    "most": (
        "most",
        "best",
        "highest",
        "largest",
        "biggest",
        "longest",
        "maximum",
        "max",
        "greatest",
        "at most",
        "top",
        "fastest",
        "cheapest",
        "tallest",
        "oldest",
        "latest",
    ),
    "least": (
        "least",
        "worst",
        "lowest",
        "smallest",
        "shortest",
        "minimum",
        "min",
        "at least",
        "slowest",
        "youngest",
        "earliest",
    ),
    "only": ("only", "just", "merely", "solely", "exclusively"),
    "modal": ("must", "have to", "should", "required", "may", "might", "could", "allowed"),
}
_STRICT = ("before", "after", "past", "change", "most", "least")
_SPACED = {name: tuple(f" {marker} " for marker in _MARKERS[name]) for name in _STRICT}
_FREE = tuple(
    f" {phrase} " for phrase in ("best way", "did you", "most likely", "did i", "did we", "at last", "top up")
)
_TENSES = {"past": frozenset(["was", "were", "did", "had"]), "future": frozenset(["will", "shall"])}


def order(a: Text, b: Text) -> GateVerdict:
    """Refuse if a marker of time or degree stands on one side only, or turns round what it joins."""
    mine, other = _marked(a), _marked(b)
    for name in _STRICT:
        if (name in mine) == (name in other):
            continue
        if passages(a, b) and not _crossed(a, b, name):
            continue
        return GateVerdict(NAME, False, name)
    if not passages(a, b):
        if odd := _tense(a, b):
            return GateVerdict(NAME, False, odd)
        for name in ("before", "after"):
            if name in mine and (odd := _sides(a, b, _MARKERS[name])):
                return GateVerdict(NAME, False, f"{name}: {odd}")
    return GateVerdict(NAME, True)


@remembered(4096)
def _marked(text: Text) -> frozenset[str]:
    """Return which kinds of markers a text has."""
    flat = text.flat
    for phrase in _FREE:
        flat = flat.replace(phrase, " ")
    return frozenset(name for name, markers in _SPACED.items() if any(marker in flat for marker in markers))


def _crossed(a: Text, b: Text, name: str) -> bool:
    """In a passage a marker may come and go, but not turn into its opposite."""
    against = {"before": "after", "after": "before", "most": "least", "least": "most"}.get(name)
    if against is None:
        return name == "change" and False
    mine, other = _marked(a), _marked(b)
    turned = (name in mine) - (name in other)
    return turned == (against in other) - (against in mine) != 0


def _tense(a: Text, b: Text) -> str:
    for name, words in _TENSES.items():
        if words.isdisjoint(a.lowers) != words.isdisjoint(b.lowers):
            return f"{name} tense"
    return ""


def _sides(a: Text, b: Text, markers: tuple[str, ...]) -> str:
    """Name a word that stands before the marker in one text and after it in the other."""
    left, right = _split(a, markers), _split(b, markers)
    if left is None or right is None:
        return ""
    for word in left[0]:
        if _has(right[1], word) and not _has(right[0], word) and not _has(left[1], word):
            return word
    return ""


def _has(stems: list[str], word: str) -> bool:
    return any(synonymous(word, other) for other in stems)


def _split(text: Text, markers: tuple[str, ...]) -> tuple[list[str], list[str]] | None:
    """Return the stems in the main clause and those that the marker governs.

    A marker that opens the text governs up to the first comma.
    """
    for place, word in enumerate(text.words):
        if word.lower not in markers:
            continue
        if place == 0 and (comma := text.raw.find(",")) > 0:
            inner = [w.stem for w in text.content if word.begin < w.begin < comma]
            return [w.stem for w in text.content if w.begin > comma], inner
        outer = [w.stem for w in text.content if w.begin < word.begin]
        return outer, [w.stem for w in text.content if w.begin > word.begin]
    return None
