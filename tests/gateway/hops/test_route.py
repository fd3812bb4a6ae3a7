from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.load import load_config
from gateway.config.schema import Price
from gateway.errors import ModelNotFound
from gateway.hops.route import RouteByName
from router.policy.escalation import ALL_LARGE
from router.policy.learned import Learned, save


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


def test_two_tiers_lead_to_the_large_one_at_the_price_of_both(tmp_path: Path) -> None:
    save(Learned(0.9, 100, "coin", ALL_LARGE, None, None, ()), tmp_path / "policy.json")
    file = tmp_path / "forebay.yaml"
    file.write_text(
        f"""
upstreams:
  remote: {{kind: openai}}
models:
  small: {{upstream: remote, price: {{input: 1, output: 2}}}}
  large: {{upstream: remote, price: {{input: 10, output: 20}}}}
  free: {{upstream: remote}}
routes:
  auto: {{tiers: [small, large], policy: {tmp_path}/policy.json}}
  unknown: {{tiers: [free, large], policy: {tmp_path}/policy.json}}
"""
    )
    hop = RouteByName(load_config(file, environ={}))

    assert (hop.find("auto").label, hop.find("auto").model) == ("auto", "large")
    assert hop.price("auto") == Price(11, 22)
    assert hop.price("unknown") is None


def test_the_star_is_a_rule_and_not_a_name(hop: RouteByName) -> None:
    with pytest.raises(ModelNotFound):
        hop.find("*")
