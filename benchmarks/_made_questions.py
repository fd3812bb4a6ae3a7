"""Questions made from parts, each in two wordings, in any number up to some 40,000."""

from __future__ import annotations

import itertools
import random


def _parts(text: str) -> list[str]:
    return " ".join(text.split()).split("; ")


_INTENTS = [
    ("How do I return {thing} {context}?", "What is the way to send back {thing} {context}?"),
    ("How much does {thing} cost {context}?", "What is the price of {thing} {context}?"),
    ("Is {thing} available {context}?", "Can I still get {thing} {context}?"),
    ("Who repairs {thing} {context}?", "Where can I have {thing} fixed {context}?"),
    ("How long does delivery of {thing} take {context}?", "When would {thing} arrive {context}?"),
    ("Write a short advert for {thing} {context}.", "Compose a brief advertisement for {thing} {context}."),
    (
        "What should I check before buying {thing} {context}?",
        "What matters when I purchase {thing} {context}?",
    ),
    ("How do I clean {thing} {context}?", "What is the best way of washing {thing} {context}?"),
    ("Can I rent {thing} {context}?", "Is it possible to hire {thing} {context}?"),
    ("Which size of {thing} do I need {context}?", "How big should {thing} be {context}?"),
    ("Explain how {thing} is made {context}.", "Describe the making of {thing} {context}."),
    ("Is {thing} covered by the warranty {context}?", "Does the guarantee include {thing} {context}?"),
    ("How do I store {thing} {context}?", "Where is the right place to keep {thing} {context}?"),
    ("What are the dangers of {thing} {context}?", "What risks does {thing} bring {context}?"),
    ("Name three alternatives to {thing} {context}.", "What else could I use, not {thing}, {context}?"),
    ("How heavy is {thing} {context}?", "What does {thing} weigh {context}?"),
    ("Can {thing} be recycled {context}?", "How do I dispose of {thing} {context} in a green way?"),
    ("Who invented {thing} {context}?", "Whose invention was {thing} {context}?"),
    ("How do I assemble {thing} {context}?", "Give me the steps of putting {thing} together {context}."),
    ("What colours does {thing} come in {context}?", "In which colours is {thing} sold {context}?"),
]
_THINGS = _parts("""
a bicycle; a winter coat; an electric kettle; a garden hose; a violin; a telescope; a camping tent; a
coffee grinder; a pair of skis; a bookshelf; a lawn mower; a sewing machine; a rice cooker; a desk lamp;
a fishing rod; a rain barrel; a piano; a chess set; a baby carriage; a surfboard; a microscope; a wood
stove; a pressure cooker; a tool box; a hammock; a snow shovel; a camera lens; a smoke detector; a
standing desk; a wheelbarrow; a bread machine; a dog basket; a car tyre; a climbing rope; a fountain
pen; a garage door; a heat pump; a solar panel; a roof window; a water filter
""")
_CONTEXTS = _parts("""
in winter; for a beginner; without a receipt; near Lyon; for two people; on a Sunday; in a small flat;
by myself; under forty euros; at short notice; for a school; in the rain; with a discount; from abroad;
as a present; after ten years; in Norway; for a left-handed person; at night; with a company card;
online; before Easter; in a hurry; for a wedding; without tools; on the third floor; with children; in
Japan; for an office; at the seaside; during a strike; with one arm in plaster; from a flea market; at
high altitude; for a museum; in the nineteenth century; on an island; for a film set; with no
instructions; by train; in a desert; for a hospital; without electricity; on a farm; for a competition;
in bulk; as a student; on instalments; in a listed building; for export
""")


def question_pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return `count` different questions, each with the same question in other words."""
    every = list(itertools.product(_INTENTS, _THINGS, _CONTEXTS))
    if count > len(every):
        raise ValueError(f"there are {len(every)} questions")
    chosen = random.Random(seed).sample(every, count)
    return [
        (first.format(thing=thing, context=context), second.format(thing=thing, context=context))
        for (first, second), thing, context in chosen
    ]
