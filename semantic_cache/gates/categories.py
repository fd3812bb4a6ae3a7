"""Closed classes whose members are never the same thing: a pair of two of them is another question."""

from __future__ import annotations

from functools import lru_cache

from semantic_cache.gates.synonyms import synonymous
from semantic_cache.gates.text import stem
from semantic_cache.gates.words import words_in

_CLASSES = """\
monday tuesday wednesday thursday friday saturday sunday weekday weekend today tomorrow yesterday tonight;
january february march april may june july august september october november december; spring summer
autumn fall winter; morning noon afternoon evening night midnight; second minute hour day week month
quarter year decade century; red orange yellow green blue purple violet pink brown black white gray golden
silver beige turquoise crimson; dog cat bird fish rabbit hamster horse cow pig goat sheep chicken duck
goose turkey lion tiger bear wolf fox deer snake lizard frog turtle rat mouse squirrel monkey elephant
giraffe zebra kangaroo whale shark dolphin seal penguin owl eagle parrot pigeon spider ant bee butterfly
snail worm lobster crab shrimp octopus gecko ferret hedgehog donkey camel llama crow beetle toad; inch
foot yard mile meter kilometer centimeter millimeter acre hectare; ounce pound kilogram gram ton
milligram; liter gallon pint quart milliliter; dollar cent euro pound yen rupee peso dime nickel penny
dime franc yuan bitcoin; celsius fahrenheit kelvin; java python javascript typescript rust ruby go kotlin
swift php perl scala haskell c matlab sql; windows linux macos android ios ubuntu debian; english french
german spanish italian portuguese russian chinese japanese korean arabic hindi dutch turkish polish; visa
mastercard amex paypal; breakfast lunch dinner brunch supper; father mother brother sister uncle aunt
cousin son daughter grandmother grandfather husband wife nephew niece; actor author artist engineer doctor
nurse lawyer teacher accountant architect advisor agent analyst assistant auditor banker carpenter chef
clerk consultant dentist designer developer director driver editor educator electrician entrepreneur
executive farmer firefighter historian interpreter investigator investor journalist judge librarian
manager mechanic musician painter pharmacist photographer pilot plumber politician president producer
professor programmer psychologist reporter scientist secretary singer soldier student surgeon tailor
waiter writer; football soccer basketball baseball tennis golf hockey cricket rugby volleyball swimming
boxing chess; apple banana orange pear peach plum cherry grape strawberry blueberry raspberry lemon lime
mango melon watermelon pineapple coconut kiwi; potato tomato onion carrot cabbage lettuce spinach broccoli
pepper cucumber corn pea bean mushroom garlic; beef pork lamb chicken turkey fish rice pasta bread cheese
butter egg milk cream yogurt honey sugar salt chocolate; water coffee tea juice milk wine beer soda
whiskey vodka rum; iron gold silver copper steel aluminum wood plastic glass paper leather cotton wool
silk stone brick; north south east west; left right; red-wine white-wine; piano guitar violin drum flute
trumpet cello saxophone; mercury venus earth mars jupiter saturn uranus neptune pluto; atheist agnostic
christian muslim jewish hindu buddhist catholic protestant mormon sikh; liberal conservative socialist
communist anarchist libertarian republican democrat; addition subtraction multiplication division; square
circle triangle rectangle cube sphere cylinder cone pyramid; hydrogen oxygen nitrogen carbon helium;
headache fever cough cold flu diabetes cancer asthma; head neck shoulder arm elbow wrist hand finger chest
back stomach hip leg knee ankle foot toe eye ear nose mouth tooth; bus train plane car bike taxi ship boat
truck motorcycle subway tram helicopter; hotel flight restaurant; debit credit prepaid; checking savings;
create read update delete; get post put patch; who what when where why; i you he she we they"""


def _table() -> dict[str, frozenset[int]]:
    out: dict[str, set[int]] = {}
    for number, line in enumerate(_CLASSES.split(";")):
        for word in line.split():
            out.setdefault(stem(word), set()).add(number)
    return {word: frozenset(classes) for word, classes in out.items()}


CLASSES = _table()


_UNITS = frozenset(
    stem(word)
    for word in words_in(
        """second minute hour day week month year decade inch foot yard mile meter kilometer centimeter
        millimeter acre ounce pound kilogram gram ton liter gallon pint quart milliliter dollar cent euro
        percent degree"""
    )
)


def other_unit(one: str, other: str) -> bool:
    """Return whether two stems are different units of measure, of whatever dimension."""
    return one != other and one in _UNITS and other in _UNITS and not synonymous(one, other)


@lru_cache(maxsize=16384)
def exclusive(one: str, other: str) -> bool:
    """Return whether two stems are different members of one class."""
    if one == other or synonymous(one, other):
        return False
    mine = CLASSES.get(one)
    return mine is not None and not mine.isdisjoint(CLASSES.get(other, ()))
