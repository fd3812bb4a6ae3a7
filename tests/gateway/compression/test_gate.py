"""Conversations are compressed where it pays, and a few the other way, so that growth can be seen."""

from __future__ import annotations

from gateway.compression.economics import Economics
from gateway.compression.gate import TRIED, WHOLE, Gate
from gateway.compression.remembered import digest
from gateway.config.schema import Price
from tests.gateway.compression.test_economics import call

DEAR = Price(input=10, output=30)
MANY = 2048


def share(gate: Gate, price: Price | None) -> float:
    drops = [gate.drops(digest(number), "up", "m", price, 10_000) for number in range(MANY)]
    return sum(drops) / MANY


def seen(output: int) -> Economics:
    """An upstream whose answers have 100 tokens to whole prompts, and `output` to shorter ones."""
    economics = Economics()
    for _ in range(20):
        economics.called(call(1000, 0.1, output=100), "m", compressed=False)
        economics.called(call(500, 0.1, output=output), "m", compressed=True)
    return economics


def test_half_goes_whole_until_answers_of_both_kinds_were_seen() -> None:
    assert 0.45 < share(Gate(Economics()), DEAR) < 0.55


def test_then_few_go_whole() -> None:
    assert abs(share(Gate(seen(100)), DEAR) - (1 - 1 / WHOLE)) < 0.03


def test_growth_stops_it_but_for_a_few() -> None:
    assert abs(share(Gate(seen(40_000)), DEAR) - 1 / TRIED) < 0.03


def test_where_nothing_can_be_gained_nothing_is_tried() -> None:
    assert share(Gate(seen(40_000)), None) == 0


def test_what_was_decided_for_a_conversation_stays() -> None:
    economics = Economics()
    gate = Gate(economics)
    before = [gate.drops(digest(number), "up", "m", DEAR, 10_000) for number in range(100)]
    for _ in range(20):
        economics.called(call(1000, 0.1, output=100), "m", compressed=False)
        economics.called(call(500, 0.1, output=40_000), "m", compressed=True)
    assert before == [gate.drops(digest(number), "up", "m", DEAR, 10_000) for number in range(100)]
