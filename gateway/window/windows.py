"""What is known of each model's context window, and whether a prompt fits it.

A window is what the configuration says, what the bundled engine says of itself, or what an upstream said when
it refused a prompt; the lowest of these counts. What tenants could influence (an upstream's error may quote
them, and their texts teach how many tokens a byte has) is known for that tenant alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from gateway.answer import Answer
from gateway.errors import GatewayError, InvalidRequest
from gateway.exchange import Exchange, Route
from gateway.upstreams.base import TokenCounter
from gateway.window.density import FIRST, Density, size_of
from gateway.window.edits import size_change
from gateway.wire.members import NotAnObject, members
from gateway.wire.overflow import overflow_of
from gateway.wire.request import Endpoint, RequestView, read_request
from semantic_cache.fair_memory import FairMemory

UNSTATED_ANSWER = 512
"""Tokens that are kept free for an answer whose length is not stated, if that is at most an eighth of all."""
LEAST_LEARNED = 2000
"""Bytes of a prompt from which on its tokens teach something."""
_ASKED_FROM = 1000
"""Bytes of a prompt for which it is worth asking an engine about its window; every window holds less."""
_NEAR = 1.25
"""An estimate this many times larger would be too large: then the upstream counts, if it can."""
_TOLD_S = 3600.0
"""How long an upstream's word counts; it may be started anew with a longer window."""
_UNSAID = 0.9
"""An upstream that refuses a prompt without saying why has a window of at most this share of its tokens."""
_LEAST_WINDOW = 256
"""Nobody serves a shorter one, so an error that says so is about something else."""
_CAPACITY = 4096

_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Overlength:
    """A prompt that does not fit."""

    tokens: int
    """Of the whole prompt."""
    window: int
    reserve: int
    """Tokens of the window that are kept for the answer."""
    density: float
    """Tokens a byte; rather too many."""
    exact: bool
    """The tokens were counted by the upstream."""

    @property
    def limit(self) -> int:
        """Tokens that the prompt may have."""
        return self.window - self.reserve

    def count(self, text: str) -> int:
        """Return the tokens of a part of the prompt, rather too many."""
        return int(len(text.encode()) * self.density) + 1

    def count_raw(self, part: bytes) -> int:
        """Return the tokens of a part of the body."""
        size, pictures = size_of(part)
        return int(size * self.density) + pictures


class Windows:
    """What one worker knows."""

    def __init__(
        self, counters: Mapping[str, TokenCounter], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`counters` are the upstreams, by name, that count tokens and know their window."""
        self._counters = counters
        self._clock = clock
        self._own: dict[str, int] = {}
        self._told: FairMemory[_Key, tuple[int, float]] = FairMemory(_CAPACITY)
        self._densities: FairMemory[_Key, Density] = FairMemory(_CAPACITY)

    def of(self, route: Route, tenant: str = "") -> int | None:
        """Return the window of a model, as far as it is known."""
        window = route.target.context
        if (own := self._own.get(route.target.upstream)) is not None:
            window = own if window is None else min(window, own)
        if (told := self._told.get(_key(route, tenant))) is not None and self._clock() < told[1]:
            window = told[0] if window is None else min(window, told[0])
        return window

    def fits(self, route: Route, body: bytes, tenant: str = "") -> bool:
        """Return whether the model can read the prompt as it is, by what is known here and now.

        Asks nobody: False where the prompt is probably too long, True where the window is not known. Nor does
        it say whether something could be done about it.
        """
        window = self.of(route, tenant)
        if window is None or len(body) <= window:
            return True
        try:
            view = read_request(body, Endpoint.CHAT)
        except InvalidRequest:
            return True
        return self._estimate(route, body, tenant) <= window - _reserve(view, body, window)

    async def measure(self, ex: Exchange, route: Route) -> Overlength | None:
        """Return by how much a request's prompt is too long for a model; None if it fits, or may."""
        window = self.of(route, ex.tenant)
        if window is None or route.target.upstream in self._counters:
            window = await self._asked_window(route, ex)
        # Usual text has far fewer tokens than bytes, so this leaves room for an answer too.
        if window is None or len(ex.body) <= window:
            return None
        assert ex.view is not None
        reserve = _reserve(ex.view, ex.body, window)
        tokens = self._estimate(route, ex.body, ex.tenant)
        density, exact = self._density(route, ex.tenant).upper, False
        if tokens * _NEAR > window - reserve and (counted := await self.count(route, ex.body, ex.tenant)):
            tokens, exact = counted, True
            density = counted / max(1, size_of(ex.body)[0])
        return Overlength(tokens, window, reserve, density, exact) if tokens > window - reserve else None

    async def holds(self, ex: Exchange, route: Route) -> bool:
        """Return whether a model's window is known and holds a request's prompt."""
        too_long = await self.measure(ex, route)
        return too_long is None and self.of(route, ex.tenant) is not None

    async def count(self, route: Route, body: bytes, tenant: str) -> int | None:
        """Return the tokens of a request's prompt as the upstream counts them; None if it does not."""
        counter = self._counters.get(route.target.upstream)
        if counter is None:
            return None
        try:
            chat = _chat(body)
            counted = await counter.count_tokens(chat, tenant)
        except (GatewayError, NotAnObject):
            return None
        if counted is not None:
            self._density(route, tenant).see(size_of(body)[0], counted)
        return counted

    async def learn(self, ex: Exchange, answer: Answer) -> Overlength | None:
        """Return what a refused call's error says of the window, and remember it; None if it is no such
        error."""
        if answer.status < 400 or not isinstance(answer.body, bytes) or ex.route is None or ex.view is None:
            return None
        overflow = overflow_of(answer.status, answer.body)
        if overflow is None:
            return None
        route, tenant = ex.route, ex.tenant
        size, pictures = size_of(ex.body)
        density = self._density(route, tenant)
        sent = size - (0 if ex.compression is None else size_change(ex.compression.edits))
        counted = await self.count(route, ex.body, tenant)
        if counted is None and overflow.tokens is not None:
            density.see(sent, overflow.tokens - pictures)
            estimate = int((overflow.tokens - pictures) * size / max(1, sent)) + pictures
        else:
            estimate = counted or int(size * density.upper) + pictures
        window = overflow.window or int(estimate * _UNSAID)
        if window < _LEAST_WINDOW:
            return None
        self._remember_window(route, tenant, window)
        window = self.of(route, tenant) or window
        reserve = _reserve(ex.view, ex.body, window)
        # It was refused, so it is too long whatever an estimate says.
        estimate = max(estimate, window - reserve + 1)
        return Overlength(estimate, window, reserve, estimate / max(1, size), exact=counted is not None)

    def watch(self, ex: Exchange) -> None:
        """Learn from the tokens that the upstream counts of this request."""
        if len(ex.body) >= LEAST_LEARNED:
            ex.at_end(lambda: self._learn_density(ex))

    def _learn_density(self, ex: Exchange) -> None:
        assert ex.route is not None
        for call in ex.calls:
            usage = call.outcome.usage
            if usage is None or call.status != 200 or call.model != ex.route.model:
                continue
            size, pictures = size_of(ex.body)
            sent = size - (0 if call.compression is None else size_change(call.compression.edits))
            self._density(ex.route, ex.tenant).see(sent, usage.input_tokens - pictures)

    async def _asked_window(self, route: Route, ex: Exchange) -> int | None:
        name = route.target.upstream
        if name in self._counters and name not in self._own and len(ex.body) >= _ASKED_FROM:
            try:
                if (own := await self._counters[name].window()) is not None:
                    self._own[name] = own
            except GatewayError:
                # The call itself will find out what is wrong.
                return None
        return self.of(route, ex.tenant)

    def _estimate(self, route: Route, body: bytes, tenant: str) -> int:
        size, pictures = size_of(body)
        known = self._densities.get(_key(route, tenant))
        return int(size * (FIRST if known is None else known.upper)) + pictures

    def _density(self, route: Route, tenant: str) -> Density:
        key = _key(route, tenant)
        density = self._densities.get(key)
        if density is None:
            density = Density()
            self._densities.put(tenant, key, density)
        return density

    def _remember_window(self, route: Route, tenant: str, window: int) -> None:
        key = _key(route, tenant)
        self._told.pop(key)
        self._told.put(tenant, key, (window, self._clock() + _TOLD_S))


def _key(route: Route, tenant: str) -> _Key:
    return tenant, route.target.upstream, route.upstream_model


def _reserve(view: RequestView, body: bytes, window: int) -> int:
    """Return the tokens of a window that belong to the answer; each choice has the window for itself."""
    most = view.value(body, "max_completion_tokens", int)
    if most is None:
        most = view.value(body, "max_tokens", int)
    return min(UNSTATED_ANSWER, window // 8) if most is None else max(0, most)


def _chat(body: bytes) -> bytes:
    """Return the members of a chat request that the model reads. Raises NotAnObject."""
    spans = members(body)
    return msgspec.json.encode(
        {
            key: msgspec.Raw(body[spans[key].start : spans[key].end])
            for key in ("messages", "tools", "tool_choice")
            if key in spans
        }
    )
