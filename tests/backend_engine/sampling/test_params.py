"""Sampling settings out of range are refused, by name."""

from __future__ import annotations

import math

import pytest

from backend_engine.errors import InvalidRequest
from backend_engine.sampling.params import SamplingParams


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 0),
        ("min_tokens", -1),
        ("min_tokens", 11),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", math.nan),
        ("top_p", 0),
        ("top_p", 1.01),
        ("top_k", -2),
        ("min_p", 1.5),
        ("presence_penalty", -2.5),
        ("frequency_penalty", 3),
        ("repetition_penalty", 0),
        ("logprobs", 21),
        ("prompt_logprobs", -1),
    ],
)
def test_a_value_out_of_range_names_its_parameter(name: str, value: float) -> None:
    with pytest.raises(InvalidRequest) as caught:
        SamplingParams(**{"max_tokens": 10, name: value})  # type: ignore[arg-type]
    assert caught.value.param == name
    assert f"'{name}'" in str(caught.value)


@pytest.mark.parametrize("stop", [("",), ("x" * 2000,), tuple("abcdefghijklmnopq")])
def test_stop_strings_are_bounded(stop: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        SamplingParams(max_tokens=1, stop=stop)
    assert caught.value.param == "stop"


def test_logit_bias_is_bounded() -> None:
    with pytest.raises(InvalidRequest):
        SamplingParams(max_tokens=1, logit_bias={1: 101})
