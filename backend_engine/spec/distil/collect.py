"""Lets the target answer prompts, and keeps its tokens with the features that a draft head sees."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file

from backend_engine.assemble import LoadedModel, build_engine
from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.launcher import EngineOptions
from backend_engine.request import Request
from backend_engine.sampling.params import SamplingParams
from backend_engine.spec.base import Draft, Want
from backend_engine.spec.distil.prompts import FOLLOW_UPS, compose

AT_ONCE = 48
LONGEST = 256
_ANSWERS_PER_FILE = 128
_FOLLOWED_UP = 0.2
_GREEDY = 0.5

Message = dict[str, object]


@dataclass(slots=True)
class _Asked:
    messages: list[Message]
    features: list[torch.Tensor] = field(default_factory=list)


class Recorder:
    """A drafter that drafts nothing and keeps the features of every token of an answer."""

    def __init__(self, taps: tuple[int, ...]) -> None:
        self.taps = taps
        self.asked: dict[Request, _Asked] = {}

    def propose(self, wants: Sequence[Want]) -> list[list[Draft]]:
        return [[] for _ in wants]

    def see(self, requests: Sequence[Request], features: torch.Tensor) -> None:
        for request, row in zip(requests, features.half(), strict=True):
            self.asked[request].features.append(row)

    def finished(self, request: Request) -> None:
        """Do nothing: what is kept is fetched when the answer is saved."""


def collect(
    loaded: LoadedModel,
    taps: tuple[int, ...],
    folder: Path,
    *,
    tokens: int,
    seed: int,
    say: Callable[[str], None],
) -> None:
    """Write answers of `tokens` tokens in all to files in `folder`.

    A file has the `tokens` of its answers one after another, int32 [tokens], each begun by the last token of
    its prompt; `features`, fp16 [tokens, taps, hidden], of the same tokens; `starts`, int64 [answers].
    """
    assert loaded.chat_template is not None
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)
    recorder = Recorder(taps)
    options = EngineOptions(model="", max_sequences=AT_ONCE, speculation="off")
    engine = build_engine(loaded, options, drafter=recorder)
    done: list[tuple[list[int], torch.Tensor]] = []
    collected = files = 0
    began = time.monotonic()

    def ask(messages: list[Message]) -> None:
        params = SamplingParams(
            max_tokens=LONGEST,
            temperature=0.0 if chance.random() < _GREEDY else chance.choice((0.7, 0.85, 1.0)),
        )
        assert loaded.chat_template is not None
        request = Request(
            "distil",
            loaded.tokenizer.encode(loaded.chat_template.render(messages)),
            params,
            IncrementalDetokenizer(loaded.tokenizer.token_bytes),
            seed=chance.getrandbits(32),
        )
        recorder.asked[request] = _Asked(messages)
        engine.add(request)

    while collected < tokens:
        while len(recorder.asked) < AT_ONCE:
            ask([{"role": "user", "content": compose(chance)}])
        for output in engine.step():
            if output.finish_reason is None:
                continue
            request = output.request
            asked = recorder.asked.pop(request)
            ids = request.token_ids[request.num_prompt_tokens - 1 : -1]
            # Of a single token there is nothing to learn.
            if asked.features:
                done.append((ids, torch.stack(asked.features)))
            collected += len(ids)
            if output.finish_reason == "stop" and chance.random() < _FOLLOWED_UP:
                said = b"".join(loaded.tokenizer.token_bytes(token) for token in request.output_ids[:-1])
                answer: Message = {"role": "assistant", "content": said.decode(errors="replace")}
                ask([*asked.messages, answer, {"role": "user", "content": chance.choice(FOLLOW_UPS)}])
        if len(done) >= _ANSWERS_PER_FILE or collected >= tokens:
            _save(done, folder / f"{seed:03}-{files:04}.safetensors")
            files, done = files + 1, []
            say(f"{collected} tokens, {collected / (time.monotonic() - began):.0f} a second")


def _save(answers: list[tuple[list[int], torch.Tensor]], path: Path) -> None:
    starts = torch.tensor([0, *[len(ids) for ids, _ in answers]]).cumsum(0)[:-1]
    # What ended an answer was seen by nobody, so the token before it has no features.
    features = [
        torch.cat((rows, rows.new_zeros(len(ids) - len(rows), *rows.shape[1:]))) for ids, rows in answers
    ]
    save_file(
        {
            "tokens": torch.tensor([token for ids, _ in answers for token in ids], dtype=torch.int32),
            "features": torch.cat(features),
            "starts": starts,
        },
        path,
    )
