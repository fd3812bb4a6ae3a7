"""A route's learner shares what it knows with the others over one store, and outlives the store's outages."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import StateUnavailable
from gateway.routing.compare import Comparer
from gateway.routing.learner import Learner, Settings
from gateway.routing.past import Past
from gateway.routing.shadow import Shadow
from gateway.state.outage import Outage
from gateway.state.outcomes.base import Fresh, OutcomeStore, Raised
from gateway.state.outcomes.sqlite import SqliteOutcomes
from gateway.subrequests import Subrequests
from router.after.confidence import Confidence
from router.isotonic import Isotonic
from router.logistic import Logistic, Weight
from router.online.experience import Experience
from router.online.tried import Tried
from router.policy.knob import Quality
from telemetry.metrics import GatewayMetrics
from telemetry.spans import NullTracer
from tests.router.online.made import outcomes

PRIOR = Confidence(Logistic(0.0, {"sure": Weight(2.0, 0.5, 0.3)}), Isotonic((0.0, 3.0), (0.5, 0.99)))


def learner(store: OutcomeStore, now: float = 1e9, prior: Confidence | None = None) -> Learner:
    metrics = GatewayMetrics()
    experience = Experience(["small", "large"], Quality(0.95), prior)
    return Learner(
        Settings("auto", 0.02),
        experience,
        prior,
        Shadow(Subrequests(), NullTracer()),
        lambda: Comparer(None, None),
        Past("small", lambda: None),
        store,
        Outage("outcomes", metrics),
        metrics,
        draw=random.Random(1).random,
        clock=lambda: now,
    )


def good(count: int = 300, **how: float) -> list[Tried]:
    return outcomes(count, right=lambda sure: float(sure > 0.4), noise=0.02, **how)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> SqliteOutcomes:
    return SqliteOutcomes(tmp_path / "state.db")


async def test_a_learner_begins_with_what_is_stored(store: SqliteOutcomes) -> None:
    store.add("auto", good(), [])
    it = learner(store)
    try:
        await it.start()
        assert it.experience.believes("ada", "small").vouched
    finally:
        await it.close()


async def test_what_is_stored_is_no_alarm_at_a_start(store: SqliteOutcomes) -> None:
    """These answers were kept under beliefs that a learner has again only when it has read them."""
    mixed = outcomes(1000, right=lambda sure: 0.9 if sure > 0.5 else 0.2, noise=0.02)
    store.add("auto", [replace(one, kept=one.signs.values["sure"] > 0.5) for one in mixed], [])
    it = learner(store, prior=PRIOR)
    try:
        await it.start()
        assert it.experience.alarms == {} and it.experience.count("small") == 1000
    finally:
        await it.close()
    assert store.since("auto", {}).alarms == ()


async def test_learners_over_one_store_learn_from_each_other(store: SqliteOutcomes) -> None:
    one, other = learner(store), learner(store)
    one.learnt(good(40))
    await one.sync()
    await other.sync()
    await one.sync()

    assert one.experience.count("small") == other.experience.count("small") == 40


async def test_an_alarm_reaches_all_and_stays_after_a_start(store: SqliteOutcomes) -> None:
    store.add("auto", good(), [])
    one, other = learner(store), learner(store)
    await other.sync()
    one.drifted("small", "worse")
    await one.sync()
    await other.sync()
    later = learner(store)
    try:
        await later.start()
        for it in (one, other, later):
            assert it.experience.alarms == {"small": "worse"}
            assert not it.experience.believes("ada", "small").vouched
    finally:
        await later.close()


async def test_what_a_store_does_not_take_is_kept_for_later(store: SqliteOutcomes) -> None:
    class Unwilling:
        down = True

        def add(self, route: str, tried: list[Tried], alarms: list[Raised]) -> None:
            if self.down:
                raise StateUnavailable("down")
            store.add(route, tried, alarms)

        def since(self, route: str, cursor: dict[str, str]) -> Fresh:
            return store.since(route, cursor)

    unwilling = Unwilling()
    it = learner(unwilling)
    it.learnt(good(3))
    it.drifted("small", "worse")
    await it.sync()
    assert it.experience.alarms == {"small": "worse"}
    unwilling.down = False
    await it.sync()

    stored = store.since("auto", {})
    assert len(stored.tried) == 3 and stored.alarms == (Raised("small", "worse", 1e9),)


async def test_what_is_new_is_stored_at_the_end(store: SqliteOutcomes) -> None:
    it = learner(store)
    await it.start()
    it.learnt(good(5))
    await it.close()

    assert len(store.since("auto", {}).tried) == 5


def test_nothing_of_what_was_said_is_kept() -> None:
    """An outcome has names, numbers, flags and a digest, and no place for a text."""
    one = good(1)[0]
    texts = [getattr(one, name) for name in one.__slots__ if isinstance(getattr(one, name), str)]
    assert texts == [one.id, one.tenant, one.tier, one.question, one.last]
    assert all(isinstance(value, float) for value in [*one.query.values(), *one.signs.values.values()])
