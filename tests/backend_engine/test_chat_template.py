"""Templates render as in transformers, and a bad one cannot do harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backend_engine.chat_template import ChatTemplate
from backend_engine.errors import InvalidRequest, UnsupportedModel
from backend_engine.loading.checkpoint import load_checkpoint
from tests.backend_engine.support.nasty_texts import NASTY_TEXTS
from tests.backend_engine.support.references import reference_from_gguf

CONVERSATIONS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " spaces  and\nlines \n"}],
    [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello! <b>&amp;</b>"},
        {"role": "user", "content": "{{ 1 + 1 }} {% raw %} <|im_end|>"},
    ],
    [{"role": "user", "content": text} for text in NASTY_TEXTS[:20]],
]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"a": "<ü>", "b": [1, None, True]}}}]
STYLES = {
    "header ids": (
        "{{- bos_token }}\n{%- for message in messages %}\n"
        "    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}\n"
        "    {{- message['content'] | trim + '<|eot_id|>' }}\n{%- endfor %}\n"
        "{%- if add_generation_prompt %}\n"
        "    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}"
    ),
    "inst": (
        "{% if messages[0]['role'] == 'system' %}"
        "{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}"
        "{% else %}{% set rest = messages %}{% endif %}{% for m in rest %}{% if m['role'] == 'user' %}"
        "[INST] {% if loop.first and system is defined %}<<SYS>>{{ system }}<</SYS>>{% endif %}"
        "{{ m['content'] }} [/INST]"
        "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
    ),
    "tools and namespaces": (
        "{% set ns = namespace(count=0, last='') %}\n{% if tools %}\nTOOLS\n{% for tool in tools %}\n"
        "{{ tool | tojson }}\n{{ tool.function | tojson(indent=2) }}\n{% endfor %}\n{% endif %}\n"
        "{% for m in messages %}\n    {% if m.role == 'system' %}{% continue %}{% endif %}\n"
        "    {% set ns.count = ns.count + 1 %}{% set ns.last = m.role %}\n{{ ns.count }}:{{ m.content }}\n"
        "{% if ns.count == 3 %}{% break %}{% endif %}\n{% endfor %}\n{{ ns.last }}{{ dict(a=1).a }}"
    ),
    "macros": (
        "{% macro say(role, text='') %}<{{ role }}>{{ text }}{{ caller() if caller }}{% endmacro %}"
        "{% for m in messages %}{{ say(m.role, m.content) }}{% call say('x') %}!{% endcall %}{% endfor %}"
    ),
    "generation marks": (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{% set x = 1 %}{{ m.content }}"
        "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{{ x is defined }}{% endfor %}"
    ),
    "date": "{{ strftime_now('%Y') }}{{ messages | length }}",
    "extras": "{{ enable_thinking }}{{ undefined_thing }}{{ messages[0].missing }}",
}


@pytest.fixture(scope="module")
def reference(smollm2_path: Path) -> Any:
    return reference_from_gguf(smollm2_path)


@pytest.mark.parametrize("prompt_follows", [True, False])
@pytest.mark.parametrize("messages", CONVERSATIONS, ids=lambda messages: f"{len(messages)} messages")
def test_smollm2_renders_as_in_transformers(
    messages: list[dict[str, Any]], prompt_follows: bool, smollm2_path: Path, reference: Any
) -> None:
    template = load_checkpoint(smollm2_path).chat_template
    assert template is not None
    expected = reference.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt_follows)
    assert template.render(messages, add_generation_prompt=prompt_follows) == expected


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("messages", CONVERSATIONS, ids=lambda messages: f"{len(messages)} messages")
def test_other_styles_render_as_in_transformers(
    style: str, messages: list[dict[str, Any]], reference: Any
) -> None:
    template = ChatTemplate(STYLES[style], bos_token=reference.bos_token, eos_token=reference.eos_token)
    for tools in (None, TOOLS):
        expected = reference.apply_chat_template(
            messages,
            chat_template=STYLES[style],
            tools=tools,
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
        )
        assert template.render(messages, tools=tools, enable_thinking=False) == expected


def test_templates_render_each_time_afresh() -> None:
    template = ChatTemplate(
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}"
    )
    assert [template.render([{}] * count) for count in (2, 3, 2)] == ["2", "3", "2"]


@pytest.mark.parametrize("source", ["{% for %}", "{{ a", "{% unknown %}", "{{ 1 | nofilter }}"])
def test_what_is_no_template_is_refused(source: str) -> None:
    with pytest.raises(UnsupportedModel, match="chat template"):
        ChatTemplate(source)


def test_the_templates_own_refusal_reaches_the_caller() -> None:
    template = ChatTemplate("{{ raise_exception('Roles must alternate') }}")
    with pytest.raises(InvalidRequest, match="Roles must alternate") as caught:
        template.render([])
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages[0].content.nothing.more }}",
        "{{ messages[5] + 1 }}",
        "{{ 1 / 0 }}",
        "{{ 'a' + 1 }}",
        "{{ messages | tojson(indent='x', nonsense=1) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ],
)
def test_failures_of_the_template_are_the_requests_fault(source: str) -> None:
    with pytest.raises(InvalidRequest):
        ChatTemplate(source).render([{"role": "user", "content": "x"}])


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception.__globals__ }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ namespace(_private=1) }}",
        "{{ self.__init__.__globals__ }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{% include '/etc/hostname' %}",
        "{{ dict.mro() }}",
    ],
)
def test_the_sandbox_holds(source: str) -> None:
    try:
        rendered = ChatTemplate(source).render([{"role": "user", "content": "x"}])
    except InvalidRequest:
        return
    assert rendered == "", "what is not allowed is undefined, and prints as nothing"


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(99) }}",
        "{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
        "{% for a in range(10**9) %}{% endfor %}",
        "{{ 'x' * 10**10 }}",
        "{{ [1] * 10**10 }}",
        "{{ 9 ** 9999999 }}",
        "{% set ns = namespace(s='xxxx') %}{% for a in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    ],
)
def test_runaway_templates_come_to_an_end(source: str) -> None:
    with pytest.raises(InvalidRequest):
        ChatTemplate(source).render([])


def test_long_conversations_are_no_runaways(smollm2_path: Path) -> None:
    template = load_checkpoint(smollm2_path).chat_template
    assert template is not None
    messages = [{"role": "user", "content": "x" * 1000}] * 5000
    assert len(template.render(messages)) > 5_000_000
