"""Who shares answers with whom, by the configuration."""

from __future__ import annotations

import pytest

from gateway.config.schema import SharedCache
from gateway.groups import Groups

PAIR = SharedCache("pair", ("a", "b"))
SOME = SharedCache("some", ("c", "d"), ("m",))


def test_without_groups_everybody_is_alone() -> None:
    assert Groups(()).find("a", "m") is None


@pytest.mark.parametrize(
    ("tenant", "model", "group"),
    [
        ("a", "m", PAIR),
        ("b", "anything", PAIR),
        ("c", "m", SOME),
        ("c", "other", None),
        ("e", "m", None),
        ("@pair", "m", None),
        ("", "m", None),
    ],
)
def test_a_group_is_of_its_tenants_and_models(tenant: str, model: str, group: SharedCache | None) -> None:
    assert Groups((PAIR, SOME)).find(tenant, model) == group


def test_a_tenant_may_be_in_two_groups_for_two_models() -> None:
    other = SharedCache("other", ("c", "e"), ("n",))
    groups = Groups((SOME, other))
    assert groups.find("c", "m") == SOME and groups.find("c", "n") == other
