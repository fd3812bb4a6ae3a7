from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.load import load_config
from gateway.errors import ModelNotFound
from gateway.hops.route import RouteByName


@pytest.fixture
def hop(tmp_path: Path) -> RouteByName:
    file = tmp_path / "forebay.yaml"
    file.write_text(
        """
upstreams:
  engine: {kind: engine, model: tiny}
  remote: {kind: openai}
models:
  small: {upstream: engine}
  large: {upstream: remote, model: gpt-x}
  same: {upstream: remote}
  "*": {upstream: remote}
routes:
  auto: {tiers: [small]}
"""
    )
    return RouteByName(load_config(file, environ={}))


@pytest.mark.parametrize(
    ("asked", "label", "model", "upstream", "name_there"),
    [
        ("auto", "small", "small", "engine", "tiny"),
        ("small", "small", "small", "engine", "tiny"),
        ("large", "large", "large", "remote", "gpt-x"),
        ("same", "same", "same", "remote", "same"),
        ("anything", "anything", "*", "remote", "anything"),
    ],
)
def test_a_name_leads_to_one_model(
    hop: RouteByName, asked: str, label: str, model: str, upstream: str, name_there: str
) -> None:
    route = hop.find(asked)
    assert (route.label, route.model, route.upstream_model) == (label, model, name_there)
    assert route.target.upstream == upstream


def test_the_star_is_a_rule_and_not_a_name(hop: RouteByName) -> None:
    with pytest.raises(ModelNotFound):
        hop.find("*")
