"""Chat templates: the model's own jinja program that lays out messages as one prompt.

A template comes with a model file, so it is untrusted code. It runs in jinja's immutable sandbox, and is
bounded in the steps it may take and the text it may build (see `_Bounded`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.meta
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from backend_engine.errors import InvalidRequest, UnsupportedModel
from backend_engine.structured.api import Tool
from backend_engine.structured.grammar import CALL_TAG
from backend_engine.structured.tool_prompt import describe, with_tools

MAX_STEPS = 200_000
"""Loop rounds and macro calls in one rendering: up to a second of work, far beyond any conversation."""
MAX_TEXT = 32_000_000
"""Characters in one rendering, and in any string that the template builds by repetition."""
_MAX_EXPONENT = 64
_STEPS = "_steps_taken"
_STEP_FILTER = "_step"


class ChatTemplate:
    """One compiled template.

    `bos_token` and `eos_token` are the texts that the template may write. Raises UnsupportedModel if
    `source` is not a template.
    """

    def __init__(self, source: str, *, bos_token: str | None = None, eos_token: str | None = None) -> None:
        self.source = source
        tokens = {"bos_token": bos_token, "eos_token": eos_token}
        # A token that the model lacks stays undefined, which a template can test for.
        self._tokens = {name: text for name, text in tokens.items() if text is not None}
        environment = _Bounded(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
        )
        try:
            self._template = environment.from_string(environment.counting(source))
        except (jinja2.TemplateError, RecursionError) as error:
            raise UnsupportedModel(f"the chat template cannot be compiled: {error}") from error

        names = jinja2.meta.find_undeclared_variables(environment.parse(source))
        # Calls are read in one notation only: a template that teaches another gets our system text instead.
        self._knows_tools = "tools" in names and CALL_TAG in source

    def layout(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[Tool]
    ) -> tuple[Sequence[dict[str, Any]], list[dict[str, Any]] | None]:
        """Return messages and tools as this template takes them; it gets no tools if it knows none."""
        if self._knows_tools:
            return messages, describe(tools) or None
        return with_tools(messages, tools), None

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **kwargs: Any,
    ) -> str:
        """Return the prompt for `messages`, to be encoded with special tokens parsed and none added.

        Messages go in as they are, look-alikes of special tokens included: the reference does not escape
        them either, and models know no notation for it. Raises InvalidRequest if the template fails.
        """
        variables = {
            **kwargs,
            **self._tokens,
            "messages": messages,
            "tools": tools,
            "add_generation_prompt": add_generation_prompt,
            _STEPS: [0],
        }
        pieces: list[str] = []
        length = 0
        try:
            for piece in self._template.generate(variables):
                pieces.append(piece)
                length += len(piece)
                if length > MAX_TEXT:
                    raise jinja2.TemplateRuntimeError(f"more than {MAX_TEXT} characters")
        except Exception as error:  # whatever a foreign program may raise
            reason = str(error) or type(error).__name__
            raise InvalidRequest(
                f"The model's chat template does not accept these messages: {reason}", param="messages"
            ) from error
        return "".join(pieces)


class _Bounded(ImmutableSandboxedEnvironment):
    """The sandbox with the helpers that templates expect, and with an end to loops and repetition.

    Every loop round and macro call is counted. Not covered: text doubled through `~` or `join`, which is
    left to the operator's choice of model files.
    """

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.filters.update({"tojson": _tojson, _STEP_FILTER: _step})
        self.globals.update(
            raise_exception=_raise_exception,
            strftime_now=_strftime_now,
            namespace=_Namespace,
            dict=_make_dict,
        )

    def counting(self, source: str) -> nodes.Template:
        """Parse `source` and count at the head of every loop and macro body."""
        tree = self.parse(source)
        for node in tree.find_all(nodes.Node):
            if isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock):
                step = nodes.Filter(nodes.Const(None), _STEP_FILTER, [], [], None, None)
                node.body.insert(0, nodes.ExprStmt(step))
        tree.set_environment(self)
        return tree

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and (not isinstance(right, int | float) or abs(right) > _MAX_EXPONENT):
            raise jinja2.TemplateRuntimeError(f"an exponent above {_MAX_EXPONENT}")
        if operator == "*":
            for sequence, times in ((left, right), (right, left)):
                if isinstance(sequence, str | list | tuple) and len(sequence) * times > MAX_TEXT:
                    raise jinja2.TemplateRuntimeError("a repetition that is too long")
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, str) and len(result) > MAX_TEXT:
            raise jinja2.TemplateRuntimeError(f"more than {MAX_TEXT} characters")
        return result


class _Generation(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}`, which marks assistant text for training: here only a scope."""

    tags = {"generation"}  # noqa: RUF012 - declared by jinja

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class _Namespace(Namespace):
    """Jinja's namespace without names that begin with an underscore, which reach into Python."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        # No named parameter: `namespace(self=…)` is legal in a template.
        values = dict(*args[1:], **kwargs)
        for name in values:
            _refuse_private(name)
        Namespace.__init__(args[0], values)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_private(name)
        super().__setitem__(name, value)


def _refuse_private(name: str) -> None:
    if name.startswith("_"):
        raise SecurityError(f"a namespace cannot hold {name!r}")


def _make_dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    # A function, so that templates get no hold of the class itself.
    return dict(*args, **kwargs)


@jinja2.pass_context
def _step(context: Context, value: None) -> None:
    # Takes the context also so that jinja does not fold the call into a constant.
    taken = context[_STEPS]
    taken[0] += 1
    if taken[0] > MAX_STEPS:
        raise jinja2.TemplateRuntimeError(f"more than {MAX_STEPS} steps")


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes for HTML, which models have not been trained on.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)
