"""Makes one request's prompt fit: by folding alone, by a longer model, or by strategies that shorten it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import msgspec

from gateway.compression.compress import compress
from gateway.compression.mode import LOSSLESS, Stage, Way
from gateway.compression.outcome import Compression
from gateway.compression.prompt import NotReadable, read_messages
from gateway.config.schema import FitConfig
from gateway.exchange import Exchange, Route
from gateway.routing.needs import Needs, lacks, needs_of
from gateway.subrequests import Subrequests
from gateway.window.aside import aside
from gateway.window.base import CannotShorten, Means, Rank, Strategy
from gateway.window.calls import Calls
from gateway.window.choose import is_worth_it, order
from gateway.window.compressed import SMALL_RATIO, Compressed
from gateway.window.conversation import Conversation, read_conversation
from gateway.window.edits import size_change
from gateway.window.outcome import Fitted
from gateway.window.shorten import NothingToShorten, Shortened, Shortening
from gateway.window.underway import Tell
from gateway.window.windows import Overlength, Windows
from gateway.wire.asked import read_asked
from gateway.wire.headers import ROUTE
from gateway.wire.splice import Edit, splice

FOLDED = "lossless"


@dataclass(frozen=True, slots=True)
class Ways:
    """What this gateway can do about a prompt that is too long."""

    config: FitConfig
    stages: Sequence[Stage]
    """Of the compressor, that may run."""
    strategies: Mapping[Way, Strategy]
    longer: Sequence[Route]
    """Models of longer windows."""
    subrequests: Subrequests
    rank: Rank


class Fitting:
    """One prompt on its way to fit. What comes of it stands in the exchange, for the next call."""

    def __init__(
        self,
        ex: Exchange,
        asking: Exchange,
        too_long: Overlength,
        can: Ways,
        windows: Windows,
        tell: Tell,
    ) -> None:
        """`asking` is the same request, as the origin of those that it makes."""
        assert ex.route is not None
        self._ex = ex
        self._too_long = too_long
        self._can = can
        self._windows = windows
        self._route = ex.route
        self._started = time.monotonic()
        self.calls = Calls(asking, ex.route.label, can.subrequests, can.config, tell)
        self.reasons: list[str] = []
        """Why it did not come to fit."""
        self.tried = False
        """Whether there was anything to be done, even if it was not enough."""

    async def run(self) -> None:
        """Set the exchange's `fitted`, and `compression` or `route`, if there is a way."""
        conversation = await aside(len(self._ex.body), self._conversation)
        longer = await self._longer() if "longer" in self._can.config.strategies else []
        first = self._ex.fit.way
        folds = conversation is not None and first in (None, "compress")
        if folds and (folded := await self._folded()) is not None:
            return self._shorter(folded)
        wanted = order(
            "" if conversation is None else conversation.question,
            self._can.config.strategies,
            first=first,
            longer_is_worth_it=bool(longer) and self._is_worth_it(longer[0]),
        )
        # Where a longer model stands ready, nothing has to be left out.
        before = wanted[: wanted.index("longer")] if longer else wanted
        if conversation is None:
            self.reasons.append("its messages cannot be read")
        elif before:
            try:
                return self._shorter(await self._shorten(conversation, before, leave_out=not longer))
            except CannotShorten as error:
                self.tried = not isinstance(error, NothingToShorten)
                self.reasons.append(str(error))
        if longer:
            self._reroute(longer[0])

    async def _conversation(self) -> Conversation | None:
        assert self._ex.view is not None
        place = self._ex.view.spans.get("messages")
        if place is None:
            return None
        try:
            return read_conversation(self._ex.body, place.start, place.end)
        except NotReadable:
            return None

    async def _longer(self) -> list[Route]:
        """Return the models that hold the prompt as it is; those first that are worth their price."""
        ex, found = self._ex, list[Route]()
        if ROUTE in ex.headers and ex.fit.way != "longer":
            # Whoever names a tier wants that one.
            return []
        tiers = () if self._route.tiers is None else self._route.tiers.routes
        asked = read_asked(ex.body)
        needs = Needs() if asked is None else needs_of(asked)
        on_a_budget = ex.limits is not None and ex.limits.usd_per_day is not None
        for route in (*tiers, *self._can.longer):
            if route.label == self._route.label or any(route.label == other.label for other in found):
                continue
            # What has no price cannot be charged for.
            if (on_a_budget and route.target.price is None) or lacks(route.can, needs):
                continue
            if await self._windows.holds(ex, route):
                found.append(replace(route, tiers=self._route.tiers))
        return sorted(found, key=lambda route: not self._is_worth_it(route))

    def _is_worth_it(self, route: Route) -> bool:
        read = self._too_long.limit
        return is_worth_it(self._too_long.tokens, route.target.price, read, self._route.target.price)

    async def _folded(self) -> Shortened | None:
        """Return what fits with nothing lost, if that is enough."""
        ex, too_long = self._ex, self._too_long
        assert ex.view is not None
        place = ex.view.spans["messages"]
        messages = read_messages(ex.body, place.start, place.end)
        work = partial(compress, messages, LOSSLESS, stages=self._can.stages)
        done = await aside(len(ex.body), work)
        edits = tuple(
            Edit(change.text.start, change.text.end, msgspec.json.encode(change.value))
            for change in done.changes
        )
        saved = int(size_change(edits) * too_long.density)
        if too_long.tokens - saved > too_long.limit:
            return None
        tokens = await self._recount(edits)
        return Shortened(edits, tokens, (FOLDED,), 0) if tokens <= too_long.limit else None

    async def _shorten(
        self, conversation: Conversation, wanted: Sequence[Way], *, leave_out: bool
    ) -> Shortened:
        can = self._can.strategies
        strategies = [(way, self._strategy(way)) for way in wanted if way in can]
        if "compress" in wanted and "compress" in can:
            # A lot less than all is better than nothing, once the others have had their turn.
            strategies.append(("compress", can["compress"]))
        means = Means(self._too_long.count, self.calls.ask, self._can.rank, self.calls.tell, self.calls.left)
        if not leave_out:
            conversation = replace(conversation, units=())
        return await Shortening(
            self._ex.body, conversation, self._too_long, strategies, means, self._recount
        ).run()

    def _strategy(self, way: Way) -> Strategy:
        if way == "compress" and self._ex.fit.way != "compress":
            return Compressed(SMALL_RATIO)
        return self._can.strategies[way]

    async def _recount(self, edits: Sequence[Edit]) -> int:
        ex, too_long = self._ex, self._too_long
        if too_long.exact:
            body = splice(ex.body, list(edits))
            if (counted := await self._windows.count(self._route, body, ex.tenant)) is not None:
                return counted
        return too_long.tokens - sum(
            too_long.count_raw(ex.body[edit.start : edit.end]) - too_long.count_raw(edit.text)
            for edit in edits
        )

    def _shorter(self, found: Shortened) -> None:
        strategy = "+".join(found.ways)
        before, seconds = self._too_long.tokens, time.monotonic() - self._started
        self._ex.compression = Compression(
            f"fit:{strategy}", found.edits, before, found.tokens, {}, ranked=False, seconds=seconds
        )
        self._ex.fitted = self._fitted(strategy, self._route, found.tokens, found.left_out, shorter=True)

    def _reroute(self, route: Route) -> None:
        held = self._too_long.window
        self._ex.reason = (
            f"{self._route.label} holds {held} tokens, and the prompt has {self._too_long.tokens}"
        )
        self._ex.route = route
        self._ex.fitted = self._fitted("longer", route, self._too_long.tokens, 0, shorter=False)

    def _fitted(self, strategy: str, route: Route, after: int, left_out: int, *, shorter: bool) -> Fitted:
        return Fitted(
            strategy,
            route.label,
            self._windows.of(route, self._ex.tenant) or self._too_long.window,
            self._too_long.tokens,
            after,
            self._too_long.exact,
            self.calls.windows,
            left_out,
            self.calls.made,
            time.monotonic() - self._started,
            shorter,
            bool(self.calls.failed),
        )
