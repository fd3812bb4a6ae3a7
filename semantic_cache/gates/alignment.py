"""Which meaningful words of two texts stand for each other: equal stems first, then synonyms."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from semantic_cache.gates.remembered import remembered
from semantic_cache.gates.synonyms import synonymous
from semantic_cache.gates.text import Text, Word, passages


@dataclass(frozen=True, slots=True)
class Alignment:
    """Pairs of places in `a.content` and `b.content`, in the order of `a`, and what is left over."""

    pairs: tuple[tuple[int, int], ...]
    only_a: tuple[Word, ...]
    only_b: tuple[Word, ...]


@remembered(1024)
def align(a: Text, b: Text) -> Alignment:
    """Align two texts; a word that repeats is matched in order of appearance.

    A repetition that the other side lacks is left over only in a plain question: a passage may name a thing
    twice.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, word in enumerate(b.content):
        places[word.stem].append(place)
    pairs: dict[int, int] = {}
    for place, word in enumerate(a.content):
        if there := places.get(word.stem):
            pairs[place] = there.pop(0)
    taken = set(pairs.values())
    free = [place for place in range(len(b.content)) if place not in taken]
    for place, word in enumerate(a.content):
        if place in pairs:
            continue
        for at, other in enumerate(free):
            if synonymous(word.stem, b.content[other].stem):
                pairs[place] = other
                del free[at]
                break
    only_a = (word for place, word in enumerate(a.content) if place not in pairs)
    only_b = (b.content[place] for place in free)
    if passages(a, b):
        return Alignment(
            tuple(sorted(pairs.items())),
            tuple(word for word in only_a if not _known(word, b)),
            tuple(word for word in only_b if not _known(word, a)),
        )
    return Alignment(tuple(sorted(pairs.items())), tuple(only_a), tuple(only_b))


def _known(word: Word, text: Text) -> bool:
    return word.stem in text.stems or any(synonymous(word.stem, other) for other in text.stems)
