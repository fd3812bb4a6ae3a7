from __future__ import annotations

from typing import Any

import pytest

from gateway.routing.tool_calls import refuse_calls
from gateway.wire.asked import Asked
from gateway.wire.reply import ToolCall


def tool(name: str, parameters: Any = None) -> dict[str, Any]:
    function = {"name": name} | ({} if parameters is None else {"parameters": parameters})
    return {"type": "function", "function": function}


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [tool("now"), tool("weather", CITY)]
ROME = ToolCall("weather", '{"city": "Rome"}')


def test_calls_as_the_tools_are_declared_are_fine() -> None:
    assert refuse_calls(Asked(tools=TOOLS), [ROME, ToolCall("now", ""), ToolCall("now", "{}")]) is None
    assert refuse_calls(Asked(tools=TOOLS), []) is None
    assert refuse_calls(Asked(tools=TOOLS, tool_choice="required"), [ROME]) is None


@pytest.mark.parametrize(
    ("asked", "calls", "fault"),
    [
        (Asked(), [ROME], "must not"),
        (Asked(tools=TOOLS, tool_choice="none"), [ROME], "must not"),
        (Asked(tools=TOOLS, tool_choice="required"), [], "must"),
        (Asked(tools=TOOLS, tool_choice=tool("now")), [ROME], "not given"),
        (Asked(tools=TOOLS, parallel_tool_calls=False), [ROME, ROME], "several"),
        (Asked(tools=TOOLS), [ToolCall("news", "{}")], "not given"),
        (Asked(tools=TOOLS), [ToolCall("weather", "{")], "no JSON object"),
        (Asked(tools=TOOLS), [ToolCall("weather", '["Rome"]')], "no JSON object"),
        (Asked(tools=TOOLS), [ToolCall("weather", "{}")], "schema"),
        (Asked(tools=TOOLS), [ROME, ToolCall("weather", '{"city": null}')], "schema"),
    ],
)
def test_others_are_refused_with_a_reason(asked: Asked, calls: list[ToolCall], fault: str) -> None:
    assert fault in (refuse_calls(asked, calls) or "")


@pytest.mark.parametrize("schema", [{"required": 1}, {"properties": []}, {"type": 3}, [], "x"])
def test_a_schema_that_is_none_refuses_nothing(schema: Any) -> None:
    assert refuse_calls(Asked(tools=[tool("f", schema)]), [ToolCall("f", '{"a": 1}')]) is None
