"""Which requests the semantic tier has to do with, and which answers may serve other questions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from semantic_cache.answer_shape import TEXTS
from semantic_cache.question import Question

_DECODE = msgspec.json.Decoder().decode
_NO_TOOLS: Final = b"{}"


@dataclass(frozen=True, slots=True)
class Rules:
    """What may take part although it is left out by default."""

    refusals: bool = False
    time_bound: bool = False
    tools: bool = False
    max_chars: int = 1000


def text_of(question: Question) -> str | None:
    """Return the text of the last user turn, or None if the last message is anything else.

    Any member of the message that is not its role or its text would be outside both scope and text, so a
    message that has one is none of ours.
    """
    if question.endpoint != "chat":
        return None
    message = _DECODE(question.query)
    if not isinstance(message, dict) or message.keys() != {"role", "content"} or message["role"] != "user":
        return None
    content = message["content"]
    if isinstance(content, list) and len(content) == 1:
        content = _part(content[0])
    return content if isinstance(content, str) and content.strip() else None


def _part(part: Any) -> Any:
    if isinstance(part, dict) and part.keys() == {"type", "text"} and part["type"] == "text":
        return part["text"]
    return None


def refuse_question(question: Question, text: str | None, rules: Rules) -> str | None:
    """Return why no stored answer of another question may serve this one, nor its own others; or None."""
    if text is None:
        return "not_text"
    if len(text) > rules.max_chars:
        return "too_long"
    if not rules.tools and question.tools != _NO_TOOLS:
        return "tools"
    if not rules.time_bound and is_time_bound(text):
        return "time_bound"
    return None


def refuse_answer(answer: bytes, rules: Rules) -> str | None:
    """Return why a stored answer (`Entry.answer` of a chat) may serve no other question, or None."""
    message = _DECODE(answer)["choices"][0]["message"]
    if not rules.refusals and (message.get("refusal") or declines(message.get("content") or "")):
        return "refusal"
    return None


def answer_text(answer: bytes) -> str:
    """Return the text of a stored answer of a chat."""
    content = _DECODE(answer)["choices"][0]["message"].get("content")
    return content if isinstance(content, str) else ""


class AnswerTexts(NamedTuple):
    """All that a stored answer says in words."""

    said: str
    beside: tuple[str, ...]
    """Chains of thought, a refusal, further choices."""


def answer_texts(answer: bytes) -> AnswerTexts:
    """Return the texts of a stored answer of a chat or a completion; of several choices the first is said."""
    said: list[str] = []
    beside: list[str] = []
    for choice in _DECODE(answer)["choices"]:
        message = choice.get("message") or {"content": choice.get("text")}
        said.append(message.get("content") or "")
        beside += [message.get(name) or "" for name in TEXTS if name != "content"]
    # The others must be equal to the letter, like all that is not compared by meaning.
    return AnswerTexts(said[0], (*beside, *said[1:]))


def is_time_bound(text: str) -> bool:
    """Return whether the right answer depends on when it is asked, as far as its words show."""
    return _TIME_BOUND.search(text) is not None


def declines(answer: str) -> bool:
    """Return whether an answer begins as models begin when they will or cannot answer."""
    return _DECLINES.match(answer.lstrip(" \t\r\n*_>\"'")) is not None


# Words, not meanings: a question too many costs a hit. "May" and "second" are left out, being too common.
_TIME_BOUND = re.compile(
    r"""
    \b(?:
        today|tonight|tomorrow|yesterday|now|nowadays|currently|current|latest|newest|recent|recently|lately
        |upcoming|ongoing|breaking|news|headlines?|trending|live\ (?:stream|scores?|updates?)
        |real[- ]?time|up[- ]to[- ]date|so\ far|as\ of
        |(?:this|last|next|past|coming)\ (?:hour|morning|afternoon|evening|night|week|weekend|month|year
            |season|quarter|monday|tuesday|wednesday|thursday|friday|saturday|sunday)
        |what\ (?:time|day|date|year)\ is|at\ the\ moment|these\ days|anymore
        |still\ (?:open|available|alive|valid|true|the\ case)
        |weather|forecast|temperature\ outside|traffic|prices?|cost\ of
        |how\ much\ (?:is|are|does|do|costs?)
        |exchange\ rate|interest\ rate|stocks?|shares?\ of|market\ cap|bitcoin|scores?|standings|schedule
        |opening\ hours|in\ stock|availability|available
        |heute|morgen|gestern|jetzt|aktuell\w*|neueste\w*|derzeit|preise?|wetter|kostet
        |aujourd'?hui|demain|hier|maintenant|actuel\w*|derni[eè]re?s?|prix|m[eé]t[eé]o
        |hoy|ma[nñ]ana|ayer|ahora|actual\w*|[uú]ltim[oa]s?|precios?|clima
        |oggi|domani|ieri|adesso|attual\w*|prezz[oi]|meteo
    )\b
    |今天|今日|明天|昨天|现在|現在|目前|最新|最近|价格|天气|天気|価格
    """,
    re.IGNORECASE | re.VERBOSE,
)
_DECLINES = re.compile(
    r"""
    (?:i['’]?m\ (?:very\ |really\ |so\ )?sorry|sorry|i\ apologi[sz]e|my\ apologies|unfortunately
       |i\ (?:can(?:no|['’])?t|am\ (?:not\ able|unable)|will\ not|won['’]t)
       |i\ (?:don['’]t|do\ not)\ (?:know|have)
       |i['’]m\ (?:not\ able|unable|not\ sure)|as\ an?\ (?:ai|artificial|language|large)
       |es\ tut\ mir\ leid|leider|je\ suis\ d[eé]sol|d[eé]sol|lo\ siento|mi\ dispiace|抱歉|对不起|申し訳)
    """,
    re.IGNORECASE | re.VERBOSE,
)
