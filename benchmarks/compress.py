"""The prompt compressor on questions over documents and on look-ups of keys, beside simple baselines.

    python -m benchmarks.compress --data DIR [--answers N] [--scored N] [--overlong N] [--summaries] [--yarn]
        [--only SET] [--json]

`recall_4x`: share of prompts, made 4 times smaller, in which an answer is left outside of the question.
`ratio_4x`: how many times smaller the whole message became. `hard_…`: all distractors are those that share
most words with the question. `auto_…`: mode `auto` where it was found to pay. `atoms_intact`: share of
prompts in which every word with a digit is one of the original's. `json_intact`: share of look-ups whose JSON
is valid and has only pairs of the original. `prefix_stable`: share of turns, in conversations that grow by
five of them, whose older messages came out as the same bytes. `ttft_…` is the time to the
bundled engine's first token by mode `ratio:4`, compressing included, and `answers_right` the share of its
answers that are right. `ms_per_1k_tokens…`: wall time by mode `ratio:4`, over all prompts, over those where
the embedder was asked, and over those where BM25 decided; four characters are a token. Ranking is done by a
semantic process of its own. Texts that are longer than the model's window are a set of their own, `overlong`
(see benchmarks/_overlong.py).

Peers: `truncate-head` keeps the beginning of the documents, `truncate-tail` their end, `truncate-both` both
ends, `random` deletes sentences; all keep instruction and question and get the same budget. `bm25` is ours
without embedder.

`recall_8x_asked` has those prompts too for which a model that asks for what was left out, with the question's
own words, gets the answer; `had_back_…` is the share of prompts that are restored from what was kept.

`scored_…` is of fewer questions, which a language model has read (`_compress_perplexity`): ours beside
`perplexity-blind`, `llmlingua` and `longllmlingua`, and `scorer`, which is ours with `compress.scorer`.

`replay` says whether `auto` compresses where it pays (`_compress_replay`): `saved` of what `off` costs,
`share_of_oracle` of what the best choices save, `worst_…` before the upstream where it comes off worst.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cyclopts

from benchmarks import _compress_engine, _compress_perplexity, _compress_replay, _overlong, report
from benchmarks._cache_progress import say
from benchmarks._compress_data import Case, key_value, multi_document, nearest_distractors, read
from benchmarks._compress_retrieve import asked_for
from benchmarks._overlong_data import KINDS
from gateway.compression.compress import Compressed, compress
from gateway.compression.mode import AUTO, Mode
from gateway.compression.parts import sentences
from gateway.compression.perplexity.reading import Read
from gateway.compression.prompt import read_messages
from gateway.compression.remembered import Remembered, remembering
from gateway.compression.select import Rank
from gateway.config.schema import DEFAULT_MODEL
from gateway.models.store import ModelStore
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.launcher import SemanticOptions, launch
from semantic_cache.semantic.protocol import Rank as AskRank
from semantic_cache.semantic.protocol import Ranked

TIMED = 4
RATIOS = (TIMED, 2, 8)
"""The timed one first: what was compared once is not compared again."""
GROWING = 100
"""Questions from which growing conversations are made."""
TURNS = 5
CHARS_PER_TOKEN = 4
PATIENCE_S = 60.0
MULTI_DOCUMENT, KEY_VALUE = "nq_multidoc.jsonl", "kv_retrieval.jsonl"
OVERLONG = "overlong"
REPLAY = "replay"
_LOWER_IS_BETTER = ("ms_", "hard_ms_", "ttft_", "worst_cost_", "retrieved_", "hard_retrieved_", "reads_")
YARN_DEPTHS = (100, 50)
_MARK = re.compile(r'"?\[[^\[\]\n]*left out\]"?(?::"[^"\n]*")?')
_ATOM = re.compile(r"[\w.:/-]*\d[\w.:/-]*")
Figures = dict[str, Any]
Shorten = Callable[[Case, int], str]
"""Makes a case's prompt so many times smaller."""


@dataclass(frozen=True, slots=True)
class Made:
    """One prompt after compression."""

    prompt: str
    seconds: float
    ranked: bool


def keep_head(documents: str, budget: int) -> str:
    """Return the beginning."""
    return documents[:budget]


def keep_tail(documents: str, budget: int) -> str:
    """Return the end."""
    return documents[len(documents) - budget :]


def keep_both(documents: str, budget: int) -> str:
    """Return both ends."""
    return documents[: budget // 2] + documents[len(documents) - (budget - budget // 2) :]


def keep_random(documents: str, budget: int) -> str:
    """Return sentences chosen at random, in their order."""
    units = sentences(documents)
    kept: set[int] = set()
    for place in random.Random(len(documents)).sample(range(len(units)), len(units)):
        if len(units[place]) <= budget:
            kept.add(place)
            budget -= len(units[place])
    return "".join(units[place] for place in sorted(kept))


BASELINES: dict[str, Callable[[str, int], str]] = {
    "truncate-head": keep_head,
    "truncate-tail": keep_tail,
    "truncate-both": keep_both,
    "random": keep_random,
}


async def ours(
    messages: Sequence[dict[str, Any]], mode: Mode, rank: Rank | None, reader: Read | None = None
) -> tuple[list[str], Compressed]:
    """Return the contents of the messages after compression."""
    body = json.dumps(messages).encode()
    done = await compress(read_messages(body, 0, len(body)), mode, rank=rank, read=reader)
    changed = {change.text.start: change.value for change in done.changes}
    contents = []
    for message, parsed in zip(messages, read_messages(body, 0, len(body)), strict=True):
        text = parsed.texts[0] if parsed.texts else None
        contents.append(message["content"] if text is None else changed.get(text.start, text.value))
    return contents, done


async def made(case: Case, mode: Mode, rank: Rank | None, reader: Read | None = None) -> Made:
    """Compress the one message of a case."""
    begun = time.perf_counter()
    contents, done = await ours([{"role": "user", "content": case.prompt}], mode, rank, reader)
    return Made(contents[0], time.perf_counter() - begun, done.ranked)


def score(cases: Sequence[Case], prompts: Sequence[str], name: str, prefix: str = "") -> Figures:
    """Return recall and the ratio of the whole messages."""
    before = sum(len(case.prompt) for case in cases)
    recall = statistics.fmean(case.survives(prompt) for case, prompt in zip(cases, prompts, strict=True))
    return {
        f"{prefix}recall_{name}": round(recall, 4),
        f"{prefix}ratio_{name}": round(before / max(1, sum(map(len, prompts))), 2),
    }


def baseline(cases: Sequence[Case], keep: Callable[[str, int], str], prefix: str = "") -> Figures:
    """Return the figures of a peer that only looks at the documents."""
    figures: Figures = {}
    for ratio in RATIOS:
        prompts = []
        for case in cases:
            fixed = len(case.prompt) - len(case.documents)
            budget = max(0, int(len(case.prompt) / ratio) - fixed)
            prompts.append(case.around(keep(case.documents, budget)))
        figures |= score(cases, prompts, f"{ratio}x", prefix)
    return figures


def atoms_intact(before: str, after: str) -> bool:
    """Return whether every word with a digit is one that was there."""
    return set(_ATOM.findall(_MARK.sub("", after))) <= set(_ATOM.findall(before))


def json_intact(case: Case, prompt: str) -> bool:
    """Return whether the JSON of a look-up is valid, and has nothing but pairs of the original."""
    try:
        left = json.loads(prompt.removeprefix(case.instruction).removesuffix(case.question))
    except ValueError:
        return False
    pairs = json.loads(case.documents)
    return all(pairs.get(key) == value for key, value in left.items() if key != "[left out]")


async def compare_multi_document(
    records: Sequence[dict[str, Any]], rank: Rank
) -> tuple[Figures, dict[str, Figures]]:
    """Return our figures and the peers'."""
    figures: Figures = {}
    peers: dict[str, Figures] = {name: {} for name in [*BASELINES, "bm25", "uncompressed"]}
    once = remembering(rank, Remembered(), "")
    for prefix, cases in (("", multi_document(records)), ("hard_", nearest_distractors(records))):
        for name, keep in BASELINES.items():
            peers[name] |= baseline(cases, keep, prefix)
        whole = [case.prompt for case in cases]
        for ratio in RATIOS:
            name = f"{ratio}x"
            results = [await made(case, Mode("ratio", float(ratio)), once) for case in cases]
            figures |= score(cases, [one.prompt for one in results], name, prefix)
            figures |= asked_for(cases, [one.prompt for one in results], name, prefix)
            alone = [await made(case, Mode("ratio", float(ratio)), None) for case in cases]
            peers["bm25"] |= score(cases, [one.prompt for one in alone], name, prefix)
            peers["uncompressed"] |= score(cases, whole, name, prefix)
            if ratio == TIMED:
                figures |= times(cases, results, prefix)
                intact = [
                    atoms_intact(case.prompt, one.prompt) for case, one in zip(cases, results, strict=True)
                ]
                figures[f"{prefix}atoms_intact"] = round(statistics.fmean(intact), 4)
        chosen = [(await made(case, AUTO, once)).prompt for case in cases]
        figures |= score(cases, chosen, "auto", prefix)
    figures["prefix_stable"] = await prefix_stable(multi_document(records[:GROWING]), rank)
    return figures, peers


def times(cases: Sequence[Case], results: Sequence[Made], prefix: str) -> Figures:
    """Return milliseconds for 1,000 tokens, and how often BM25 decided."""
    groups = {
        "": list(zip(cases, results, strict=True)),
        "_ranked": [pair for pair in zip(cases, results, strict=True) if pair[1].ranked],
        "_bm25": [pair for pair in zip(cases, results, strict=True) if not pair[1].ranked],
    }
    figures: Figures = {f"{prefix}bm25_decided": round(len(groups["_bm25"]) / len(cases), 3)}
    for name, pairs in groups.items():
        tokens = sum(len(case.prompt) for case, _ in pairs) / CHARS_PER_TOKEN
        seconds = sum(one.seconds for _, one in pairs)
        if tokens:
            figures[f"{prefix}ms_per_1k_tokens{name}"] = round(seconds * 1e6 / tokens, 2)
    return figures


async def prefix_stable(cases: Sequence[Case], rank: Rank | None) -> float:
    """Return the share of turns whose older messages are the same bytes as without the turn."""
    stable = []
    for first in range(0, len(cases) - TURNS + 1, TURNS):
        messages: list[dict[str, Any]] = []
        before: list[str] = []
        for case in cases[first : first + TURNS]:
            messages.append({"role": "user", "content": case.prompt})
            contents, _ = await ours(messages, Mode("ratio", float(TIMED)), rank)
            stable.append(contents[: len(before)] == before)
            before = contents
            messages.append({"role": "assistant", "content": case.answers[0]})
            before.append(case.answers[0])
    return round(statistics.fmean(stable), 4) if stable else 1.0


async def compare_key_value(
    records: Sequence[dict[str, Any]], rank: Rank
) -> tuple[Figures, dict[str, Figures]]:
    """Return our figures and the peers'."""
    cases, figures = key_value(records), Figures()
    peers = {name: baseline(cases, keep) for name, keep in BASELINES.items()}
    peers["uncompressed"] = {}
    for ratio in RATIOS:
        results = [await made(case, Mode("ratio", float(ratio)), rank) for case in cases]
        figures |= score(cases, [one.prompt for one in results], f"{ratio}x")
        peers["uncompressed"] |= score(cases, [case.prompt for case in cases], f"{ratio}x")
        intact = [json_intact(case, one.prompt) for case, one in zip(cases, results, strict=True)]
        figures[f"json_intact_{ratio}x"] = round(statistics.fmean(intact), 4)
        if ratio == TIMED:
            figures |= times(cases, results, "")
    return figures, peers


@contextlib.asynccontextmanager
async def ranking(folder: Path) -> AsyncIterator[Rank]:
    """Run a semantic process with the embedder that the gateway has by default."""
    options = SemanticOptions(
        store=f"sqlite://{folder}/cache.db",
        embedder_path=str(ModelStore().path("minilm-l6")),
        log_level="warning",
    )
    socket = folder / "s"
    process = await launch(options, socket)
    client = SemanticClient(str(socket))
    client.start()

    async def rank(question: str, texts: Sequence[str]) -> list[float] | None:
        found = await client.ask(AskRank(question, list(texts)), Ranked, PATIENCE_S)
        if found is None:
            raise SystemExit("the semantic process does not answer")
        return found.similarities

    try:
        for _ in range(int(PATIENCE_S / 0.01)):
            if client.up:
                break
            await asyncio.sleep(0.01)
        yield rank
    finally:
        await client.close()
        await process.stop()


async def compare_engine(
    records: Sequence[dict[str, Any]], rank: Rank, answers: int
) -> tuple[Figures, Figures]:
    """Return figures of the bundled engine with prompts made 4 times smaller, and with whole ones."""

    async def shorten(case: Case) -> str:
        return (await made(case, Mode("ratio", float(TIMED)), rank)).prompt

    model = ModelStore().path(DEFAULT_MODEL)
    return await _compress_engine.measure(model, multi_document(records), shorten, answers)


async def compare_overlong(
    records: Sequence[dict[str, Any]], rank: Rank, each: int, *, summaries: bool, yarn: bool
) -> tuple[Figures, dict[str, Figures]]:
    """Return our figures for texts longer than the window, and the peers'."""
    model = ModelStore().path(DEFAULT_MODEL)
    results = await _overlong.measure(model, records, rank, each, summaries=summaries)
    if yarn:
        results |= await _overlong.measure_yarn(model, records, YARN_DEPTHS)
    print(f"\n{OVERLONG}\n{_overlong.table(results)}", flush=True)
    return _overlong.published(results)


async def compare_read(
    records: Sequence[dict[str, Any]], rank: Rank, questions: int
) -> tuple[Figures, dict[str, Figures]]:
    """Return figures of the ways that read prompts with the bundled engine's model, and ours beside them."""
    once = remembering(rank, Remembered(), "")

    async def shorten(case: Case, ratio: float, reader: Read | None) -> str:
        return (await made(case, Mode("ratio", float(ratio)), once, reader)).prompt

    # The gold passages' places go round: so do those of the first questions.
    cases = multi_document(records)[:questions]
    return await _compress_perplexity.compare(
        ModelStore().path(DEFAULT_MODEL), cases, sorted(RATIOS), shorten
    )


async def compare(
    data: Path,
    only: Collection[str],
    answers: int,
    scored: int,
    overlong: int,
    *,
    summaries: bool,
    yarn: bool,
) -> tuple[dict[str, Figures], dict[str, dict[str, Figures]]]:
    """Return figures by file, and the same of each peer."""
    figures: dict[str, Figures] = {}
    peers: dict[str, dict[str, Figures]] = {}
    sets = {MULTI_DOCUMENT: compare_multi_document, KEY_VALUE: compare_key_value}
    with tempfile.TemporaryDirectory(prefix="forebay-", ignore_cleanup_errors=True) as folder:
        async with ranking(Path(folder)) as rank:
            for name, compare_one in sets.items():
                if not (data / name).exists() or (only and name not in only):
                    continue
                say(f"{name}: recall beside simple baselines")
                figures[name], theirs = await compare_one(read(data / name), rank)
                if scored and name == MULTI_DOCUMENT:
                    ours_scored, of_models = await compare_read(read(data / name), rank, scored)
                    figures[name] |= ours_scored
                    theirs |= of_models
                if answers and name == MULTI_DOCUMENT:
                    say(f"the bundled engine's first token, and its answers to {answers} questions")
                    engine, whole = await compare_engine(read(data / name), rank, answers)
                    figures[name] |= engine
                    theirs["uncompressed"] |= whole
                for peer, values in theirs.items():
                    peers.setdefault(peer, {})[name] = values
            if all((data / name).exists() for name in sets) and (not only or REPLAY in only):
                say("whether auto compresses where it pays")
                documents, pairs = (read(data / name) for name in sets)
                figures[REPLAY], theirs = await _compress_replay.replayed(documents, pairs, rank)
                for peer, values in theirs.items():
                    peers.setdefault(peer, {})[REPLAY] = values
            if overlong and (data / MULTI_DOCUMENT).exists() and (not only or OVERLONG in only):
                figures[OVERLONG], theirs = await compare_overlong(
                    read(data / MULTI_DOCUMENT), rank, overlong, summaries=summaries, yarn=yarn
                )
                for peer, values in theirs.items():
                    peers.setdefault(peer, {})[OVERLONG] = values
    if not figures:
        raise SystemExit(f"none of {', '.join(only or sets)} can be made from what is in {data}")
    return figures, peers


def bench(
    *,
    data: Path,
    only: tuple[str, ...] = (),
    answers: int = 12,
    scored: int = 6,
    overlong: int = 1,
    summaries: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    yarn: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    json_: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
) -> None:
    """Compare the compressor with simple baselines.

    Parameters
    ----------
    data: the folder with nq_multidoc.jsonl and kv_retrieval.jsonl, or others of the same format.
    only: run these sets alone: the files' names, `replay` or `overlong`.
    answers: questions that the bundled engine answers, with whole prompts and with shorter ones, and its
        times are measured; 0 leaves it out.
    scored: questions whose documents a language model reads, for the ways of compressing that need it; 0
        leaves them out.
    overlong: questions (up to 3) at each of five depths of a document of 40,000 tokens, which the bundled
        engine reads by way of each strategy; 0 leaves it out.
    summaries: let the strategy `summarise` take part there.
    yarn: let the engine with a stretched window take part there, at two depths; minutes for each.
    json_: print one JSON object as the last line.
    """
    if not 0 <= overlong <= KINDS:
        raise SystemExit(f"--overlong is {overlong}; it is 0 to {KINDS}")
    machine = report.machine()
    figures, peers = asyncio.run(
        compare(data, only, answers, scored, overlong, summaries=summaries, yarn=yarn)
    )
    higher = {key for file in figures.values() for key in file if not key.startswith(_LOWER_IS_BETTER)}
    ratios: dict[str, dict[str, Figures]] = {}
    for name, of_file in figures.items():
        if name == OVERLONG:
            continue
        theirs = {peer: files[name] for peer, files in peers.items() if name in files}
        print(f"\n{name}")
        found = report.ratios(of_file, theirs, higher)
        report.publish("compress", machine, of_file, theirs, {}, as_json=False)
        for peer, values in found.items():
            ratios.setdefault(peer, {})[name] = values
    if OVERLONG in figures:
        for peer, values in _overlong.ratios(figures[OVERLONG], peers).items():
            ratios.setdefault(peer, {})[OVERLONG] = values
    if json_:
        line = {"bench": "compress", "machine": machine, "figures": figures, "peers": peers, "ratios": ratios}
        print(json.dumps(line))


if __name__ == "__main__":
    cyclopts.run(bench)
