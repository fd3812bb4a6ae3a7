"""Who does what to whom: shared words keep their order unless the grammar gives the same roles."""

from __future__ import annotations

from semantic_cache.gates.alignment import align
from semantic_cache.gates.base import GateVerdict
from semantic_cache.gates.entities import names
from semantic_cache.gates.text import Text, Word, passages
from semantic_cache.gates.words import words_in

NAME = "roles"
_SYMMETRIC = frozenset(
    words_in("""friend married marry engaged engage close related relate connected connect similar same
    equal identical alike different acquaintance acquainted acquaint neighbor sibling cousin twin partner
    partnered roommate colleague coworker classmate teammate rival spouse meet met date dating divorced
    divorce compatible adjacent parallel perpendicular near together between versus vs difference compare
    comparison distance linked link associated associate collaborating collaborate cooperate competing
    compete familiar equivalent synonymous sister-city correlated correlate intersect border buddy pal
    allied ally separated separate joined affiliated""")
)
_COORDINATE = frozenset(["or", "and", "vs", "versus", "between", "with", "to", "&"])
_FRONTED = frozenset(
    words_in("in for if when to as with on at from during while by because since through using via")
)
_COMPARE = frozenset(["than"])
_PARTICIPLES = ("ed", "en", "wn", "ught", "ung", "it", "ost", "old", "id", "ade", "ept", "een")


def roles(a: Text, b: Text) -> GateVerdict:
    """Refuse if shared words stand in another order, unless the order makes no difference.

    It makes none between the parts of "A or B", on either side of a symmetric relation, if a whole clause
    was moved to the front, and if one text is the passive of the other. In a passage only names within one
    statement count.
    """
    aligned = align(a, b)
    if passages(a, b):
        return _passage(a, b)
    passive_a, passive_b = _passive(a), _passive(b)
    turned = [
        (a.content[i], a.content[k])
        for at, (i, j) in enumerate(aligned.pairs)
        for k, m in aligned.pairs[at + 1 :]
        if m < j
    ]
    if passive_a != passive_b:
        # "A was hurt by B" is "B hurt A": the passive turns the two names round, or it means the reverse.
        if not turned and len(aligned.pairs) > 2:
            return GateVerdict(NAME, False, "passive on one side only")
        return GateVerdict(NAME, True)
    if not turned:
        return GateVerdict(NAME, True)
    if _moved_clause(a, b) or all(_interchangeable(a, b, one, other) for one, other in _outermost(turned)):
        return GateVerdict(NAME, True)
    return GateVerdict(NAME, False, f"{turned[0][0].lower} and {turned[0][1].lower} changed places")


def _outermost(turned: list[tuple[Word, Word]]) -> list[tuple[Word, Word]]:
    return turned


def _passive(text: Text) -> bool:
    for place, word in enumerate(text.words):
        if word.lower == "by" and place and text.words[place - 1].lower.endswith(_PARTICIPLES):
            return any(
                w.lower in ("is", "was", "are", "were", "be", "been", "being") for w in text.words[:place]
            )
    return False


def _interchangeable(a: Text, b: Text, one: Word, other: Word) -> bool:
    """Two words that changed places are coordinated, or stand round a symmetric relation, in both texts."""
    for text in (a, b):
        stems = [word.stem for word in text.words]
        lowers = [word.lower for word in text.words]
        if not _COMPARE.isdisjoint(lowers):
            return False
        if one.stem not in stems or other.stem not in stems:
            return False
        i, j = sorted((stems.index(one.stem), stems.index(other.stem)))
        between = set(lowers[i + 1 : j])
        coordinated = between & {"or", "and", "vs", "versus", "&"} and not _verb_between(text, i, j)
        symmetric = not _SYMMETRIC.isdisjoint(lowers) or not _SYMMETRIC.isdisjoint(stems)
        if not coordinated and not symmetric:
            return False
    return True


def _verb_between(text: Text, i: int, j: int) -> bool:
    """A word that only a clause has stands between the two: then each has its own statement."""
    clause = {
        "is",
        "are",
        "was",
        "were",
        "do",
        "does",
        "did",
        "will",
        "can",
        "to",
        "if",
        "because",
        "then",
        "that",
    }
    return any(word.lower in clause for word in text.words[i + 1 : j]) or j - i > 6


def _moved_clause(a: Text, b: Text) -> bool:
    """One text is the other with a clause moved to its front: "In Rome, what …" and "What … in Rome"."""
    for one, other in ((a, b), (b, a)):
        comma = one.raw.find(",")
        if comma < 0 or not one.words or one.words[0].lower not in _FRONTED:
            continue
        front = [word.stem for word in one.content if word.begin < comma]
        rest = [word.stem for word in one.content if word.begin > comma]
        there = [word.stem for word in other.content]
        if front and rest and there == rest + front:
            return True
    return False


def _passage(a: Text, b: Text) -> GateVerdict:
    """Compare the names in each pair of sentences that say the same otherwise."""
    both = names(a) & names(b)
    if len(both) < 2:
        return GateVerdict(NAME, True)
    for words_a in _sentences(a):
        stems_a = {word.stem for word in words_a}
        for words_b in _sentences(b):
            stems_b = {word.stem for word in words_b}
            if len(stems_a & stems_b) < 0.8 * max(len(stems_a), len(stems_b)) or len(stems_a) < 3:
                continue
            order_a = [word.stem for word in words_a if word.stem in both]
            order_b = [word.stem for word in words_b if word.stem in both]
            if order_a != order_b and sorted(order_a) == sorted(order_b):
                return GateVerdict(NAME, False, f"{order_a[0]} and others changed places")
    return GateVerdict(NAME, True)


def _sentences(text: Text) -> list[list[Word]]:
    out: dict[int, list[Word]] = {}
    for word in text.content:
        out.setdefault(word.sentence, []).append(word)
    return list(out.values())
