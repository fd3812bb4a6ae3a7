"""Models are told of tools by their own template where it knows how, and in words of ours elsewhere."""

from __future__ import annotations

import json
from typing import Any

from backend_engine.chat_template import ChatTemplate
from backend_engine.structured.api import Function, Tool
from backend_engine.structured.tool_prompt import with_tools

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = Tool("function", Function("get_weather", "Weather of a city.", PARAMETERS))
MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": "Rome?"},
    {
        "role": "assistant",
        "content": "Looking.",
        "tool_calls": [
            {
                "id": "1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": {"city": "Rome"}},
            }
        ],
    },
    {"role": "tool", "content": "31 degrees"},
]
KNOWS_TOOLS = (
    "{% if tools %}{% for tool in tools %}{{ tool.function | tojson }}{% endfor %}<tool_call>{% endif %}"
    "{% for m in messages %}{{ m.role }}:{{ m.content }}{% for c in m.tool_calls %}"
    "{{ c.function.arguments | tojson }}{% endfor %}\n{% endfor %}"
)


def test_without_a_template_for_tools_all_is_plain_text() -> None:
    system, user, assistant, result = with_tools(MESSAGES, [TOOL])
    assert system["role"] == "system"
    described = next(line for line in system["content"].splitlines() if line.startswith('{"name": "get'))
    assert json.loads(described)["parameters"] == PARAMETERS
    assert user == MESSAGES[0]
    call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'
    assert assistant == {"role": "assistant", "content": f"Looking.\n{call}"}
    assert result == {"role": "user", "content": "<tool_response>\n31 degrees\n</tool_response>"}


def test_a_system_message_of_the_callers_stays_first() -> None:
    system, *rest = with_tools([{"role": "system", "content": "Be brief."}, MESSAGES[0]], [TOOL])
    assert system["content"].startswith("Be brief.\n\n")
    assert "get_weather" in system["content"]
    assert rest == [MESSAGES[0]]


def test_a_history_with_calls_needs_no_tools() -> None:
    assert [message["role"] for message in with_tools(MESSAGES, [])] == ["user", "assistant", "user"]


def test_a_template_that_knows_tools_gets_them_as_they_are() -> None:
    template = ChatTemplate(KNOWS_TOOLS)
    messages, tools = template.layout(MESSAGES, [TOOL])
    text = template.render(messages, tools=tools)
    assert text.startswith('{"name": "get_weather"')
    assert 'assistant:Looking.{"city": "Rome"}' in text
    assert "tool:31 degrees" in text


def test_a_template_that_teaches_another_notation_gets_ours() -> None:
    template = ChatTemplate(KNOWS_TOOLS.replace("<tool_call>", "[TOOL_CALLS]"))
    messages, tools = template.layout(MESSAGES, [TOOL])
    assert tools is None
    assert "<tool_call>" in messages[0]["content"]
