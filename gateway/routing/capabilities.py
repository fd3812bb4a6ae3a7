"""What a model can take and give, from its configuration and from what is known of its upstream."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.config.schema import Capabilities, EngineUpstream, Model, Upstream


@dataclass(frozen=True, slots=True)
class Can:
    """What requests a model takes, and whether it tells how sure it was."""

    tools: bool = True
    vision: bool = True
    json: bool = True
    logprobs: bool = False
    """A server that does not know the field may refuse the request, so this one has to be said."""
    prompt_logprobs: bool = False
    """The same."""


_ENGINE = Can(vision=False, logprobs=True, prompt_logprobs=True)
ANY = Can()


def capabilities(model: Model, upstream: Upstream) -> Can:
    """Return what a model can do: what is not said is taken from its upstream's kind."""
    known = _ENGINE if isinstance(upstream, EngineUpstream) else ANY
    said: Capabilities = model.capabilities
    return Can(
        known.tools if said.tools is None else said.tools,
        known.vision if said.vision is None else said.vision,
        known.json if said.json is None else said.json,
        known.logprobs if said.logprobs is None else said.logprobs,
        known.prompt_logprobs if said.prompt_logprobs is None else said.prompt_logprobs,
    )
