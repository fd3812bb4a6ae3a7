"""Short stories with numbers and a question, told in several ways: what a premise is, and what its loss is.

A story is a list of facts, each with renderings that say the same. Same: two tellings of all facts.
Different: a fact left out, made vague or added, another question, or another thing counted.
"""

from __future__ import annotations

from random import Random

from semantic_cache.decision.train.pairs import Pair, reword
from semantic_cache.decision.train.stories import STORIES
from semantic_cache.gates.words import words_in

_NAMES = words_in("""Alma Boris Carla Dmitri Edda Farid Greta Hugo Imani Jonas Kiran Leila Marco Nadia Otto
Priya Quentin Rosa Stefan Tamara Ulla Viktor Wanda Ximena Yusuf Zelda Anton Bella Cyrus Dora Emil Flora
Gustav Hanna Ivan Julia""")
_THINGS = words_in("""pencils marbles stamps tickets bottles chairs candles ribbons melons lamps shirts
plates coins envelopes cookies tulips notebooks hats kites bricks scarves postcards muffins lanterns
balloons carrots jars tiles""")
_PLACES = ["the market", "a bakery", "the harbour", "school", "her uncle's farm", "the library", "a workshop"]


def passages(random: Random, count: int) -> list[Pair]:
    """Make `count` pairs of stories, about as many of each kind."""
    return [_pair(random) for _ in range(count)]


def _pair(random: Random) -> Pair:
    # Two stories in a row make a longer text, in which one lost fact weighs less.
    stories = random.sample(STORIES, random.choice((1, 1, 2)))
    values = _values(random)
    kind = random.choice(
        ("same", "same", "same", "left out", "vague", "added", "asked", "instead", "dropped words")
    )
    first = [_tell(random, story.facts) for story in stories]
    second = [_tell(random, story.facts) if kind == "same" or random.random() < 0.5 else list(facts)
              for story, facts in zip(stories, first, strict=True)]  # fmt: skip
    story = stories[-1]
    asked_a, asked_b = random.choice(story.asked), random.choice(story.asked)
    at = random.randrange(len(stories))
    place = random.randrange(3)
    if kind == "left out":
        del second[at][place]
    elif kind == "vague" and stories[at].vague[place]:
        second[at][place] = stories[at].vague[place]
    elif kind == "asked":
        asked_b = random.choice(story.also)
    elif kind == "instead":
        second[at][place] = random.choice(stories[at].added)
    elif kind == "dropped words":
        second[at][place] = _drop(random, second[at][place])
    elif kind != "same":
        kind = "added"
        second[at].insert(random.randrange(4), random.choice(stories[at].added))
    if kind == "same" and random.random() < 0.3:
        order = random.sample(range(3), 3) if len(stories) == 1 else [0, 1, 2]
        second[0] = [second[0][i] for i in order]
    a = " ".join([*(fact for facts in first for fact in facts), asked_a])
    b = " ".join([*(fact for facts in second for fact in facts), asked_b])
    a, b = a.format(**values), b.format(**values)
    b = reword(random, b, random.choice((0.0, 0.1, 0.3)))
    if random.random() < 0.5:
        a, b = b, a
    return Pair(a, b, kind == "same", f"passage {kind}")


def _tell(random: Random, facts: tuple[tuple[str, ...], ...]) -> list[str]:
    return [random.choice(renderings) for renderings in facts]


def _drop(random: Random, sentence: str) -> str:
    """Take three to five words out, none of them a number."""
    words = sentence.split()
    size = min(len(words) - 1, random.randint(3, 5))
    begin = random.randrange(len(words) - size + 1)
    kept = words[:begin] + [
        word for word in words[begin : begin + size] if "{a}" in word or "{b}" in word or "{c}" in word
    ]
    return " ".join(kept + words[begin + size :])


def _values(random: Random) -> dict[str, str]:
    n, m = random.sample(_NAMES, 2)
    numbers = random.sample(range(2, 97), 3)
    return {
        "n": n,
        "m": m,
        "x": random.choice(_THINGS),
        "p": random.choice(_PLACES),
        "a": str(numbers[0] * random.choice((1, 1, 10))),
        "b": str(numbers[1]),
        "c": str(numbers[2]),
        "f": random.choice(("third", "half", "quarter", "fifth")),
    }
