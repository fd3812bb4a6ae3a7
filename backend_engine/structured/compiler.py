"""Compiles grammars off the event loop, each once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from llguidance import LLMatcher

from backend_engine.errors import UnsupportedSchema
from backend_engine.structured.closing import way_out
from backend_engine.structured.grammar import Structure
from backend_engine.structured.guide import Guide
from backend_engine.structured.schema import Schema, faulty_part
from backend_engine.structured.vocabulary import Vocabulary

MAX_GRAMMARS = 256
_SLACK_TOKENS = 64
_LONGEST_WAY_OUT = 512
_ANSWER_PARAM = "response_format"


@dataclass(frozen=True, slots=True)
class CompiledGrammar:
    """A grammar at its start, from which every sequence begins with a copy."""

    start: LLMatcher
    vocabulary: Vocabulary
    horizon: int

    def guide(self) -> Guide:
        """Return the state of a new sequence."""
        return Guide(self.start, self.vocabulary, horizon=self.horizon)


class GrammarCompiler:
    """Keeps the most recently used grammars; requests that want the same new one wait for one compilation."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._grammars: OrderedDict[str, asyncio.Task[CompiledGrammar]] = OrderedDict()

    @property
    def num_grammars(self) -> int:
        """Grammars kept, those being compiled included."""
        return len(self._grammars)

    async def compile(self, structure: Structure) -> CompiledGrammar:
        """Return the grammar of `structure`; raises UnsupportedSchema naming what cannot be enforced."""
        try:
            grammar = structure.grammar()
        except RecursionError:
            raise UnsupportedSchema("The schema is nested too deeply.", param=_ANSWER_PARAM) from None
        task = self._grammars.get(grammar)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(self._compile, structure, grammar))
            self._grammars[grammar] = task
            task.add_done_callback(lambda done: self._forget_failure(grammar, done))
            if len(self._grammars) > MAX_GRAMMARS:
                self._grammars.popitem(last=False)
        self._grammars.move_to_end(grammar)
        # Shielded: a client that leaves does not take the compilation from the others who wait for it.
        return await asyncio.shield(task)

    def _forget_failure(self, grammar: str, done: asyncio.Task[CompiledGrammar]) -> None:
        if (done.cancelled() or done.exception() is not None) and self._grammars.get(grammar) is done:
            del self._grammars[grammar]

    def _compile(self, structure: Structure, grammar: str) -> CompiledGrammar:
        if structure.answer is not None:
            self._check(structure.answer, _ANSWER_PARAM)
        for function in structure.functions:
            self._check(function.parameters, function.param)
        matcher = LLMatcher(self._vocabulary.backend, grammar, log_level=0)
        if matcher.is_error():
            raise UnsupportedSchema(_reason(matcher.get_error()), param=_ANSWER_PARAM)
        if not any(matcher.compute_bitmask()) or matcher.is_error():
            raise UnsupportedSchema("No finite text satisfies this schema.", param=_ANSWER_PARAM)
        shortest = way_out(matcher, self._vocabulary, _LONGEST_WAY_OUT)
        horizon = 2 * (_LONGEST_WAY_OUT if shortest is None else len(shortest)) + _SLACK_TOKENS
        return CompiledGrammar(matcher, self._vocabulary, horizon)

    def _check(self, schema: Schema, param: str) -> None:
        fault = faulty_part(schema, _Library(self._vocabulary))
        if fault is not None:
            path, reason = fault
            where = f"'{path}' of the schema" if path else "The schema"
            raise UnsupportedSchema(f"{where} in '{param}' cannot be enforced: {reason}", param=param)


class _Library:
    """llguidance as a `Checker`."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def complaint(self, schema: str) -> str:
        return _reason(self._matcher(schema).get_error())

    def accepts(self, schema: str, text: str) -> bool:
        matcher = self._matcher(schema)
        tokens = self._vocabulary.backend.tokenize_str(text)
        return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()

    def _matcher(self, schema: str) -> LLMatcher:
        grammar = LLMatcher.grammar_from_json_schema(schema)
        return LLMatcher(self._vocabulary.backend, grammar, log_level=0)


def _reason(message: str) -> str:
    return " ".join(message.split("<state>")[0].split(" while processing ")[0].split())
