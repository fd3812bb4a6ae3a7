"""The first steps of an engine, run before anyone waits for them."""

from __future__ import annotations

from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.engine import Engine
from backend_engine.request import Request
from backend_engine.sampling.params import SamplingParams
from backend_engine.scheduler import PrefixStats

_PROMPT = 8
_DECODED = 6
_JOINING = (0, 2, 8)
"""How many prompts join in each round, so that steps of several sizes are timed."""


def warm_up(engine: Engine) -> None:
    """Run a few short requests: the libraries set themselves up, and steps of both sorts are timed.

    No context here fills a block of the default size, so that nothing stays in the prefix cache.
    """
    engine.drafting = False
    engine.add(_request(_DECODED))
    for joining in _JOINING:
        room = engine.scheduler.max_waiting - len(engine.scheduler.waiting)
        for _ in range(min(joining, room)):
            engine.add(_request(1))
        engine.step()
        engine.step()
    while engine.has_work:
        engine.step()
    engine.drafting = True
    # Nobody asked for these prompts, so they are no queries either.
    engine.scheduler.prefix_stats = PrefixStats()


def _request(max_tokens: int) -> Request:
    params = SamplingParams(max_tokens=max_tokens, temperature=0, ignore_eos=True)
    return Request("warm-up", [0] * _PROMPT, params, IncrementalDetokenizer(lambda token: b""))
