"""Generated pairs: reproducible, of both labels, and true to their kind."""

import re
from random import Random

from semantic_cache.decision.train.intents import changed
from semantic_cache.decision.train.pairs import unlike
from semantic_cache.decision.train.passages import passages
from semantic_cache.decision.train.questions import questions
from semantic_cache.gates.synonyms import synonymous
from semantic_cache.gates.text import stem


def test_a_seed_makes_the_same_pairs() -> None:
    assert questions(Random(3), 50) == questions(Random(3), 50) != questions(Random(4), 50)
    assert passages(Random(3), 20) == passages(Random(3), 20)


def test_both_labels_are_made_in_number() -> None:
    for pairs in (questions(Random(1), 600), passages(Random(1), 300)):
        assert 0.2 < sum(pair.same for pair in pairs) / len(pairs) < 0.6


def test_tellings_of_one_story_hold_the_same_numbers() -> None:
    for pair in passages(Random(5), 200):
        if pair.kind == "passage same":
            assert set(re.findall(r"\d+", pair.a)) == set(re.findall(r"\d+", pair.b)), pair


def test_a_word_in_place_of_another_is_no_synonym() -> None:
    random = Random(2)
    for _ in range(200):
        assert not synonymous(
            stem(unlike(random, "buy", ["purchase", "acquire", "paint", "fold"])), stem("buy")
        )


def test_changed_questions_differ_from_what_they_were_made_of() -> None:
    pairs = changed(
        Random(1), ["How do I paint my fence before the winter comes?", "where is the key of my shed"], 60
    )
    assert all(pair.a != pair.b for pair in pairs if not pair.same)
    assert {pair.same for pair in pairs} == {True, False}
