"""What ships to judge answers by before a route has outcomes of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.after.logprobs import Token
from router.after.signs import SmallAnswer, signs_of
from router.errors import BadPolicy
from router.prior import load_prior, save_prior

USUAL = -0.3
"""What a word costs that small model where it is sure."""


def judged(prompt: str, text: str, unsure: str = "", logprob: float = USUAL, finish: str = "stop") -> float:
    """What the shipped prior thinks of an answer of which one word was unsure."""
    pieces = [word if place == 0 else f" {word}" for place, word in enumerate(text.split())]
    tokens = []
    for piece in pieces:
        own = logprob if unsure and unsure in piece else USUAL
        tokens.append(Token(own, (own, own - 0.3 if own < USUAL else own - 1.5, own - 3.0), piece))
    said = SmallAnswer(prompt, text, finish, None, tokens)
    return load_prior().confidence.judge(signs_of(said)).probability


def test_an_answer_that_was_sure_is_above_one_that_was_guessed() -> None:
    prompt = "What is the capital of Norway?"

    sure = judged(prompt, "The capital of Norway is Oslo.")
    guessed = judged(prompt, "The capital of Norway is Bodo.", "Bodo", -3.5)

    assert sure > 0.9
    assert guessed < sure - 0.25


def test_the_same_holds_for_kinds_of_questions_that_it_has_not_learned_from() -> None:
    given = "Parcel 88 weighs 4 kilos and goes to Mara in Lyon.\n\nWho gets the parcel?"

    assert judged(given, "Mara gets the parcel.") > judged(given, "Kerstin gets the parcel.", "Kerstin", -4.0)


def test_a_sum_that_is_wrong_is_not_believed_however_sure_it_was() -> None:
    assert judged("What is 17 + 25?", "17 + 25 = 42") > judged("What is 17 + 25?", "17 + 25 = 43") + 0.2


def test_it_is_never_certain() -> None:
    values = load_prior().confidence.calibration.values

    assert 0.04 < values[0] < values[-1] < 0.96


@pytest.mark.parametrize(
    ("text", "finish"),
    [("It is Oslo, as", "length"), ("I'm sorry, I can't help with that.", "stop"), (" ", "stop")],
)
def test_a_broken_answer_is_below_all_others(text: str, finish: str) -> None:
    assert judged("What is the capital of Norway?", text, finish=finish) == 0


def test_an_answer_without_token_probabilities_is_judged_too() -> None:
    judgement = load_prior().confidence.judge(signs_of(SmallAnswer("Who?", "It was Mara.", "stop")))

    assert 0.1 < judgement.probability < 0.9
    assert "without logprobs" in judgement.reason


def test_it_says_what_it_was_learned_from() -> None:
    prior = load_prior()

    assert prior.model == "smollm2-135m-instruct"
    assert prior.outcomes >= 500
    assert len(prior.said) == 2


def test_it_is_the_same_when_written_and_read_again(tmp_path: Path) -> None:
    save_prior(load_prior(), tmp_path / "prior.json")

    assert load_prior(tmp_path / "prior.json") == load_prior()


def test_a_file_that_is_no_prior_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prior.json").write_text('{"model": 3}')

    with pytest.raises(BadPolicy, match=r"prior\.json"):
        load_prior(tmp_path / "prior.json")
    with pytest.raises(BadPolicy, match="No such file"):
        load_prior(tmp_path / "none.json")
