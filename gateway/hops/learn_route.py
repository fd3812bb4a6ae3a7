"""Two hops around the cascade that let a route learn: one sees each request end, one each tier's answer pass.

Neither changes anything, and what is made of it begins when the client has its answer (`gateway/routing/`).
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.answer import Answer
from gateway.exchange import Exchange
from gateway.pipeline import Next
from gateway.routing.learner import Learner
from gateway.routing.watched import Watched


class WatchRoute:
    """Before the cascade: has the route's learner told when a request is over."""

    name = "route.watch"

    def __init__(self, learners: Mapping[str, Learner]) -> None:
        """`learners` are those of the routes that learn, by their names."""
        self._learners = learners

    async def run(self, ex: Exchange, next: Next) -> Answer:
        if ex.view is not None and ex.route is not None and ex.route.tiers is not None and ex.origin is None:
            learner = self._learners.get(ex.view.model)
            if learner is not None:
                ex.watched = Watched()
                ex.at_end(lambda: learner.ended(ex))
        return await next(ex)


class HearTier:
    """Behind the cascade, which may run it more than once for a request."""

    name = "route.hear"

    async def run(self, ex: Exchange, next: Next) -> Answer:
        watched = ex.watched
        if watched is None or ex.route is None or ex.view is None:
            return await next(ex)
        label = ex.route.label
        if ex.view.stream:
            ex.observers.append(watched.stream(label))
        answer = await next(ex)
        if isinstance(answer.body, bytes) and answer.status == 200:
            watched.whole(label, answer.body)
        return answer
