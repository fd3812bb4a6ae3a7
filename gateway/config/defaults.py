"""A gateway without configuration: the bundled engine and, with a key, OpenAI for all other names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.config.document import Node, Place
from gateway.config.schema import ANY_MODEL, DEFAULT_MODEL

_CATALOGUE = ("upstreams", "models", "routes")


def add_defaults(document: Node, environ: Mapping[str, str]) -> None:
    """Add the default upstreams, models and routes, unless the document has any of its own."""
    if any(section in document.value for section in _CATALOGUE):
        return
    sections: dict[str, dict[str, Any]] = {
        "upstreams": {"engine": {"kind": "engine"}},
        "models": {
            "smollm2": {"upstream": "engine", "model": DEFAULT_MODEL, "price": {"input": 0, "output": 0}}
        },
        "routes": {"auto": {"tiers": ["smollm2"]}},
    }
    if environ.get("OPENAI_API_KEY"):
        openai = {"kind": "openai", "api_key": environ["OPENAI_API_KEY"]}
        if environ.get("OPENAI_BASE_URL"):
            openai["base_url"] = environ["OPENAI_BASE_URL"]
        sections["upstreams"]["openai"] = openai
        sections["models"][ANY_MODEL] = {"upstream": "openai"}
    for name, section in sections.items():
        document.put((name,), section, Place("default configuration"))
