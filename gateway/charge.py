"""What a request is charged for when it is over, however it ended.

An upstream's own count goes before ours. Where there is none (the stream was left or broke off, or the server
does not count), the prompt is charged as estimated and the answer as far as we saw it. An error answer is
charged nothing, and what never reached an upstream does not even count as a request.
"""

from __future__ import annotations

from gateway.cost import cost_usd
from gateway.exchange import Call, Exchange
from gateway.state.ledger.base import Used, nano_usd
from gateway.wire.usage import Usage
from telemetry import names

# The upstream never saw the request.
_NOT_SENT = (names.CONNECT_ERROR, names.CONNECT_TIMEOUT, "not_ready")
# It was left alone at work, and has read the prompt for all we know.
_AT_WORK = (
    names.CLIENT_DISCONNECT,
    names.FIRST_BYTE_TIMEOUT,
    names.IDLE_TIMEOUT,
    names.SHUTDOWN,
    names.GIVEN_UP,
)
# An upstream may report any number; no account shall overflow.
_MOST = 10**12


def charge_of(ex: Exchange, prompt_tokens: int) -> Used:
    """Return what to charge; `prompt_tokens` is the estimate for each call that got the prompt whole and did
    not report its usage."""
    sent = [call for call in ex.calls if call.error not in _NOT_SENT]
    tokens = money = 0
    for call in sent:
        usage = _usage(call, prompt_tokens)
        tokens += usage.input_tokens + usage.output_tokens
        if call.target.price is not None:
            money += nano_usd(cost_usd(usage, call.target.price))
    for scoring in ex.scorings:
        tokens += scoring.usage.input_tokens + scoring.usage.output_tokens
        if scoring.target.price is not None:
            money += nano_usd(cost_usd(scoring.usage, scoring.target.price))
    return Used(1 if sent else 0, _bounded(tokens), _bounded(money))


def _usage(call: Call, prompt_tokens: int) -> Usage:
    outcome = call.outcome
    if outcome.usage is not None:
        return outcome.usage
    if call.fitted is not None and call.fitted.shorter:
        prompt_tokens = min(prompt_tokens, call.fitted.tokens_after)
    answered = call.error is None and call.status is not None and call.status < 300
    # A call that others wait for goes on after the request that began it.
    running = call.ended_s is None
    if answered or running or outcome.counted or call.error in _AT_WORK:
        return Usage(prompt_tokens, outcome.counted)
    return Usage()


def _bounded(number: int) -> int:
    return min(max(0, number), _MOST)
