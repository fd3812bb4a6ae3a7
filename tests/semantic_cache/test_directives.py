"""What a request may say to the cache, and in which words it is told that it said nonsense."""

from __future__ import annotations

import math
from typing import Any

import pytest

from semantic_cache.cache_status import age_header, forward_status, hit_status
from semantic_cache.directives import NO_DIRECTIVES, Directives, read_directives
from semantic_cache.errors import BadDirective
from semantic_cache.freshness import Use, use_of
from tests.semantic_cache.support.samples import entry


@pytest.mark.parametrize(
    ("header", "meaning"),
    [
        ("no-cache", Directives(no_cache=True)),
        ("No-Store , NO-CACHE", Directives(no_cache=True, no_store=True)),
        ("only-if-cached", Directives(only_if_cached=True)),
        ("max-age=60", Directives(max_age=60)),
        ('max-age="60"', Directives(max_age=60)),
        ("max-age=60, max-age=5", Directives(max_age=5)),
        ("min-fresh=5,min-fresh=7", Directives(min_fresh=7)),
        ("max-stale", Directives(max_stale=math.inf)),
        ("max-stale, max-stale=9", Directives(max_stale=9)),
        ("", NO_DIRECTIVES),
        (",, no-transform, x=\"a, no-store\", y='z'", NO_DIRECTIVES),
        ("no-cache,", Directives(no_cache=True)),
    ],
)
def test_cache_control_has_its_http_meaning(header: str, meaning: Directives) -> None:
    assert read_directives(header) == meaning


@pytest.mark.parametrize(
    ("body", "meaning"),
    [
        ({}, NO_DIRECTIVES),
        ({"ttl": 60}, Directives(ttl=60)),
        ({"s-maxage": 1.5}, Directives(max_age=1.5)),
        ({"no-cache": True, "no-store": False}, Directives(no_cache=True)),
        ({"no-store": True, "namespace": "n", "ttl": None}, Directives(no_store=True, namespace="n")),
    ],
)
def test_the_body_form_is_understood(body: Any, meaning: Directives) -> None:
    assert read_directives(None, None, body) == meaning


def test_nothing_said_is_nothing_meant() -> None:
    assert read_directives(None) is NO_DIRECTIVES


def test_the_stricter_word_counts() -> None:
    said = read_directives("max-age=60", "30", {"ttl": 20, "s-maxage": 90, "no-store": True})
    assert said == Directives(max_age=60, ttl=20, no_store=True)
    assert read_directives(None, "30", {"ttl": 40}).ttl == 30


@pytest.mark.parametrize(
    ("said", "param"),
    [
        (("max-age=soon",), "cache-control: max-age"),
        (("max-age",), "cache-control: max-age"),
        (("max-age=-1",), "cache-control: max-age"),
        (("max-age=99999999999999999999",), "cache-control: max-age"),
        (("min-fresh=1.5",), "cache-control: min-fresh"),
        (("max-stale=x",), "cache-control: max-stale"),
        (("no-cache; max-age=1",), "cache-control"),
        (('max-age="1',), "cache-control"),
        ((None, "soon"), "x-forebay-cache-ttl"),
        ((None, ""), "x-forebay-cache-ttl"),
        ((None, "²"), "x-forebay-cache-ttl"),
        ((None, None, []), "cache"),
        ((None, None, {"tll": 1}), "cache.tll"),
        ((None, None, {"ttl": "1"}), "cache.ttl"),
        ((None, None, {"ttl": True}), "cache.ttl"),
        ((None, None, {"s-maxage": -1}), "cache.s-maxage"),
        ((None, None, {"no-cache": 1}), "cache.no-cache"),
        ((None, None, {"namespace": ""}), "cache.namespace"),
        ((None, None, {"namespace": "x" * 300}), "cache.namespace"),
    ],
)
def test_what_means_nothing_is_refused_by_name(said: tuple[Any, ...], param: str) -> None:
    with pytest.raises(BadDirective) as refused:
        read_directives(*said)
    assert refused.value.param == param
    assert param.split(".")[0].split(":")[0] in str(refused.value)


KEPT = entry(1000.0, ttl=60, stale=30)


@pytest.mark.parametrize(
    ("directives", "now", "use"),
    [
        (Directives(), 1059.0, Use.FRESH),
        (Directives(), 1060.0, Use.STALE),
        (Directives(), 1090.0, Use.NO),
        (Directives(no_cache=True), 1001.0, Use.NO),
        (Directives(max_age=10), 1010.0, Use.FRESH),
        (Directives(max_age=10), 1010.5, Use.NO),
        (Directives(max_age=0), 1000.0, Use.NO),
        (Directives(min_fresh=20), 1040.0, Use.FRESH),
        (Directives(min_fresh=20), 1041.0, Use.NO),
        (Directives(min_fresh=0), 1061.0, Use.NO),
        (Directives(max_stale=5), 1065.0, Use.STALE),
        (Directives(max_stale=5), 1066.0, Use.NO),
        (Directives(max_stale=math.inf), 1089.0, Use.STALE),
        (Directives(max_stale=0), 1060.5, Use.NO),
        (Directives(no_store=True), 1001.0, Use.FRESH),
    ],
)
def test_age_decides_what_may_be_served(directives: Directives, now: float, use: Use) -> None:
    assert use_of(KEPT, directives, now) is use


def test_cache_status_and_age() -> None:
    assert hit_status(KEPT, 1010.5) == "Forebay; hit; ttl=49"
    assert hit_status(KEPT, 1065.0, "stale") == "Forebay; hit; ttl=-5; detail=stale"
    assert forward_status("miss", stored=True) == "Forebay; fwd=miss; stored"
    assert forward_status("miss", collapsed=True) == "Forebay; fwd=miss; collapsed"
    assert forward_status("bypass", detail="choices") == "Forebay; fwd=bypass; detail=choices"
    assert age_header(KEPT, 1010.9) == "10"
    assert age_header(KEPT, 900.0) == "0"


def test_tags_are_names_with_commas_between() -> None:
    assert read_directives(None, tags="docs, v2:de ,docs").tags == ("docs", "v2:de")
    assert read_directives("no-store", tags="a").no_store


@pytest.mark.parametrize(
    "tags", ["", ",", "a b", "a,,b", "é", "x" * 129, ",".join(f"t{number}" for number in range(17))]
)
def test_other_tags_are_refused_with_the_header_s_name(tags: str) -> None:
    with pytest.raises(BadDirective) as caught:
        read_directives(None, tags=tags)
    assert caught.value.param == "x-forebay-cache-tags"
