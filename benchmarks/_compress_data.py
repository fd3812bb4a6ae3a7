"""Prompts of the compressor's benchmark, made of questions with passages and of keys with values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.compression import bm25

DISTRACTORS = 9
INSTRUCTION = "Answer the question from the documents below."


@dataclass(frozen=True, slots=True)
class Case:
    """A prompt: documents between an instruction and a question, and the texts of which one must survive."""

    instruction: str
    documents: str
    question: str
    answers: Sequence[str]

    @property
    def prompt(self) -> str:
        """The user's message."""
        return self.around(self.documents)

    def around(self, documents: str) -> str:
        """Return the message with other documents."""
        return f"{self.instruction}\n\n{documents}\n\n{self.question}"

    def survives(self, prompt: str) -> bool:
        """Return whether an answer is left, in any case of letters, outside of the question itself."""
        text = prompt.removesuffix(self.question).lower()
        return any(answer.lower() in text for answer in self.answers)


def read(file: Path) -> list[dict[str, Any]]:
    """Return the records of a file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def multi_document(records: Sequence[dict[str, Any]]) -> list[Case]:
    """Return the questions with the documents that the file gives them."""
    return [_case(record, record["documents"]) for record in records]


def nearest_distractors(records: Sequence[dict[str, Any]]) -> list[Case]:
    """Return the questions with their gold passage among those that share most words with the question.

    Others are taken from the record's own documents and every record's gold passage; none holds an answer.
    """
    golds = [record["documents"][record["gold_index"]] for record in records]
    cases = []
    for record, gold in zip(records, golds, strict=True):
        pool = {document["text"]: document for document in [*record["documents"], *golds]}
        lowered = [answer.lower() for answer in record["answers"]]
        others = [
            document
            for document in pool.values()
            if not any(answer in _text(document).lower() for answer in lowered)
        ]
        near = bm25.scores(record["question"], [_text(document) for document in others])
        order = sorted(range(len(others)), key=lambda place: -near[place])[:DISTRACTORS]
        chosen = [others[place] for place in order]
        chosen.insert(min(record["gold_index"], len(chosen)), gold)
        cases.append(_case(record, chosen))
    return cases


def key_value(records: Sequence[dict[str, Any]]) -> list[Case]:
    """Return look-ups of one key in a JSON object."""
    return [
        Case(
            "Find the value of the key in the JSON object below.",
            json.dumps(dict(record["pairs"]), indent=1),
            f'Key: "{record["key"]}"',
            [record["value"]],
        )
        for record in records
    ]


def _case(record: dict[str, Any], documents: Sequence[dict[str, str]]) -> Case:
    texts = [
        f"Document [{number}] {document['title']}\n{document['text']}"
        for number, document in enumerate(documents, 1)
    ]
    return Case(INSTRUCTION, "\n\n".join(texts), f"Question: {record['question']}", record["answers"])


def _text(document: dict[str, str]) -> str:
    return f"{document['title']} {document['text']}"
