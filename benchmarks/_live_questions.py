"""Questions with answers that can be checked, made from common facts and from numbers.

They are such that a model of a hundred million parameters gets about half of them: sums, capitals, opposites,
word forms, look-ups in a short text, copies, days and months, yes or no. Every item belongs to one half for
good, by a hash of what it asks about, and the kinds in `UNSEEN` are asked in the second half only: what is
learned from `past` has met neither the items nor some of the kinds of `rest`.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias

from benchmarks import _live_facts as facts

Half: TypeAlias = Literal["past", "rest"]
Check: TypeAlias = Literal["words", "number", "choice", "letter"]

UNSEEN = (
    "city",
    "comparative",
    "continent",
    "currency",
    "difference",
    "order",
    "trivia",
)
"""Kinds that are only asked in the second half."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question and what answers it."""

    kind: str
    about: str
    """What it asks about: the item that belongs to one half."""
    text: str
    right: tuple[str, ...]
    """Any of these."""
    check: Check
    others: tuple[str, ...] = ()
    """Of a choice: what else might be chosen."""


def questions(half: Half, each: int, seed: int = 0) -> list[Question]:
    """Return up to `each` questions of every kind of this half, mixed; no two have the same text."""
    chosen: dict[str, Question] = {}
    for kind, make in KINDS.items():
        if half == "past" and kind in UNSEEN:
            continue
        # Chance of its own for each kind, so that a new kind changes no other.
        chance = Random(f"{seed} {kind}")
        taken = 0
        for question in make(kind, chance):
            if taken == each:
                break
            if question.text not in chosen and (kind in UNSEEN or half_of(question) == half):
                chosen[question.text] = question
                taken += 1
    mixed = list(chosen.values())
    Random(seed).shuffle(mixed)
    return mixed


def half_of(question: Question) -> Half:
    """Return the half that an item belongs to, whatever the seed."""
    digest = hashlib.sha256(f"{question.kind} {question.about}".encode()).digest()
    return "rest" if digest[0] % 2 or question.kind in UNSEEN else "past"


def is_right(question: Question, reply: str) -> bool:
    """Return whether a reply answers the question: it may say so in a sentence, but not beside other answers.

    Read are the first 200 characters. Words are to be there whole, in any case; of a choice the first option
    that is named counts, of numbers the one after the last equals sign or else the last one, and of letters
    there is to be only one.
    """
    head = reply[:_HEAD]
    if question.check == "number":
        found = _RESULT.findall(head.replace(",", "")) or _NUMBER.findall(head.replace(",", ""))
        return bool(found) and float(found[-1]) in [float(right) for right in question.right]
    if question.check == "letter":
        named = {(quoted or bare).lower() for quoted, bare in _LETTER.findall(head)}
        return named == set(question.right)
    first = min((_place(head, right) for right in question.right), default=_NOWHERE)
    return first < min((_place(head, other) for other in question.others), default=_NOWHERE)


_HEAD = 200
_NOWHERE = 10**6
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_RESULT = re.compile(r"=\s*(\d+(?:\.\d+)?)")
# Without quotes "a" and "I" are words.
_LETTER = re.compile(r"""["'“‘]([A-Za-z])["'”’.,]|(?<![\w'"])([B-HJ-Z])(?![\w'"])""")


def _place(text: str, word: str) -> int:
    # 19:21:40 does not say 19:21.
    found = re.search(rf"(?<![\w:]){re.escape(word.lower())}(?!\w|:\d)", text.lower())
    return found.start() if found else _NOWHERE


Make: TypeAlias = Callable[[str, Random], Iterator[Question]]


def _of_table(table: Sequence[tuple[str, str]], *wordings: str) -> Make:
    """One question for each row, in one of the wordings."""

    def make(kind: str, chance: Random) -> Iterator[Question]:
        for about, right in chance.sample(table, len(table)):
            yield Question(
                kind, about, chance.choice(wordings).format(about), tuple(right.split("|")), "words"
            )

    return make


def _numbers(table: Sequence[tuple[str, str]], *wordings: str) -> Make:
    def make(kind: str, chance: Random) -> Iterator[Question]:
        for about, right in chance.sample(table, len(table)):
            yield Question(kind, about, chance.choice(wordings).format(about), (right,), "number")

    return make


def _sums(low: int, high: int, operator: str, *wordings: str) -> Make:
    def make(kind: str, chance: Random) -> Iterator[Question]:
        every = list(itertools.combinations(range(low, high), 2))
        for first, second in chance.sample(every, min(len(every), 400)):
            a, b = (second, first) if operator == "-" or chance.random() < 0.5 else (first, second)
            value = {"+": a + b, "-": a - b, "*": a * b}[operator]
            text = chance.choice(wordings).format(a=a, b=b)
            yield Question(kind, f"{first} {second}", text, (str(value),), "number")

    return make


def _larger(kind: str, chance: Random) -> Iterator[Question]:
    while True:
        high = chance.choice((10, 100, 1000, 10_000))
        a, b = chance.sample(range(1, high), 2)
        wording = chance.choice(
            (
                "Which is bigger, {} or {}? Name only it.",
                "Which is the bigger number: {} or {}? Name only it.",
            )
        )
        right, other = str(max(a, b)), str(min(a, b))
        yield Question(kind, f"{a} {b}", wording.format(a, b), (right,), "choice", (other,))


def _yes_no(kind: str, chance: Random) -> Iterator[Question]:
    every = [(text, "yes", "no") for text in facts.YES] + [(text, "no", "yes") for text in facts.NO]
    for text, right, other in chance.sample(every, len(every)):
        yield Question(kind, text, f"{text}? Answer yes or no.", (right,), "choice", (other,))


def _category(kind: str, chance: Random) -> Iterator[Question]:
    names = sorted({category for _, category in facts.CATEGORIES})
    for thing, right in chance.sample(facts.CATEGORIES, len(facts.CATEGORIES)):
        options = chance.sample([name for name in names if name != right], 2)
        asked = chance.sample([*options, right], 3)
        wording = chance.choice(
            ("What is the word '{}': {}, {} or {}?", "Put '{}' in one of these groups: {}, {}, {}.")
        )
        yield Question(kind, thing, wording.format(thing, *asked), (right,), "choice", tuple(options))


def _continent(kind: str, chance: Random) -> Iterator[Question]:
    for country, right in chance.sample(facts.CONTINENTS, len(facts.CONTINENTS)):
        others = tuple({name for _, name in facts.CONTINENTS} - {right})
        yield Question(
            kind, country, f"On which continent is {country}? Name only it.", (right,), "choice", others
        )


def _letter(place: int, *wordings: str) -> Make:
    def make(kind: str, chance: Random) -> Iterator[Question]:
        for word in chance.sample(facts.SPELLING, len(facts.SPELLING)):
            text = chance.choice(wordings).format(word)
            yield Question(kind, word, text, (word[place],), "letter")

    return make


def _spelled(kind: str, chance: Random) -> Iterator[Question]:
    for number in chance.sample(range(21, 100), 79):
        if number % 10:
            name = f"{_TENS[number // 10 - 2]}-{_ONES[number % 10 - 1]}"
            yield Question(kind, name, f"Write the number {name} in digits.", (str(number),), "number")


_ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _weekday(kind: str, chance: Random) -> Iterator[Question]:
    every = list(itertools.product(range(7), (-2, -1, 1, 2, 3)))
    for day, shift in chance.sample(every, len(every)):
        count = ("one day", "two days", "three days")[abs(shift) - 1]
        text = f"Which day of the week is {count} {'after' if shift > 0 else 'before'} {_DAYS[day]}?"
        yield Question(kind, f"{day} {shift}", text, (_DAYS[(day + shift) % 7],), "words")


def _repeat(kind: str, chance: Random) -> Iterator[Question]:
    for subject, predicate in chance.sample(list(itertools.product(facts.SUBJECTS, facts.PREDICATES)), 200):
        said = f"{subject} {predicate}"
        wording = chance.choice(("Please repeat this sentence: {}.", "Write this sentence once more: {}."))
        yield Question(kind, said, wording.format(said), (said,), "words")


_PEOPLE = (
    "Anna",
    "Ravi",
    "Mette",
    "Jonas",
    "Leila",
    "Pavel",
    "Ines",
    "Tomas",
    "Yuki",
    "Clara",
    "Omar",
    "Greta",
)
_TOWNS = ("Lund", "Ghent", "Porto", "Graz", "Bergen", "Turin", "Basel", "Galway", "Tartu", "Split")
_THINGS = ("lamps", "chairs", "kettles", "blankets", "mirrors", "vases", "clocks", "baskets")


def _notice(kind: str, chance: Random) -> Iterator[Question]:
    """A short text with several values, and a question about one of them."""
    while True:
        who, other = chance.sample(_PEOPLE, 2)
        town, second = chance.sample(_TOWNS, 2)
        hour, platform, seat, price = (chance.randrange(*r) for r in ((6, 23), (1, 15), (20, 99), (101, 400)))
        time = f"{hour}:{chance.randrange(10, 60)}"
        text = (
            f"{who} takes the train to {town} at {time} from platform {platform}, in seat {seat}. "
            f"The ticket was {price} crowns. {other} waits in {second}."
        )
        asked = chance.choice(
            (
                (f"To which town does {who} travel?", town),
                (f"Who waits in {second}?", other),
                ("From which platform does the train leave?", str(platform)),
                ("What is the number of the seat?", str(seat)),
                ("How many crowns was the ticket?", str(price)),
                ("At what time does the train leave?", time),
            )
        )
        yield _look_up(kind, text, asked)


def _order(kind: str, chance: Random) -> Iterator[Question]:
    while True:
        first, second, third = chance.sample(_THINGS, 3)
        counts = chance.sample(range(2, 60), 3)
        who, town = chance.choice(_PEOPLE), chance.choice(_TOWNS)
        number = chance.randrange(1000, 9999)
        text = (
            f"Order {number} for {who} in {town}:\n- {counts[0]} {first}\n- {counts[1]} {second}\n"
            f"- {counts[2]} {third}"
        )
        asked = chance.choice(
            (
                (f"How many {second} were ordered?", str(counts[1])),
                (f"How many {third} were ordered?", str(counts[2])),
                ("What is the number of the order?", str(number)),
                ("Who ordered?", who),
                ("Which town does the order go to?", town),
            )
        )
        yield _look_up(kind, text, asked)


def _look_up(kind: str, text: str, asked: tuple[str, str]) -> Question:
    question = f"{text}\n\n{asked[0]} Answer shortly."
    return Question(kind, f"{text} {asked[0]}", question, (asked[1],), "words")


_PLUS = ("What is {a} + {b}?", "Add {a} and {b}.", "{a} + {b} = ?")
KINDS: dict[str, Make] = {
    "sum": _sums(1, 10, "+", *_PLUS),
    "long-sum": _sums(11, 90, "+", *_PLUS),
    "product": _sums(2, 13, "*", "What is {a} * {b}?", "{a} * {b} = ?", "How much is {a} * {b}?"),
    "difference": _sums(1, 30, "-", "What is {a} - {b}?", "{a} - {b} = ?"),
    "larger": _larger,
    "capital": _of_table(
        facts.CAPITALS,
        "What is the capital of {}?",
        "Name the capital city of {}.",
        "{}: which city is its capital?",
    ),
    "continent": _continent,
    "opposite": _of_table(
        facts.OPPOSITES,
        "What is the opposite of '{}'? One word.",
        "Give one word that means the opposite of {}.",
    ),
    "plural": _of_table(facts.PLURALS, "What is the plural of '{}'?", "Give the plural form of the noun {}."),
    "past": _of_table(facts.PASTS, "What is the past tense of '{}'?", "Give the simple past of the verb {}."),
    "comparative": _of_table(facts.COMPARATIVES, "What is the comparative form of the adjective '{}'?"),
    "category": _category,
    "yes-no": _yes_no,
    "symbol": _of_table(
        facts.SYMBOLS, "What is the chemical symbol of {}?", "Which symbol stands for {} in chemistry?"
    ),
    "count": _numbers(facts.COUNTS, "How many {}?", "How many {}? Answer with a number."),
    "author": _of_table(facts.AUTHORS, "Name the author of {}.", "{}: who is the author?"),
    "french": _of_table(facts.FRENCH, "What is the French word for '{}'?", "Translate into French: {}"),
    "young": _of_table(facts.YOUNG, "What is a baby {} called?", "What do we call a baby {}?"),
    "first-letter": _letter(
        0, "What is the first letter of the word '{}'?", "With which letter does '{}' begin?"
    ),
    "spelled": _spelled,
    "weekday": _weekday,
    "job": _of_table(facts.JOBS, "What do we call a person who {}?", "Who {}? Name the job."),
    "female": _of_table(facts.FEMALES, "What do we call a female {}?", "Name the female form of {}."),
    "month-days": _numbers(facts.MONTH_DAYS, "How many days are in {}?", "How many days does {} have?"),
    "repeat": _repeat,
    "phrase": _of_table(facts.PHRASES, "Complete the saying: {}"),
    "language": _of_table(
        facts.LANGUAGES, "Which language do most people speak in {}?", "What is the main language of {}?"
    ),
    "city": _of_table(facts.CITIES, "In which country is {}?", "{} is a city of which country?"),
    "currency": _of_table(facts.CURRENCIES, "What is the currency of {}?", "Name the currency of {}."),
    "trivia": _of_table(facts.TRIVIA, "{}? Answer shortly.", "{}? Name only it."),
    "notice": _notice,
    "order": _order,
}
"""How questions of each kind are made. Wordings that set the small model rambling are left out: such answers
are cut, whatever it knows."""
