"""A document longer than a model's window, with facts hidden at a depth, and questions about them.

The facts are made up. Of every three questions one has the words of its fact, one has a few of them, and one
says it all in other words. A fact stands between two sentences of a passage, not in a paragraph of its own.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.compression.parts import sentences

INSTRUCTION = "Answer the question from the text below."
KINDS = 3
DEPTHS = (0, 25, 50, 75, 100)


@dataclass(frozen=True, slots=True)
class Needle:
    """A fact, a question about it, and the words of the fact that answer it."""

    fact: str
    question: str
    answer: str


NEEDLES = (
    Needle(
        "The maintenance password of the Ostrava pumping station is quartz-otter-91.",
        "What is the maintenance password of the Ostrava pumping station?",
        "quartz-otter-91",
    ),
    Needle(
        "The night watchman of the Harrowgate lighthouse keeps the spare key under a blue enamel kettle.",
        "Where is the second door opener of the guard at Harrowgate hidden?",
        "blue enamel kettle",
    ),
    Needle(
        "Professor Ilse Vanterpool sold her entire orchid collection to finance the expedition to Svalbard.",
        "What did the scientist give away to pay for her journey to the Arctic?",
        "orchid collection",
    ),
    Needle(
        "The ferry between Lindholm and Tarrow sails at 6:35 every Thursday.",
        "At what time does the ferry between Lindholm and Tarrow sail on Thursday?",
        "6:35",
    ),
    Needle(
        "The village of Quenby pays its taxes in honey, as it has since the plague.",
        "With what do the people of Quenby settle what they owe the state?",
        "honey",
    ),
    Needle(
        "Before every exam, Bertrand eats exactly three pickled radishes for luck.",
        "Which food does the superstitious student have ahead of his tests?",
        "pickled radishes",
    ),
    Needle(
        "Invoice FB-20417 was paid in silver coins by the widow Marchetti.",
        "By whom was invoice FB-20417 paid?",
        "Marchetti",
    ),
    Needle(
        "Rain delayed the launch of the weather balloon Mirabel by eleven days.",
        "For how long did bad weather hold back the start of Mirabel?",
        "eleven days",
    ),
    Needle(
        "It was in Tashkent that the clockmaker Orsolya Brandt first met her business partner.",
        "In which city did the maker of watches get to know her later associate?",
        "Tashkent",
    ),
    Needle(
        "The choir of Saint Odo rehearses in the cellar of the old tannery.",
        "Where does the choir of Saint Odo rehearse?",
        "tannery",
    ),
    Needle(
        "Room 414 of the Belmont Hotel has been painted green ever since the flood.",
        "Which colour are the walls of chamber 414 at the Belmont?",
        "green",
    ),
    Needle(
        "Captain Reyes named his new sloop after his grandmother, Philippa.",
        "What is the seafarer's sailing boat called?",
        "Philippa",
    ),
    Needle(
        "The recipe of the Kessler bakery asks for seventeen grams of cardamom.",
        "How many grams of cardamom does the recipe of the Kessler bakery ask for?",
        "seventeen",
    ),
    Needle(
        "Dr. Amara Nwosu treats the swans of Loch Veldt with camphor ointment.",
        "Which remedy does Nwosu give to the birds of Loch Veldt?",
        "camphor",
    ),
    Needle(
        "The retired judge has taught himself to play the theremin in his attic.",
        "Which musical instrument did the former magistrate learn at home?",
        "theremin",
    ),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One question about one document."""

    depth: int
    text: str
    needle: Needle


def cases(records: Sequence[dict[str, Any]], chars: int, each: int) -> list[Asked]:
    """Return `each` questions for each depth, at most three, over documents of some `chars` characters.

    The documents are the same but for the facts. Their passages come from the records; where these are fewer,
    the documents are shorter.
    """
    filler = _filler(records, chars)
    found: list[Asked] = []
    for number, depth in enumerate(DEPTHS):
        # One question for each depth alone is to be of another kind at each.
        kinds = [(number + one) % KINDS for one in range(each)]
        needles = [NEEDLES[(number * KINDS + kind) % len(NEEDLES)] for kind in kinds]
        passages = list(filler)
        first = round((len(passages) - len(needles)) * depth / 100)
        for place, needle in enumerate(needles, first):
            passages[place] = _hidden(passages[place], needle.fact)
        text = "\n\n".join(passages)
        found += [Asked(depth, text, needle) for needle in needles]
    return found


def _filler(records: Sequence[dict[str, Any]], chars: int) -> list[str]:
    pool = dict.fromkeys(
        f"{document['title']}\n{document['text']}" for record in records for document in record["documents"]
    )
    passages = [text for text in pool if not any(_tells(text, needle) for needle in NEEDLES)]
    random.Random(0).shuffle(passages)
    chosen: list[str] = []
    size = 0
    for passage in passages:
        if size >= chars:
            break
        chosen.append(passage)
        size += len(passage) + 2
    return chosen


def _tells(text: str, needle: Needle) -> bool:
    return needle.answer.lower() in text.lower()


def _hidden(passage: str, fact: str) -> str:
    """Return a passage with a fact between two of its sentences."""
    title, newline, body = passage.partition("\n")
    parts = sentences(body)
    middle = len(parts) // 2
    before, after = "".join(parts[:middle]).rstrip(), "".join(parts[middle:])
    return title + newline + " ".join(part for part in (before, fact, after) if part)
