"""Chat prompts of many kinds, put together from parts by a seed; what the model answers is learnt from."""

from __future__ import annotations

import random
from collections.abc import Callable

_TOPICS = (
    *("rainbows", "earthquakes", "the moon's phases", "coral reefs", "owls", "mushrooms", "photosynthesis"),
    *("bridges", "lighthouses", "windmills", "steam engines", "submarines", "hot air balloons", "elevators"),
    *("vaccines", "sleep", "the human heart", "allergies", "vitamins", "running a marathon", "yoga"),
    *("the Roman Empire", "the Silk Road", "the printing press", "the Renaissance", "Viking ships"),
    *("compound interest", "inflation", "insurance", "starting a small business", "job interviews"),
    *(
        "machine learning",
        "computer viruses",
        "databases",
        "encryption",
        "web browsers",
        "open-source software",
    ),
    *("baking bread", "olive oil", "pickling vegetables", "pizza", "coffee", "chocolate", "cheese making"),
    *("watercolour painting", "the violin", "jazz", "film photography", "poetry", "theatre", "origami"),
    *("recycling", "solar panels", "wind power", "electric cars", "composting", "rainforests", "droughts"),
    *("puppies", "aquarium fish", "horse riding", "bird watching", "gardening", "camping", "sailing"),
    *("public libraries", "voting", "the postal service", "city planning", "trains", "airports", "museums"),
    *("friendship", "stress at work", "time management", "learning a language", "public speaking", "sharing"),
    *("dinosaurs", "black holes", "gravity", "atoms", "magnets", "DNA", "probability", "prime numbers"),
    *("football", "swimming", "table tennis", "board games", "crossword puzzles", "kites", "juggling"),
    *("New Zealand", "Japan", "Morocco", "Iceland", "Peru", "the Alps", "the Amazon river", "Antarctica"),
)
_ASKS = (
    *("What is {t}?", "Tell me about {t}.", "Why do people care about {t}?", "How do {t} work?"),
    *(
        "Describe {t} in three sentences.",
        "List five facts about {t}.",
        "I know nothing about {t}. Where do I start?",
    ),
    *(
        "Write a short poem about {t}.",
        "Write a short story that has to do with {t}.",
        "Tell me a joke about {t}.",
    ),
    *("What are the advantages and disadvantages of {t}?", "Give me ten ideas for a project about {t}."),
    *(
        "Explain {t} like I'm five.",
        "Explain {t} to an expert in another field.",
        "Summarize what matters about {t}.",
    ),
    *(
        "Write an introduction to an article about {t}.",
        "Draft a blog post about {t}.",
        "Write a tweet about {t}.",
    ),
    *("How has our view of {t} changed over the last century?", "What is the future of {t}?"),
    *(
        "Make a quiz with four questions about {t}, with answers.",
        "Write a dialogue of two friends about {t}.",
    ),
    *(
        "What should a beginner know about {t}?",
        "What mistakes should I avoid with {t}?",
        "Is {t} overrated?",
    ),
    *("How can I teach {t} to a class of ten-year-olds?", "Who are famous people connected with {t}?"),
    *("Give me step-by-step instructions for a day devoted to {t}.", "What does {t} cost, roughly?"),
    *("Write an email to a colleague recommending a book about {t}.", "Write a speech on {t}."),
    *(
        "Compare {t} with {u}.",
        "What do {t} and {u} have in common?",
        "Should I learn about {t} or {u} first?",
    ),
)
_SITUATIONS = (
    "I have an exam tomorrow and cannot concentrate. What should I do?",
    "My neighbour plays loud music every night. How do I talk to them?",
    "I want to eat healthier but I have little time to cook. Any suggestions?",
    "My flight was cancelled. Write a polite message to the airline.",
    "I would like to ask my manager for a raise. How do I begin?",
    "Can you help me plan a birthday party for my daughter, who turns {n}?",
    "I have {n} dollars left this month. How can I make them last?",
    "Plan a weekend in {p} for a family with two children.",
    "What should I pack for a trip of {n} days to {p}?",
    "I moved to {p} last week and feel lonely. What can I do?",
    "Write a short biography of an imaginary painter from {p}.",
    "Give me a workout plan for {n} minutes a day.",
    "Suggest names for a {g} shop in {p}.",
    "Write a product description for a {g}.",
    "Write a friendly review of a {g} that I bought in {p}.",
    "How do I repair a {g}?",
    "Write a letter of complaint about a {g}.",
    "Write the opening scene of a detective novel set in {p}.",
    "Who lives longer, cats or dogs? And by how much?",
    "What is the capital of the country that {p} is in?",
)
_PLACES = ("Paris", "Cairo", "Sydney", "Chicago", "Mumbai", "Berlin", "Rome", "Seoul", "Lima", "Stockholm")
_GOODS = (
    "guitar",
    "bicycle",
    "toaster",
    "wooden table",
    "pair of boots",
    "clock",
    "kite",
    "umbrella",
    "sofa",
    "tent",
)
_SENTENCES = (
    "The meeting is moved to {d} because two people are ill.",
    "We was very happy when the {g} finally arrived on {d}.",
    "The old station in {p} will be turned into a market hall, the council said on {d}.",
    "Sales of the {g} rose by {n} percent last year, mostly in {p}.",
    "She opened the letter, read it twice and put it back without a word.",
    "Please remember to switch off the lights before you leave the {g} workshop in {p}.",
    "Nobody in {p} could say who had left the {g} in the middle of the square.",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
_REWRITES = (
    *("Rewrite this more politely: {s}", "Correct the grammar: {s}", "Make this shorter: {s}"),
    *(
        "Turn this into a newspaper headline: {s}",
        "Continue this story: {s}",
        "Say this in simpler words: {s}",
    ),
    *("What questions does this text leave open? {s}", "Is the tone of this text positive or negative? {s}"),
)
_CODE = (
    "Write a Python function that {a}.",
    "Write a Python function that {a}, and explain how it works.",
    "How would you write JavaScript code that {a}?",
    "Write unit tests for a function that {a}.",
)
_ACTIONS = (
    *("reverses a string", "checks whether a word is a palindrome", "finds the largest number of a list"),
    *("counts the vowels in a text", "sorts a list of names by length", "computes the factorial of a number"),
    *("merges two dictionaries", "reads a CSV file and prints its columns", "removes duplicates from a list"),
    *("converts Celsius to Fahrenheit", "returns the first n Fibonacci numbers", "rolls two dice"),
)
_SUMS = (
    "What is {n} times {m}?",
    "I buy {n} apples for {m} cents each. How much do I pay?",
    "A train leaves at {h} o'clock and travels {n} kilometres at {m} km/h. When does it arrive?",
    "If {n} people share {m} sandwiches, how many does each one get?",
)
FOLLOW_UPS = (
    *("Can you say more about the last point?", "Thanks! Can you make that shorter?", "Why?"),
    *("Give me an example.", "Are you sure?", "Now write it for a child.", "What else should I know?"),
    *("Turn that into a list.", "How does this help me in daily life?", "Thank you, that was helpful."),
)


def _topic(chance: random.Random) -> str:
    one, other = chance.sample(_TOPICS, 2)
    return chance.choice(_ASKS).format(t=one, u=other)


def _filled(texts: tuple[str, ...], chance: random.Random) -> str:
    return chance.choice(texts).format(
        n=chance.randrange(3, 60),
        m=chance.randrange(2, 90),
        h=chance.randrange(5, 20),
        p=chance.choice(_PLACES),
        g=chance.choice(_GOODS),
        d=chance.choice(_DAYS),
        a=chance.choice(_ACTIONS),
        s="{s}",
    )


def _rewrite(chance: random.Random) -> str:
    text = " ".join(_filled(_SENTENCES, chance) for _ in range(chance.randrange(1, 4)))
    return chance.choice(_REWRITES).format(s=text)


_KINDS: tuple[tuple[int, Callable[[random.Random], str]], ...] = (
    (60, _topic),
    (18, lambda chance: _filled(_SITUATIONS, chance)),
    (10, _rewrite),
    (8, lambda chance: _filled(_CODE, chance)),
    (4, lambda chance: _filled(_SUMS, chance)),
)


def compose(chance: random.Random) -> str:
    """Return one prompt; of the few hundred thousand that there are, mostly open questions."""
    [kind] = chance.choices([kind for _, kind in _KINDS], [weight for weight, _ in _KINDS])
    return kind(chance)
