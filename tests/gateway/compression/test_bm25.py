"""BM25 finds the text that shares the question's rare words."""

from __future__ import annotations

from gateway.compression.bm25 import scores, terms

TEXTS = ["The mill was built in 1704.", "The bridge was built of stone.", "Nothing is known of the rest."]


def test_rare_words_weigh_more_than_common_ones() -> None:
    found = scores("When was the mill built?", TEXTS)
    assert found[0] > found[1] > found[2] == 0


def test_scores_of_a_text_do_not_depend_on_words_that_no_text_has() -> None:
    assert scores("mill", TEXTS) == scores("mill zeppelin", TEXTS)


def test_ids_are_compared_whole_and_in_pieces() -> None:
    assert "a-17.b/2" in terms("See A-17.b/2!") and "17" in terms("See A-17.b/2!")


def test_endings_do_not_matter() -> None:
    assert terms("mills, burning") == terms("mill burned")


def test_without_words_nothing_is_found() -> None:
    assert scores("", TEXTS) == scores("what is the", TEXTS) == [0.0, 0.0, 0.0]
    assert scores("mill", []) == []
