"""The routes of one configuration that learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from gateway.compression.perplexity.scorer import Scorer
from gateway.config.schema import Config
from gateway.judge import Judge
from gateway.routing.compare import Comparer
from gateway.routing.features import Features
from gateway.routing.learner import Learner, Settings
from gateway.routing.past import Past
from gateway.routing.policy import DEFAULT_SHADOW, knob_of, learns, terms_of
from gateway.routing.shadow import Shadow
from gateway.state.outage import Outage
from gateway.state.outcomes.base import OutcomeStore
from gateway.subrequests import Subrequests
from router.after.confidence import Confidence
from router.errors import BadPolicy
from router.online.experience import Experience
from router.policy.base import Policy
from router.policy.of_many import OfMany
from router.prior import load_prior
from semantic_cache.semantic.client import SemanticClient
from telemetry.metrics import GatewayMetrics
from telemetry.spans import Tracer

_log = structlog.get_logger("gateway.routing")


class LiveRoutes:
    """Their policies, and what teaches them."""

    def __init__(
        self,
        config: Config,
        store: OutcomeStore,
        metrics: GatewayMetrics,
        tracer: Tracer,
        subrequests: Subrequests,
    ) -> None:
        self.policies: dict[str, Policy] = {}
        self.learners: dict[str, Learner] = {}
        self.features: dict[str, Features] = {}
        """What is found out of a query before any model is asked, by route."""
        self._client: SemanticClient | None = None
        outage, shadow = Outage("outcomes", metrics), Shadow(subrequests, tracer)
        learning = {name: route for name, route in config.routes.items() if learns(route)}
        prior = shipped_prior() if learning else None
        for name, route in learning.items():
            experience = Experience(route.tiers, knob_of(route), prior)
            learner = Learner(
                Settings(name, DEFAULT_SHADOW if route.shadow is None else route.shadow),
                experience,
                prior,
                shadow,
                self._comparing(None if route.judge is None else Judge(route.judge, subrequests)),
                Past(route.tiers[0], lambda: self._client),
                store,
                outage,
                metrics,
            )
            self.learners[name] = learner
            self.features[name] = Features(learner.past)
            self.policies[name] = OfMany(terms_of(config, route), experience, learner.drifted)

    def compare_with(self, client: SemanticClient | None) -> None:
        """Say what compares two answers' meanings, where there is a semantic process."""
        self._client = client

    def score_with(self, config: Config, scorer: Callable[[str], Scorer]) -> None:
        """Say how a model of the configuration tells how surprising texts are, for routes that ask it to."""
        for name, features in self.features.items():
            route = config.routes[name]
            if route.perplexity:
                self.features[name] = replace(features, scorer=scorer(route.tiers[0]))

    def _comparing(self, judge: Judge | None) -> Callable[[], Comparer]:
        # The semantic process's client is made after the routes are.
        return lambda: Comparer(self._client, judge)

    async def start(self) -> None:
        """Read what is stored."""
        for learner in self.learners.values():
            await learner.start()

    async def close(self) -> None:
        """End what is under way."""
        for learner in self.learners.values():
            await learner.close()


def shipped_prior() -> Confidence | None:
    """Return what comes with the package; None, with a line in the log, if it cannot be read: routes then
    begin with nothing, and the last tier answers until there are outcomes."""
    try:
        return load_prior().confidence
    except BadPolicy as error:
        _log.warning("route_prior_missing", reason=str(error))
        return None
