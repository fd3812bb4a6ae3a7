"""A query is scored by whatever is known of it."""

from __future__ import annotations

from router.before.linear import Linear
from router.before.query import Query, QueryModel
from router.before.topics import fit_topics
from router.logistic import Logistic, Weight

TOPICS = fit_topics(["law"] * 50 + ["art"] * 50, [1.0] * 50 + [0.0] * 50)
BY_VECTOR = QueryModel(TOPICS, Linear(0.3, (0.5, 0.0)), None)
BY_SIGNS = QueryModel(TOPICS, None, Logistic(0.0, {"length": Weight(1.0, 0.0, 1.0)}))


def test_a_harder_topic_scores_higher() -> None:
    vector = [0.0, 1.0]
    assert BY_VECTOR.score(Query("law", vector=vector)) > BY_VECTOR.score(Query("art", vector=vector))


def test_the_vector_and_its_neighbours_move_the_score() -> None:
    plain = BY_VECTOR.score(Query("law", vector=[0.0, 1.0]))

    assert BY_VECTOR.score(Query("law", vector=[1.0, 0.0])) == plain + 0.5
    assert BY_VECTOR.score(Query("law", vector=[0.0, 1.0], neighbours=[(0.95, -1.0)])) < plain


def test_without_vectors_the_signs_count() -> None:
    assert BY_SIGNS.score(Query("law", {"length": 2})) > BY_SIGNS.score(Query("law", {"length": 0}))


def test_a_model_of_vectors_still_knows_topics_when_there_is_no_vector() -> None:
    assert BY_VECTOR.score(Query("law")) > BY_VECTOR.score(Query("art"))
