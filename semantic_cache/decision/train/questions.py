"""Plain questions from templates: rephrased, or with one thing in them changed."""

from __future__ import annotations

from random import Random

from semantic_cache.decision.train.pairs import Pair, reword, unlike
from semantic_cache.gates.antonyms import OPPOSITES
from semantic_cache.gates.synonyms import GROUPS, words_of
from semantic_cache.gates.words import words_in

_HOW = (
    "How do I {}?",
    "How can I {}?",
    "How do you {}?",
    "What is the best way to {}?",
    "how to {}",
    "What's a good way to {}?",
    "Can you tell me how to {}?",
    "If I want to {}, what should I do?",
    "In order to {}, what do I have to do?",
    "I want to {}. How do I do that?",
    "Please explain how to {}.",
    "I'd like to know how one can {}.",
    "Could you help me {}?",
    "Show me how to {}",
)
_MAY = (
    "Can I {}?",
    "Is it okay to {}?",
    "Am I allowed to {}?",
    "Is it possible to {}?",
    "May I {}?",
    "Is it fine if I {}?",
)
_WHY = ("Why should I {}?", "What is the reason to {}?", "What are the benefits if I {}?")
_WHEN = ("When should I {}?", "What is the right time to {}?", "At what time do I {}?")
_WHERE = ("Where can I {}?", "In which place can I {}?", "Where is it possible to {}?")
_FRAMES = (_HOW, _MAY, _WHY, _WHEN, _WHERE)

_VERBS = words_in("""buy sell repair clean paint wash install remove open close find build cook bake grow
feed train wrap store carry move lift cut measure test replace connect print copy draw describe compare
order return rent borrow lend register insure polish sharpen heat cool freeze dry fold sew knit weigh stack
label ship collect donate recycle inspect adjust calibrate upgrade charge unlock hide display protect
decorate design assemble sketch photograph translate summarize memorize restore preserve ferment smoke grill
peel slice boil roast steam""")
_NOUNS = words_in("""bicycle piano laptop garden sofa kettle ladder tent boat bridge statue carpet window
curtain mirror lamp battery engine wheel saddle helmet jacket sweater necklace ring watch clock camera
telescope microscope drone robot printer keyboard monitor router speaker guitar violin drum flute book
letter poem essay contract invoice passport ticket map globe candle vase bottle basket barrel box crate
pallet fence gate roof chimney fireplace oven stove fridge freezer toaster blender knife spoon plate bowl
cup mug pan pot table chair desk shelf bed pillow blanket mattress towel soap sponge broom bucket hose
shovel rake axe hammer saw drill screw nail rope chain wire cable pipe rabbit hamster parrot pony goat
canary turtle rose tulip cactus oak pine lawn hedge orchard pond soup salad stew cake bread cheese salmon
turkey noodle dumpling pancake waffle jam pickle mushroom pumpkin""")
_PLACES = """in Rome;in winter;at home;on a boat;without tools;with one hand;for free;online;by hand;in a
hurry; in a small flat;at night;in the rain;on weekends;for a friend;with my kids;in Canada;before a
trip;after a storm; during a meeting;under water;on a budget;with vinegar;at altitude;in public;next to a
road;for an exam""".replace("\n", "").split(";")
_ADJECTIVES = words_in("""famous dead alive rich poor tall short honest loyal brave shy angry calm lazy busy
clever foolish kind cruel polite rude funny serious married single divorced retired unemployed pregnant
blind deaf injured hungry thirsty tired awake asleep vegan religious secular royal foreign local guilty
innocent armed wanted missing lost lonely popular strict generous greedy humble proud jealous patient
reckless fearless nervous cheerful gloomy bald bearded blond muscular slim elegant wealthy powerful talented
gifted bilingual illiterate drunk sober invisible immortal Norwegian Kenyan Peruvian Thai Greek Canadian
Irish Egyptian""")
_JOBS = words_in("""pilot baker judge surgeon sailor miner tailor banker farmer poet novelist dancer
comedian magician chemist biologist astronaut detective diplomat senator mayor monk priest colonel carpenter
plumber roofer gardener translator referee jockey boxer swimmer archer""")
_RESTRICT = words_in("""small large old wooden plastic electric rusty broken cheap antique red green heavy
portable foreign waterproof used digital manual silver leather double stolen rented famous young retired
former senior Italian Polish certified wild frozen spicy vegan organic gluten-free second-hand""")
_EMPTY = ("really", "actually", "just", "basically", "simply", "even")
_RELATIONS = words_in("""teaching chasing hiring suing blaming praising helping ignoring calling visiting
paying training following protecting accusing insulting inviting hugging tickling scolding leading saving
warning""")
_MUTUAL = (
    "married to",
    "related to",
    "friends with",
    "dating",
    "in love with each other like",
    "a neighbor of",
    "the same age as",
    "next to",
    "far from",
    "a cousin of",
    "similar to",
    "competing with",
)
_PEOPLE = words_in("""Alma Boris Carla Dmitri Edda Farid Greta Hugo Imani Jonas Kiran Leila Marco Nadia Otto
Priya Quentin Rosa Stefan Tamara Ulla Viktor Wanda Ximena Yusuf Zelda Anton Bella Cyrus Dora""")
_COMPARED = words_in("""heavier larger older faster cheaper warmer stronger smarter safer louder thicker
brighter softer""")


def questions(random: Random, count: int) -> list[Pair]:
    """Make `count` pairs of plain questions."""
    makers = (_phrase, _phrase, _phrase, _person, _person, _relation, _comparison, _becoming)
    return [random.choice(makers)(random) for _ in range(count)]


def _shuffle(random: Random, a: str, b: str, same: bool, kind: str) -> Pair:
    if random.random() < 0.2:
        a, b = a.lower().rstrip("?."), b.lower().rstrip("?.")
    return Pair(b, a, same, kind) if random.random() < 0.5 else Pair(a, b, same, kind)


def _phrase(random: Random) -> Pair:
    frames = random.choice((_HOW, _HOW, *_FRAMES))
    verb, noun = random.choice(_VERBS), random.choice(_NOUNS)
    owner = random.choice(("a", "my", "the", "an old", "a new", "some kind of"))
    rest = f" {random.choice(_PLACES)}" if random.random() < 0.5 else ""
    other_frame = random.choice(frames)
    kind = random.choice(
        ("same", "same", "same", "noun", "verb", "place", "added", "opposite", "not", "frame", "two")
    )
    verb_b, noun_b, owner_b, rest_b = verb, noun, owner, rest
    if kind == "noun":
        noun_b = unlike(random, noun, _NOUNS)
    elif kind == "verb":
        verb_b = unlike(random, verb, _VERBS)
    elif kind == "place":
        rest_b = f" {random.choice([place for place in _PLACES if place != rest.strip()])}"
    elif kind == "added":
        owner_b = f"{owner} {random.choice(_RESTRICT)}"
    elif kind == "opposite" and OPPOSITES.get(verb):
        verb_b = random.choice(sorted(OPPOSITES[verb]))
    elif kind == "not":
        verb_b = random.choice(
            (f"not {verb}", f"stop someone who wants to {verb}", f"avoid having to {verb}")
        )
    elif kind == "frame":
        other_frame = random.choice(random.choice([other for other in _FRAMES if other is not frames]))
    elif kind == "two":
        noun_b = f"{noun} and {random.choice(_NOUNS)}"
    else:
        kind = "same"
    a = random.choice(frames).format(f"{verb} {owner} {noun}{rest}")
    inner = f"{verb_b} {owner_b} {noun_b}"
    if kind == "same":
        inner = reword(random, inner, 0.4)
        if random.random() < 0.2:
            inner = f"{random.choice(_EMPTY)} {inner}"
    b = other_frame.format(inner + rest_b)
    if kind == "same" and rest and random.random() < 0.2 and b[0].isupper():
        b = f"{rest.strip().capitalize()}, {b[0].lower()}{b[1:].replace(rest, '', 1)}"
    return _shuffle(random, a, b, kind == "same", f"phrase {kind}")


def _person(random: Random) -> Pair:
    who = random.choice(_PEOPLE)
    if random.random() < 0.5:
        what, choices, form = random.choice(_ADJECTIVES), _ADJECTIVES, "{}"
    else:
        what, choices, form = random.choice(_JOBS), _JOBS, "a {}"
    form = random.choice(
        (
            "Is {who} " + form + "?",
            "Do you think {who} is " + form + "?",
            "I wonder if {who} is " + form,
            "Why is {who} " + form + "?",
        )
    )
    kind = random.choice(("same", "same", "other", "other", "who", "added", "was", "not"))
    a = form.format(what, who=who)
    if kind == "other":
        b = form.format(unlike(random, what, choices), who=who)
    elif kind == "who":
        b = form.format(what, who=unlike(random, who, _PEOPLE))
    elif kind == "added":
        b = form.format(f"{random.choice(_RESTRICT)} {what}", who=who)
    elif kind == "was":
        b = random.choice(
            ("Had {who} formerly been {w}?", "Will {who} soon be {w}?", "Was {who} once {w}?")
        ).format(w=what, who=who)
    elif kind == "not":
        b = form.replace(" is ", " is not ").replace("Is {who}", "Isn't {who}").format(what, who=who)
    else:
        groups = GROUPS.get(what)
        words = [w for group in groups for w in words_of(group) if w != what] if groups else []
        b = form.format(random.choice(words) if words else f"{random.choice(_EMPTY)} {what}", who=who)
    return _shuffle(random, a, b, kind == "same", f"person {kind}")


def _relation(random: Random) -> Pair:
    one, other, third = random.sample(_PEOPLE, 3)
    mutual = random.random() < 0.5
    word = random.choice(_MUTUAL if mutual else _RELATIONS)
    form = random.choice(("Is {} {} {}?", "Why is {} {} {}?", "Since when is {} {} {}?"))
    a = form.format(one, word, other)
    kind = random.choice(("turned", "turned", "third", "relation"))
    if kind == "turned":
        b = form.format(other, word, one)
        return Pair(a, b, mutual, f"relation turned {'mutual' if mutual else 'one-way'}")
    if kind == "third":
        return Pair(a, form.format(one, word, third), False, "relation third")
    others = [w for w in (*_MUTUAL, *_RELATIONS) if w != word]
    return Pair(a, form.format(one, random.choice(others), other), False, "relation other")


def _comparison(random: Random) -> Pair:
    one, other = random.sample(_NOUNS, 2)
    word = random.choice(_COMPARED)
    if random.random() < 0.5:
        a, b = f"Which is {word}, a {one} or a {other}?", f"Which is {word}, a {other} or a {one}?"
        return Pair(a, b, True, "comparison or")
    a = f"Is a {one} {word} than a {other}?"
    if random.random() < 0.5:
        return Pair(a, f"Is a {other} {word} than a {one}?", False, "comparison turned")
    return Pair(a, f"Is a {one} {unlike(random, word, _COMPARED)} than a {other}?", False, "comparison other")


def _becoming(random: Random) -> Pair:
    word = random.choice([w for w in _ADJECTIVES if w[0].islower()])
    opposites = sorted(OPPOSITES.get(word, ()))
    frame = random.choice(
        (
            "What helps one to be {}?",
            "What makes people {}?",
            "How do I get to be {}?",
            "I want to be {}. How?",
        )
    )
    up, down = random.choice(
        (("more {}", "less {}"), ("{}", "not {}"), ("a {} person", "a person who is not {}"))
    )
    kind = random.choice(("same", "same", "turned", "opposite", "other"))
    a = frame.format(up.format(word))
    if kind == "same" and opposites:
        b = frame.format(down.format(random.choice(opposites)))
        return _shuffle(random, a, b, True, "becoming twice turned")
    if kind == "opposite" and opposites:
        return _shuffle(
            random, a, frame.format(up.format(random.choice(opposites))), False, "becoming opposite"
        )
    if kind == "other":
        return _shuffle(
            random, a, frame.format(up.format(unlike(random, word, _ADJECTIVES))), False, "becoming other"
        )
    return _shuffle(random, a, frame.format(down.format(word)), False, "becoming turned")
