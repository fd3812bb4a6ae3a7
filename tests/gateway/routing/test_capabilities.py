from __future__ import annotations

import pytest

from gateway.config.schema import Capabilities, EngineUpstream, Model, OpenAIUpstream
from gateway.routing.capabilities import Can, capabilities


def test_the_bundled_engine_is_known() -> None:
    assert capabilities(Model("up"), EngineUpstream()) == Can(True, False, True, True, True)


def test_a_server_elsewhere_can_all_but_what_it_might_refuse() -> None:
    assert capabilities(Model("up"), OpenAIUpstream()) == Can(True, True, True, False)


@pytest.mark.parametrize("upstream", [EngineUpstream(), OpenAIUpstream()])
@pytest.mark.parametrize("said", [True, False])
def test_what_is_said_counts(upstream: EngineUpstream | OpenAIUpstream, said: bool) -> None:
    model = Model("up", capabilities=Capabilities(said, said, said, said, said))
    assert capabilities(model, upstream) == Can(said, said, said, said, said)
