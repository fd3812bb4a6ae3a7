"""What the design knows and no code serves yet: refused by name, never accepted and ignored."""

from __future__ import annotations

from gateway.config.document import Node, Place
from gateway.errors import ConfigError

_KEYS: tuple[tuple[str, ...], ...] = (("telemetry", "capture_content"),)
_KINDS = ("anthropic", "vllm", "sglang", "tgi", "triton", "lmdeploy", "ollama")


def refuse_unbuilt(document: Node) -> None:
    """Raise ConfigError at the first thing that is not built yet."""
    for path in _KEYS:
        _refuse(document, path, "")
    for name, upstream in _entries(document, "upstreams"):
        kind = upstream.find("kind")
        if kind is not None and kind.value in _KINDS:
            hint = "; an OpenAI-compatible server is reached with 'kind: openai'"
            raise _not_built(kind.place, f"upstreams.{name}.kind: {kind.value}", hint)


def _refuse(node: Node, path: tuple[str, ...], above: str) -> None:
    if not isinstance(node.value, dict):
        return
    for name in list(node.value) if path[0] == "*" else [path[0]]:
        if name not in node.value:
            continue
        dotted = f"{above}.{name}" if above else name
        if len(path) == 1:
            raise _not_built(node.keys[name], dotted)
        _refuse(node.value[name], path[1:], dotted)


def _entries(document: Node, section: str) -> list[tuple[str, Node]]:
    node = document.find(section)
    return list(node.value.items()) if node is not None and isinstance(node.value, dict) else []


def _not_built(place: Place, what: str, hint: str = "") -> ConfigError:
    return ConfigError(f"{place}: '{what}' is not built yet{hint}")
