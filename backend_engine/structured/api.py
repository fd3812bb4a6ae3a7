"""The fields of OpenAI's chat API that ask for structure: `response_format`, `tools`, `tool_choice`."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from backend_engine.errors import InvalidRequest, UnsupportedParameter
from backend_engine.structured.grammar import Structure, ToolFunction
from backend_engine.structured.schema import ANY_OBJECT, Schema

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MAX_TOOLS = 128


class TextFormat(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """Free text."""


class JsonObjectFormat(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="json_object"):
    """Any JSON object."""


class JsonSchema(msgspec.Struct, forbid_unknown_fields=True):
    """A named schema. It is always enforced: `strict: false` would allow less, not ask for other things."""

    name: str
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class JsonSchemaFormat(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="json_schema"):
    """JSON that satisfies a schema."""

    json_schema: JsonSchema


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat


class Function(msgspec.Struct, forbid_unknown_fields=True):
    """What a model may call; `strict` is taken as in JsonSchema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, forbid_unknown_fields=True):
    """One entry of `tools`."""

    type: str
    function: Function | None = None
    custom: Any = None


class FunctionName(msgspec.Struct, forbid_unknown_fields=True):
    """Which function a `tool_choice` names."""

    name: str


class NamedToolChoice(msgspec.Struct, forbid_unknown_fields=True):
    """`tool_choice` in its object form."""

    type: str
    function: FunctionName | None = None
    allowed_tools: Any = None
    custom: Any = None


ToolChoice = Literal["none", "auto", "required"] | NamedToolChoice


class CalledFunction(msgspec.Struct, forbid_unknown_fields=True):
    """A call's function and its arguments as JSON text."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, forbid_unknown_fields=True):
    """A call that the assistant made earlier in the conversation."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"


def requested_structure(
    format_: ResponseFormat | None, tools: list[Tool], choice: ToolChoice | None, parallel: bool | None
) -> Structure | None:
    """Return what an answer is held to, None for free text; the arguments have been checked."""
    answer: Schema | None = None
    if isinstance(format_, JsonObjectFormat):
        answer = ANY_OBJECT
    elif isinstance(format_, JsonSchemaFormat):
        answer = format_.json_schema.schema or ANY_OBJECT
    functions = tuple(_function(tool, at) for at, tool in enumerate(tools))
    if isinstance(choice, NamedToolChoice) and choice.function is not None:
        functions = tuple(function for function in functions if function.name == choice.function.name)
    if not functions:
        return None if answer is None else Structure(answer=answer)
    return Structure(
        answer=answer,
        functions=functions,
        must_call=choice not in (None, "auto"),
        parallel_calls=parallel is not False and not isinstance(choice, NamedToolChoice),
    )


def _function(tool: Tool, at: int) -> ToolFunction:
    assert tool.function is not None
    # A function without parameters takes none (OpenAI API reference).
    parameters = tool.function.parameters
    schema = {"type": "object", "additionalProperties": False} if parameters is None else parameters
    return ToolFunction(
        tool.function.name, {"type": "object", **schema}, param=f"tools[{at}].function.parameters"
    )


def check_response_format(format_: ResponseFormat | None) -> None:
    """Raise InvalidRequest if the schema's name is not one."""
    if isinstance(format_, JsonSchemaFormat):
        _check_name(format_.json_schema.name, "response_format.json_schema.name")


def check_tools(tools: list[Tool], choice: ToolChoice | None) -> None:
    """Raise InvalidRequest naming the tool or the choice that cannot be honoured."""
    if len(tools) > MAX_TOOLS:
        raise InvalidRequest(f"'tools' has at most {MAX_TOOLS} entries.", param="tools")
    names: set[str] = set()
    for at, tool in enumerate(tools):
        where = f"tools[{at}]"
        if tool.type != "function":
            raise UnsupportedParameter(f"{where}.type", f"Tools of type '{tool.type}' are not supported.")
        if tool.function is None:
            raise InvalidRequest(f"'{where}.function' is missing.", param=f"{where}.function")
        _check_name(tool.function.name, f"{where}.function.name")
        if tool.function.name in names:
            raise InvalidRequest(f"Two tools are named '{tool.function.name}'.", param="tools")
        names.add(tool.function.name)
        if (tool.function.parameters or {}).get("type", "object") != "object":
            param = f"{where}.function.parameters"
            raise InvalidRequest(f"'{param}' must describe an object.", param=param)
    if isinstance(choice, NamedToolChoice):
        if choice.type != "function":
            raise UnsupportedParameter(
                "tool_choice.type", f"A tool_choice of type '{choice.type}' is not built."
            )
        if choice.function is None:
            raise InvalidRequest("'tool_choice.function' is missing.", param="tool_choice.function")
        if choice.function.name not in names:
            raise InvalidRequest(
                f"'tool_choice' names '{choice.function.name}', which is not among the tools.",
                param="tool_choice.function.name",
            )
    elif choice == "required" and not tools:
        raise InvalidRequest("'tool_choice' is 'required', but there are no tools.", param="tool_choice")


def _check_name(name: str, where: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidRequest(f"'{where}' must be 1 to 64 letters, digits, '_' or '-'.", param=where)
