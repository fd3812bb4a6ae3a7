"""The replay counts what choices cost, and the gate holds to its bounds on made-up conversations."""

from __future__ import annotations

from benchmarks._compress_replay import UPSTREAMS, Conversation, Made, Simulated, Turn, _cost, _runs
from gateway.compression.economics import USD_PER_HOUR, Economics
from gateway.compression.gate import Gate
from gateway.config.schema import Price

TURN = Turn(Made(4000, 0.0), Made(4000, 0.002), Made(1000, 0.2), 4000, 100.0)
CHAT = Turn(Made(200, 0.0), Made(200, 0.0), Made(200, 0.0), 0, 200.0)


def test_a_choice_costs_money_and_waiting() -> None:
    upstream = Simulated("u", Price(input=10.0, output=20.0), 1e-3, 0.01, first_s=1.0, growth=3.0)
    talk = Conversation("c", [TURN])
    whole = _cost(upstream, talk, lambda turn: turn.raw, grows=False)
    assert abs(whole - ((1.0 + 4.0 + 1.0) * USD_PER_HOUR / 3600 + 0.04 + 0.002)) < 1e-9
    short = _cost(upstream, talk, lambda turn: turn.of(True), grows=True)
    assert abs(short - ((0.2 + 1.0 + 1.0 + 3.0) * USD_PER_HOUR / 3600 + 0.01 + 0.006)) < 1e-9


def test_a_cached_prefix_is_paid_once() -> None:
    price = Price(input=10.0, output=0.0, cache_read=0.0)
    upstream = Simulated("u", price, 0.0, 0.0, first_s=0.0, caches=True)
    first, second = Made(1000, 0.0), Made(1500, 0.0)
    turns = [Turn(made, made, made, 0, 0.0) for made in (first, second)]
    cost = _cost(upstream, Conversation("c", turns), lambda turn: turn.raw, grows=False)
    assert abs(cost - 1500 * 10 / 1e6) < 1e-9


def test_the_gate_gets_most_of_what_is_possible_and_risks_little() -> None:
    talks = [Conversation(f"{number}", [TURN if number % 4 else CHAT]) for number in range(400)]
    economics = Economics()
    runs = _runs(talks, economics, Gate(economics))
    total = {name: sum(costs.values()) for name, costs in runs.items()}
    for name in ("auto", "auto-warm"):
        assert total["off"] - total[name] >= 0.6 * (total["off"] - total["oracle"])
        for upstream in UPSTREAMS:
            assert runs[name][upstream.name] <= 1.02 * runs["off"][upstream.name]
    assert runs["always"]["answers-grow"] > 1.05 * runs["off"]["answers-grow"]
