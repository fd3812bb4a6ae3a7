"""Negation and opposites: every turn of meaning on one side needs its counterpart on the other."""

from __future__ import annotations

from semantic_cache.gates.antonyms import opposite
from semantic_cache.gates.base import GateVerdict
from semantic_cache.gates.remembered import remembered
from semantic_cache.gates.synonyms import synonymous
from semantic_cache.gates.text import Text, Word, passages
from semantic_cache.gates.words import words_in

NAME = "negation"
_NEGATORS = frozenset(
    words_in("""not no never none nobody nothing nowhere neither nor without hardly barely scarcely unable
    cannot except excluding unless instead rather lack lacks lacking stop stops stopped quit avoid avoids
    avoiding prevent prevents preventing refuse refuses fail fails failed failing missing absent n't nt zero
    free""")
)
_INDIRECT = frozenset(
    words_in("""stop stops stopped quit avoid avoids avoiding prevent prevents preventing refuse refuses
    fail fails failed failing missing lack lacks lacking absent free zero except excluding unless instead
    rather""")
)
_DIRECT = _NEGATORS - _INDIRECT


def negation(a: Text, b: Text) -> GateVerdict:
    """Refuse if the texts differ by an odd number of turns, or if a negation stands before something else.

    A turn is a negator or a word whose opposite stands on the other side. An even number ("less lazy" and
    "more diligent") may mean the same; that is for the verifier.
    """
    direct_a, direct_b = _negated(a), _negated(b)
    # Words such as "stop" negate as well as any, unless the other side has the very word or one like it.
    more_a, more_b = _unshared(a, b), _unshared(b, a)
    turned = opposites(a, b)
    turns = abs(len(direct_a) - len(direct_b)) + abs(more_a - more_b) + len(turned)
    if turns % 2:
        names = [*(f"{x}/{y}" for x, y in turned), *sorted({*direct_a} ^ {*direct_b})]
        return GateVerdict(NAME, False, ", ".join(names[:3]) or "negator")
    if not turned and not passages(a, b) and (odd := _elsewhere(direct_a, direct_b)):
        return GateVerdict(NAME, False, f"not {odd}")
    return GateVerdict(NAME, True)


@remembered(1024)
def opposites(a: Text, b: Text) -> tuple[tuple[str, str], ...]:
    """Return pairs of a word that only `a` has and a word that only `b` has which are opposites."""
    only_a = [word for word in a.words if word.stem not in b.stems]
    only_b = [word for word in b.words if word.stem not in a.stems]
    if passages(a, b):
        # "Remaining" for "left" is no turn, though "left" has an opposite too.
        only_a = [word for word in only_a if not any(synonymous(word.stem, other) for other in b.stems)]
        only_b = [word for word in only_b if not any(synonymous(word.stem, other) for other in a.stems)]
    out: list[tuple[str, str]] = []
    taken: set[int] = set()
    for word in only_a:
        for place, there in enumerate(only_b):
            if place not in taken and opposed(word, there):
                out.append((word.lower, there.lower))
                taken.add(place)
                break
    return tuple(out)


def opposed(one: Word, other: Word) -> bool:
    """Return whether two words are opposites in any of their forms."""
    return opposite(one.lower, other.lower) or opposite(one.stem, other.stem)


@remembered(4096)
def _negated(text: Text) -> tuple[str, ...]:
    """Return, for each negator, the stem of the first meaningful word after it (or "" at the end)."""
    out = []
    for place, word in enumerate(text.words):
        if word.lower in _DIRECT:
            after = (w.stem for w in text.words[place + 1 :] if w.content and w.sentence == word.sentence)
            out.append(next(after, ""))
    return tuple(out)


def _unshared(a: Text, b: Text) -> int:
    return sum(
        word.lower in _INDIRECT and not any(synonymous(word.stem, other) for other in b.stems)
        for word in a.words
    )


def _elsewhere(direct_a: tuple[str, ...], direct_b: tuple[str, ...]) -> str:
    if len(direct_a) != len(direct_b):
        return ""
    for one, other in zip(sorted(direct_a), sorted(direct_b), strict=True):
        if one != other and not synonymous(one, other) and one and other:
            return one
    return ""
