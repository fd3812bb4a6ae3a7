"""Small real parts for tests of the semantic process: an embedder of words and a rule.

`python -m tests.semantic_cache.support.semantic_parts SOCKET` is a semantic process of them.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zlib import crc32

import numpy as np

from semantic_cache.decision.base import Assessment, Candidate, Decision, Encoding, Observation, Observations
from semantic_cache.embed.base import Encoding as Encoded
from semantic_cache.gates.base import GateVerdict
from semantic_cache.semantic.launcher import SemanticOptions
from semantic_cache.semantic.service.options import read_options
from semantic_cache.semantic.service.process import Parts, run

DIM = 64
ID = "words:test"


def encode(texts: Sequence[str]) -> list[Encoded]:
    """Sums of random directions, one for each word; the order of words does not count."""
    encodings = []
    for text in texts:
        vector = np.zeros(DIM, np.float32)
        for word in re.findall(r"\w+", text.lower()):
            vector += np.random.default_rng(crc32(word.encode())).standard_normal(DIM).astype(np.float32)
        norm = float(np.linalg.norm(vector))
        encodings.append(
            Encoded(
                vector / norm if norm else vector, np.zeros((0, DIM), np.float32), np.zeros((0, 2), np.int32)
            )
        )
    return encodings


class RuleDecider:
    """Serves the nearest from 0.9 on unless a label says otherwise; explores from 0.7 on.

    One gate: "not" stands in both or in neither.
    """

    def screen(self, text: str, stored: Sequence[str]) -> list[tuple[GateVerdict, ...]]:
        return [_gates(text, other) for other in stored]

    def decide(
        self,
        text: str,
        encoding: Encoding,
        candidates: Sequence[Candidate],
        *,
        error_budget: float,
        seed: bytes,
        threshold: float | None = None,
        pool: Observations | None = None,
    ) -> Decision:
        assessments = []
        for candidate in candidates:
            gates = candidate.gates or _gates(text, candidate.text)
            passed = gates[-1].passed
            wrong = sum(not label.same for label in candidate.history.seen)
            likely = candidate.similarity / (1 + wrong)
            assessments.append(
                Assessment(candidate.id, gates, None, (), likely if passed else None, likely, 1 - likely)
            )
            least = max(0.9, threshold or 0.0)
            if passed and candidate.similarity >= least and not wrong:
                return Decision(
                    candidate.id, False, None, likely, 1 - likely, "served", verdicts=tuple(assessments)
                )
            if passed and candidate.similarity >= 0.7:
                return Decision(
                    None, True, candidate.id, likely, 1 - likely, "explored", verdicts=tuple(assessments)
                )
        return Decision(None, False, None, 0.0, 1.0, "refused", verdicts=tuple(assessments))

    def learn(self, history: Observations, assessment: Assessment, *, same: bool) -> Observations:
        return Observations("rule", (*history.seen, Observation(assessment.probability, same)))


def _gates(text: str, stored: str) -> tuple[GateVerdict, ...]:
    passed = (" not " in f" {text} ") == (" not " in f" {stored} ")
    return (GateVerdict("negation", passed, "" if passed else "not"),)


def build(options: SemanticOptions) -> Parts:
    thread = ThreadPoolExecutor(1)

    async def encode_there(texts: Sequence[str]) -> list[Encoded]:
        return await asyncio.get_running_loop().run_in_executor(thread, encode, list(texts))

    async def close() -> None:
        thread.shutdown()

    return Parts(ID, DIM, encode_there, encode_there, RuleDecider(), close)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), read_options(), build))
