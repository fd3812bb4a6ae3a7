"""What a route that learns would decide for a request, from its configuration and its stored outcomes."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.config.schema import Config
from gateway.errors import ModelNotFound
from gateway.routing.live import shipped_prior
from gateway.routing.policy import knob_of, learns, terms_of
from gateway.state.open import open_outcomes
from router.after.signs import SmallAnswer, signs_of
from router.before.query import Query
from router.before.query_signs import query_signs
from router.online.experience import Experience, fit
from router.policy.base import Facts
from router.policy.of_many import OfMany


def explain(
    config: Config, name: str, tenant: str, prompt: str, answers: Sequence[str], finish_reason: str | None
) -> str:
    """Return the next tier, or the one whose answer stands, and why, in a line.

    `answers` are those of the route's first tiers. Raises ModelNotFound for what is no such route, and
    StateUnavailable.
    """
    route = config.routes.get(name)
    if route is None or not learns(route):
        raise ModelNotFound(name)
    knob, prior = knob_of(route), shipped_prior()
    experience = Experience(route.tiers, knob, prior)
    stored = open_outcomes(config.state.store).since(name, {})
    for alarm in stored.alarms:
        experience.alarm(alarm.tier, alarm.why, alarm.at)
    experience.add(stored.tried)
    work = experience.work()
    experience.believe(work, fit(work, knob, prior))
    policy = OfMany(terms_of(config, route), experience)
    facts = Facts(Query(None, query_signs(prompt)), 0.5, (True,) * len(route.tiers), tenant=tenant)
    heard = {
        at: signs_of(SmallAnswer(prompt, answer, finish_reason))
        for at, answer in enumerate(answers[: len(route.tiers) - 1])
    }
    choice = policy.after(facts, heard) if heard else policy.first(facts)
    verb = "stands" if choice.tier in heard else "is asked"
    return f"{route.tiers[choice.tier]} {verb}: {choice.reason}"
