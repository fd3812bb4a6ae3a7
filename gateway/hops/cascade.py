"""Chooses among the models of a route: before any has answered, or by what the smaller ones answer.

What a stream's client sees while an answer is judged is said in `Streams`: nothing before the decision
(hold), everything, which may be taken back (speculative), or an answer that is not judged (route-only). If a
smaller model fails, the last one that can take the request is asked, with the client's own words; if that one
fails, the request does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import structlog

from gateway.answer import Answer, EventStream
from gateway.compression.mode import OFF
from gateway.config.schema import RouteConfig, Streams
from gateway.errors import GatewayError
from gateway.exchange import Exchange, Tiers
from gateway.hops.held import GivenUp, HeldStream, Taken, hold
from gateway.hops.speculative import Speculation
from gateway.pipeline import Next
from gateway.routing.case import Case, Fits, ForTheLast, read_case
from gateway.routing.classifier import Classify
from gateway.routing.features import Features
from gateway.routing.second_look import SecondLook
from gateway.routing.sessions import Sessions
from gateway.routing.small_answer import small_answer
from gateway.subrequests import Subrequests
from gateway.wire.elements import NotAnArray
from gateway.wire.errors import kind_of
from gateway.wire.logprobs import events_without_logprobs, without_logprobs
from gateway.wire.members import NotAnObject
from gateway.wire.reply import Reply, read_reply
from router.after.signs import AnswerSigns, signs_of
from router.policy.base import Choice
from semantic_cache.semantic.client import SemanticClient
from telemetry import names
from telemetry.spans import Tracer

_log = structlog.get_logger("gateway.routing")


@dataclass(frozen=True, slots=True)
class _Beside:
    """What a route has beside its policy."""

    config: RouteConfig
    sessions: Sessions
    classifier: Classify | None
    second_look: SecondLook | None
    features: Features | None
    """There if the route learns."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """An answer that the client has not seen."""

    answer: Answer
    held: HeldStream | None
    reply: Reply

    def release(self, ex: Exchange) -> Answer:
        """Return it as if it had just come."""
        return self.answer if self.held is None else self.held.release(ex)


@dataclass(slots=True)
class _Run:
    """One request's way through the tiers."""

    ex: Exchange
    tiers: Tiers
    beside: _Beside
    case: Case
    streams: Streams
    choice: Choice
    heard: dict[int, _Heard] = field(default_factory=dict)
    signs: dict[int, AnswerSigns] = field(default_factory=dict)
    asked: int = 0
    """How many models have been asked."""

    @property
    def last(self) -> int:
        return len(self.tiers.routes) - 1

    def turn_to(self, choice: Choice) -> None:
        """Make the next call go to the tier that was chosen."""
        ex = self.ex
        if self.asked:
            # What was too much for a small model may have been for want of what was left out.
            ex.compress, ex.compression = OFF, None
        self.asked += 1
        ex.route = replace(self.tiers.routes[choice.tier], tiers=self.tiers)
        ex.reason = choice.reason

    def judges(self) -> bool:
        """Return whether the answer that comes next is looked at before the client gets it, or while."""
        assert self.ex.view is not None
        if self.choice.tier == self.last:
            return False
        # What comes whole costs nothing to judge, and a call of a tool can never be taken back.
        return not self.ex.view.stream or (
            self.streams != "route-only" and (self.choice.judged or self.case.tools)
        )

    def speculates(self) -> bool:
        """Return whether the client sees the answer that comes next while it is judged."""
        assert self.ex.view is not None
        first = not self.asked and not self.case.tools
        return first and self.ex.view.stream and self.streams == "speculative"

    def answered(self) -> None:
        """Note whose answer the client gets."""
        hard = self.choice.tier > self.case.least
        self.beside.sessions.answered(self.case.turn, self.choice.tier, hard=hard)

    def stands(self) -> None:
        """Note that an answer is kept, and say why of the last call."""
        ex = self.ex
        ex.route = replace(self.tiers.routes[self.choice.tier], tiers=self.tiers)
        ex.reason = self.choice.reason
        if ex.calls:
            ex.calls[-1].reason = ex.reason
        self.answered()


class Cascade:
    """Runs what follows once, or once for each model that is asked."""

    name = "route"

    def __init__(
        self,
        routes: Mapping[str, RouteConfig],
        tracer: Tracer,
        rest: Next,
        subrequests: Subrequests,
        client: SemanticClient | None = None,
        *,
        fits: Fits,
        features: Mapping[str, Features] = MappingProxyType({}),
    ) -> None:
        """`rest` runs the hops that follow, also when this one has returned: a stream that is taken back goes
        on with another model. `client` compares texts, where there is a semantic process."""
        self._beside = {
            name: _Beside(
                route,
                Sessions(),
                None if route.classifier is None else Classify(route.classifier, subrequests),
                SecondLook(subrequests, client, self_check=route.self_check, samples=route.samples)
                if route.self_check or route.samples > 1
                else None,
                features.get(name),
            )
            for name, route in routes.items()
        }
        self._tracer = tracer
        self._rest = rest
        self._fits = fits

    async def run(self, ex: Exchange, next: Next) -> Answer:
        if ex.route is None or ex.view is None or (tiers := ex.route.tiers) is None:
            return await next(ex)
        beside = self._beside[ex.route.label]
        streams = ex.streams or beside.config.streams
        span = self._tracer.start(names.ROUTE, parent=ex.span)
        ended = False

        def end() -> None:
            nonlocal ended
            if not ended:
                ended = True
                span.set(names.FOREBAY_ROUTE_REASON, ex.reason)
                span.end()

        later = False
        try:
            judgeable = not (ex.view.stream and streams == "route-only")
            try:
                case = read_case(ex, tiers, beside.sessions, self._fits, judgeable=judgeable)
            except ForTheLast as why:
                # What makes the prompt fit asks the model that answers, and not the route.
                ex.route, ex.reason = replace(tiers.large, tiers=tiers), str(why)
                return await next(ex)
            if beside.features is not None:
                case = case.knowing(await beside.features.of(ex, case.question, span))
            if ex.watched is not None:
                ex.watched.signs = case.facts.query.signs
            run = _Run(ex, tiers, beside, case, streams, Choice(len(tiers.routes) - 1, ""))
            await self._begin(run)
            if run.judges() and run.speculates():
                answer = await self._speculate(run, next, end)
                later = isinstance(answer.body, EventStream)
                return answer
            return await self._answer(run, next)
        finally:
            if not later:
                end()

    async def _begin(self, run: _Run) -> None:
        """Choose the model that is asked first."""
        run.choice, stays = run.case.first(run.tiers)
        if stays:
            run.case = run.case.above()
        classifier = run.beside.classifier
        # A request of our own asks for no further ones.
        if classifier is None or stays or run.choice.tier == run.last or run.ex.origin is not None:
            return
        said = await classifier.complex(run.ex, run.case.question)
        if said is None:
            return
        if said:
            run.choice = Choice(run.case.most, "the classifier says complex")
        else:
            run.choice = replace(run.choice, reason=f"the classifier says simple; {run.choice.reason}")

    async def _answer(self, run: _Run, next: Next) -> Answer:
        """Ask one model after the other until an answer stands."""
        while run.choice.tier not in run.heard:
            judges = run.judges()
            run.turn_to(run.choice)
            if not judges:
                answer = await next(run.ex)
                if answer.status == 200:
                    run.answered()
                return answer
            try:
                heard = await self._hear(run, next)
            except GivenUp as why:
                run.choice = _not_kept(run, str(why))
                continue
            run.heard[run.choice.tier] = heard
            await self._judge(run, heard.reply)
        run.stands()
        return run.heard[run.choice.tier].release(run.ex)

    async def _judge(self, run: _Run, reply: Reply) -> None:
        """Decide what follows from the answer of the tier that was asked.

        Fails open, to a larger model: it is too late to go on without this hop, since the answer was asked
        for in our own way and has been taken in.
        """
        try:
            await self._look_at(run, reply)
        except Exception as error:
            _log.warning("answer_not_judged", request_id=run.ex.id, exc_info=error)
            run.choice = _not_kept(run, "it could not be judged")

    async def _look_at(self, run: _Run, reply: Reply) -> None:
        tier, case, ex = run.choice.tier, run.case, run.ex
        small = small_answer(case.asked, case.question, reply)
        signs = signs_of(small)
        look = run.beside.second_look
        # A request of our own makes no further ones, and a call is no statement.
        if look is not None and not reply.calls and ex.origin is None:
            route = run.tiers.routes[tier]
            logprobs = route.can.logprobs
            signs = await look.at(ex, route.label, case.question, reply.text, signs, logprobs=logprobs)
        run.signs[tier] = signs
        run.choice = run.tiers.policy.after(case.facts, run.signs)
        if small.fault is not None:
            run.choice = replace(run.choice, reason=f"the small model {small.fault}")

    async def _hear(self, run: _Run, next: Next) -> _Heard:
        """Return an answer that the client has not seen. Raises GivenUp."""
        ex, case = run.ex, run.case
        assert ex.view is not None
        ex.logprobs = own = _asks_for_logprobs(ex)
        try:
            if ex.view.stream:
                found = await hold(ex, next, case.asked.format(), run.beside.config.hold_s)
            else:
                found = await next(ex)
        except GatewayError as error:
            raise _failed(error) from error
        finally:
            ex.logprobs = False
        if isinstance(found, HeldStream):
            if found.reply is None:
                raise GivenUp("it cannot be read")
            shown = replace(found, events=events_without_logprobs(found.events)) if own else found
            return _Heard(found.answer, shown, found.reply)
        if found.status != 200:
            raise GivenUp(f"it failed with status {found.status}")
        whole = read_reply(found.body) if isinstance(found.body, bytes) else None
        if whole is None or not isinstance(found.body, bytes):
            raise GivenUp("it cannot be read")
        try:
            answer = replace(found, body=without_logprobs(found.body)) if own else found
        except (NotAnObject, NotAnArray):
            raise GivenUp("it cannot be read") from None
        return _Heard(answer, None, whole)

    async def _speculate(self, run: _Run, next: Next, end: Callable[[], None]) -> Answer:
        """Let the client see the small model's answer while it is judged."""
        ex, case, tier = run.ex, run.case, run.choice.tier
        run.turn_to(replace(run.choice, reason=f"{run.choice.reason}; shown while it is judged"))
        ex.logprobs = own = _asks_for_logprobs(ex)
        twin, ex.logprobs = ex.branch(), False
        taken = Taken(case.asked.format())
        twin.observers.append(taken)
        answer = None
        try:
            answer = await next(twin)
            if not isinstance(answer.body, EventStream) or answer.status != 200:
                raise GivenUp(f"it failed with status {answer.status}")
        except BaseException as error:
            if answer is not None:
                answer.close(error)
            twin.end()
            if not isinstance(error, GivenUp | GatewayError):
                raise
            why = error if isinstance(error, GivenUp) else _failed(error)
            run.choice = _not_kept(run, str(why))
            instead = await self._answer(run, next)
            end()
            return instead
        head = answer

        async def stands(given_up: str | None) -> bool:
            reply = taken.reply.whole()
            if given_up is not None or reply is None:
                run.choice = _not_kept(run, given_up or "it cannot be read")
                return False
            events = events_without_logprobs(taken.events) if own else taken.events
            run.heard[tier] = _Heard(head, HeldStream(events, head, True, reply), reply)
            await self._judge(run, reply)
            if run.choice.tier != tier:
                return False
            run.stands()
            return True

        async def go_on() -> Answer:
            return await self._answer(run, self._rest)

        return Speculation(ex, twin, head, taken, own_logprobs=own).answer(stands, go_on, end)


def _failed(error: GatewayError) -> GivenUp:
    return GivenUp(f"it failed with {kind_of(error).code or type(error).__name__}")


def _not_kept(run: _Run, why: str) -> Choice:
    # If there is no larger model that can take the request, the last one shall say so itself.
    tier = run.case.most if run.case.most > run.choice.tier else run.last
    return Choice(tier, f"the small model's answer was not kept: {why}")


def _asks_for_logprobs(ex: Exchange) -> bool:
    assert ex.route is not None and ex.view is not None
    return ex.route.can.logprobs and not ex.view.value(ex.body, "logprobs", bool)
