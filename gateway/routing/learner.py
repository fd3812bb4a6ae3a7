"""What one route makes of its requests once they are over: outcomes, new beliefs, alarms.

Nothing here is in a client's way: it begins when the answer is out, is bounded, and is dropped rather than
queued. Outcomes go to the store and come back from it, so that all workers and replicas learn from all.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from gateway.errors import StateUnavailable
from gateway.exchange import Exchange, Route
from gateway.routing.compare import Comparer
from gateway.routing.needs import lacks, needs_of
from gateway.routing.past import Past
from gateway.routing.shadow import Shadow
from gateway.routing.small_answer import small_answer
from gateway.state.outage import Outage
from gateway.state.outcomes.base import OutcomeStore, Raised
from gateway.wire.asked import Asked, read_asked
from gateway.wire.reply import read_reply
from gateway.wire.request import Endpoint
from router.after.confidence import Confidence
from router.after.signs import signs_of
from router.before.query_signs import query_signs
from router.online.experience import Experience, fit
from router.online.tried import Tried
from router.online.vouch import LEAST
from telemetry.ids import new_id
from telemetry.metrics import GatewayMetrics

LEARNING = 0.1
"""How often a smaller tier that was passed over is asked in the background, as long as little is known of it
or nothing vouches for it: it costs little, and without outcomes it would never be asked at all."""
MAX_SHADOWS = 16
MAX_COMPARISONS = 64
"""Beyond these many at once, requests teach nothing: the process has better things to do."""
SYNC_S = 2.0
_MOST_UNSAVED = 1_000
_log = structlog.get_logger("gateway.routing")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a learner is told of its route."""

    name: str
    shadow: float
    """How often a kept answer of a smaller tier is compared with the last tier's; 0 switches shadows off."""


class Learner:
    """Of one route, in one process."""

    def __init__(
        self,
        settings: Settings,
        experience: Experience,
        prior: Confidence | None,
        shadow: Shadow,
        comparer: Callable[[], Comparer],
        past: Past,
        store: OutcomeStore,
        outage: Outage,
        metrics: GatewayMetrics,
        draw: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self.experience = experience
        self._prior = prior
        self._shadow = shadow
        self._comparer = comparer
        self.past = past
        self._store = store
        self._outage = outage
        self._metrics = metrics
        self._draw = draw
        self._clock = clock
        self._cursor: dict[str, str] = {}
        self._unsaved: list[Tried] = []
        self._raised: list[Raised] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._shadows = 0
        self._fitting = False
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read what is stored, learn from it, and follow the store from then on."""
        self._metrics.route_drift(self._settings.name, 0)
        await self.sync()
        if any(self.experience.count(name) for name in self.experience.small):
            await self._fit()
        self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Break off what is under way, and store what there is."""
        for task in [*self._tasks, *filter(None, [self._following])]:
            task.cancel()
        await asyncio.gather(*self._tasks, *filter(None, [self._following]), return_exceptions=True)
        if self._unsaved or self._raised:
            await self.sync()

    def ended(self, ex: Exchange) -> None:
        """Take a request that is over."""
        watched, route = ex.watched, ex.route
        if watched is None or route is None:
            return
        for call in ex.calls:
            usual = self.experience.usual.get(call.model)
            usage = call.outcome.usage
            if usual is not None and usage is not None and call.error is None:
                usual.take(usage.input_tokens, usage.output_tokens, call.seconds())
        asked = read_asked(ex.body) if ex.endpoint is Endpoint.CHAT else None
        question = None if asked is None else asked.question()
        if asked is None or question is None or asked.functions or (asked.n or 1) > 1:
            return
        if asked.functions_by_name() is None or route.tiers is None:
            return
        heard = watched.answers()
        if route.label not in heard:
            # It failed, broke off or was too long; there is nothing to compare.
            return
        self._metrics.route_answer(self._settings.name, route.label)
        kept = route.label != self.experience.last
        needs = needs_of(asked)
        missing = [
            tier for tier in route.tiers.routes if tier.label not in heard and lacks(tier.can, needs) is None
        ]
        chance = self._chance(ex.tenant, missing, kept=kept)
        shadows = chance > 0 and self._draw() < chance and self._shadows < MAX_SHADOWS
        if (not shadows and (kept or len(heard) < 2)) or len(self._tasks) >= MAX_COMPARISONS:
            return
        self._in_background(
            self._learn(ex, asked, question, heard, missing, route.label, chance if shadows else 0.0)
        )

    def drifted(self, tier: str, why: str) -> None:
        """Trust a tier no longer."""
        at = self._clock()
        if self.experience.alarm(tier, why, at):
            self._say(tier, why)
            self._raised.append(Raised(tier, why, at))

    def learnt(self, tried: list[Tried]) -> None:
        """Take outcomes of this process."""
        self._unsaved += tried
        del self._unsaved[:-_MOST_UNSAVED]
        self._take(tried)

    async def sync(self) -> None:
        """Store what is new here, and take in what is new there."""
        tried, raised = self._unsaved, self._raised
        self._unsaved, self._raised = [], []
        try:
            fresh = await asyncio.to_thread(self._exchange_news, tried, raised)
        except StateUnavailable as error:
            self._outage.failed(error)
            self._unsaved = (tried + self._unsaved)[-_MOST_UNSAVED:]
            self._raised = raised + self._raised
            return
        self._outage.worked()
        first, self._cursor = not self._cursor, fresh.cursor
        for alarm in fresh.alarms:
            if self.experience.alarm(alarm.tier, alarm.why, alarm.at):
                self._say(alarm.tier, alarm.why)
        if first:
            # Whether something had changed by then was for those to say who were there.
            self.experience.recall(fresh.tried)
        self._take(fresh.tried)

    def _exchange_news(self, tried: list[Tried], raised: list[Raised]) -> Any:
        name = self._settings.name
        if tried or raised:
            self._store.add(name, tried, raised)
        return self._store.since(name, self._cursor)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(SYNC_S)
            await self.sync()

    def _chance(self, tenant: str, missing: list[Route], *, kept: bool) -> float:
        """Return how probably the tiers that were not asked are asked now."""
        if self._settings.shadow == 0 or not missing:
            return 0.0
        if kept:
            return self._settings.shadow
        beliefs = [self.experience.believes(tenant, tier.label) for tier in missing]
        unknown = any(belief.outcomes < LEAST or not belief.vouched for belief in beliefs)
        return max(self._settings.shadow, LEARNING if unknown else 0.0)

    async def _learn(
        self,
        ex: Exchange,
        asked: Asked,
        question: str,
        heard: dict[str, bytes],
        missing: list[Route],
        given: str,
        chance: float,
    ) -> None:
        """Compare all tiers' answers with the last one's; a `chance` above 0 asks those that are missing."""
        said, last = dict(heard), self.experience.last
        if chance > 0:
            self._shadows += 1
            try:
                more, usd = await self._shadow.ask(ex, missing, self.experience)
            finally:
                self._shadows -= 1
            said |= more
            self._metrics.route_shadow_cost(self._settings.name, usd)
        if last not in said:
            return
        comparer = self._comparer()
        # What was not known when it was decided must not be learned from.
        signs = ex.watched.signs if ex.watched is not None else None
        if signs is None:
            signs = query_signs(question, tools=bool(asked.tools))
        key = "" if ex.cache is None or ex.cache.key is None else ex.cache.key.digest.hex()
        found = []
        for tier in self.experience.small:
            if tier not in said:
                continue
            source = "escalation" if tier in heard and last in heard else "shadow"
            weight = 1.0 if source == "escalation" else 1 / chance
            agrees = await comparer.agree(said[tier], said[last])
            # A judge costs a call: what is compared for nothing is judged as rarely as all else.
            if agrees is None and comparer.judge is not None:
                if source == "escalation" and chance == 0:
                    weight = 1 / self._settings.shadow if self._settings.shadow else 0.0
                    if self._draw() >= self._settings.shadow:
                        continue
                agrees = await comparer.judged(ex, question, said[tier], said[last])
            self._metrics.route_outcome(self._settings.name, source, agrees)
            reply = read_reply(said[tier])
            if agrees is None or reply is None:
                continue
            answer = small_answer(asked, question, reply)
            if tier == given and not agrees:
                self._metrics.route_regret(self._settings.name, weight)
            found.append(
                Tried(
                    new_id(), ex.tenant, tier, self._clock(), signs,
                    await asyncio.to_thread(signs_of, answer), agrees, weight, tier == given,
                    key, last,
                )
            )  # fmt: skip
        self.learnt(found)

    def _take(self, tried: Any) -> None:
        self.past.note(tried)
        for tier, why in self.experience.add(tried).items():
            self.drifted(tier, why)
        if self.experience.due and not self._fitting:
            self._in_background(self._fit())

    async def _fit(self) -> None:
        self._fitting = True
        try:
            work = self.experience.work()
            beliefs = await asyncio.to_thread(fit, work, self.experience.knob, self._prior)
        finally:
            self._fitting = False
        for tier in self.experience.believe(work, beliefs):
            _log.warning("route_drift_over", route=self._settings.name, tier=tier)
        self._metrics.route_drift(self._settings.name, len(self.experience.alarms))

    def _say(self, tier: str, why: str) -> None:
        _log.warning("route_drift", route=self._settings.name, tier=tier, why=why)
        self._metrics.route_drift(self._settings.name, len(self.experience.alarms))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _quietly(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            # It is nobody's request any more that could fail.
            _log.error("route_learning_failed", route=self._settings.name, exc_info=error)
