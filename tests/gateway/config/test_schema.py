from __future__ import annotations

from dataclasses import fields

from backend_engine.launcher import EngineOptions
from gateway.config.schema import EngineUpstream

# Decided by the gateway and not by the user: where the process listens, and what `telemetry` says.
SUPERVISED = {
    "model_name",
    "host",
    "port",
    "allow_unauthenticated",
    "otlp_endpoint",
    "trace_sample",
    "log_level",
}


def test_every_option_of_the_engine_can_be_configured() -> None:
    options = {option.name for option in fields(EngineOptions)} - SUPERVISED
    assert options == set(EngineUpstream.__struct_fields__) - {"timeouts"}


def test_defaults_are_the_engines_own() -> None:
    ours = EngineUpstream()
    for option in fields(EngineOptions):
        if option.name not in SUPERVISED and option.name != "model":
            assert getattr(ours, option.name) == option.default
