"""`forebay cache`: looks into the answer cache, empties it, fills it, and takes it elsewhere."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar

import msgspec
from cyclopts import App, Parameter, validators
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.commands.failure import EXIT_USAGE, errors_as_exit_status, fail
from gateway.commands.savings import encoded, read_savings, table
from gateway.config.load import load_config
from gateway.config.schema import OPEN_TENANT, CacheConfig, Config
from gateway.errors import ConfigError
from gateway.state.savings.base import KEPT_DAYS
from semantic_cache.entry import LEFT_OUT
from semantic_cache.errors import CacheError
from semantic_cache.store.base import Budget, Store
from semantic_cache.store.open import open_store

cache_app = App(name="cache", help="Look into the answer cache, empty it, fill it, take it elsewhere.")
T = TypeVar("T")
Flag = Annotated[bool, Parameter(negative=())]
_AT_ONCE = 64
_MIB = 1024 * 1024


@cache_app.command
def stats(
    *,
    tenant: str | None = None,
    days: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=KEPT_DAYS))] = 30,
    json: Flag = False,
    config: Path | None = None,
) -> None:
    """Count what the cache holds, by tenant and model, and what was saved, by tenant and layer.

    What a group of tenants shares is counted under '@' and the group's name, with whose answers they are.
    A layer below zero cost more than it saved. Running gateways add theirs once a second.

    Parameters
    ----------
    tenant
        Count this tenant's answers and savings only.
    days
        Of how many days the savings are, today's included.
    json
        Print one JSON object.
    config
        Configuration file (default: forebay.yaml in the working directory, if there is one).
    """

    async def count(store: Store) -> dict[str, object]:
        by_model: Counter[tuple[str, str]] = Counter()
        contributed: dict[str, Counter[str]] = {}
        epochs: dict[str, int] = {}
        usd, records, left_out = 0.0, 0, 0
        async for kept in store.scan(tenant):
            if kept.entry.endpoint == LEFT_OUT:
                left_out += 1
                continue
            by_model[kept.key.tenant, kept.entry.model] += 1
            if kept.entry.contributor:
                contributed.setdefault(kept.key.tenant, Counter())[kept.entry.contributor] += 1
            usd += kept.entry.cost_usd
            records += kept.stored is not None
        for name in {name for name, _ in by_model}:
            epochs[name] = (await store.epochs(name)).now
        held = await store.stats()
        return {
            "entries": sum(by_model.values()),
            "semantic_records": records,
            "left_out_texts": left_out,
            "bytes_of_store": held.bytes,
            "cost_usd": round(usd, 6),
            "tenants": {
                name: {
                    "epoch": epochs[name],
                    "models": {model: n for (of, model), n in sorted(by_model.items()) if of == name},
                    **({"contributors": contributed[name]} if name in contributed else {}),
                }
                for name in sorted(epochs)
            },
        }

    counted = _with_store(config, count)
    savings = read_savings(load_config(config).state.store, tenant, days)
    if json:
        counted["savings"] = encoded(savings)
        sys.stdout.write(msgspec.json.encode(counted).decode() + "\n")
        return
    sys.stdout.write(
        f"{counted['entries']} answers that had cost ${counted['cost_usd']}; "
        f"{counted['semantic_records']} may answer other questions; the store takes "
        f"{counted['bytes_of_store']} bytes, what was purged and is not deleted yet included\n"
    )
    tenants = counted["tenants"]
    assert isinstance(tenants, dict)
    for name, of in tenants.items():
        models = ", ".join(f"{model} {n}" for model, n in of["models"].items())
        sys.stdout.write(f"{name} (epoch {of['epoch']}): {models}\n")
    sys.stdout.write(table(savings or {}, days))


@cache_app.command
def purge(
    *,
    tenant: str | None = None,
    model: str | None = None,
    tag: str | None = None,
    before_epoch: int | None = None,
    everything: Flag = False,
    dry_run: Flag = False,
    config: Path | None = None,
) -> None:
    """Make answers invalid, at once and in all gateways, however many there are.

    Answers to requests that are under way are meant as well. Room is freed when they are come upon or expire.

    Parameters
    ----------
    tenant
        Answers of this tenant; without it, of all that have answers.
    model
        Only answers of requests for this model.
    tag
        Only answers that carry this tag (`x-forebay-cache-tags`).
    before_epoch
        Only answers of epochs before this one (see 'forebay cache stats').
    everything
        Needed to purge without any of the above.
    dry_run
        Count what would go, and leave it.
    config
        Configuration file (default: forebay.yaml in the working directory, if there is one).
    """
    if model is not None and tag is not None:
        raise fail("give --model or --tag, not both", EXIT_USAGE)
    if not everything and all(given is None for given in (tenant, model, tag, before_epoch)):
        raise fail("say what to purge: --tenant, --model, --tag, --before-epoch or --everything", EXIT_USAGE)

    async def count(store: Store) -> int:
        found = 0
        # What a group has of a tenant goes with the tenant's own.
        async for kept in store.scan():
            entry, mine = kept.entry, tenant in (None, kept.key.tenant)
            if not mine and kept.entry.contributor != tenant:
                continue
            epoch = entry.epoch if mine else entry.contributed
            meant = model in (None, entry.model) and (tag is None or tag in entry.tags)
            found += meant and (before_epoch is None or epoch < before_epoch)
        return found

    async def work(store: Store) -> None:
        await store.purge(tenant, lambda epochs: epochs.purged(model=model, tag=tag, before=before_epoch))

    if dry_run:
        sys.stdout.write(f"{_with_store(config, count)} answers would be purged\n")
    else:
        _with_store(config, work)
        sys.stdout.write("purged\n")


@cache_app.command
def explain(
    question: str,
    /,
    *,
    model: str,
    tenant: str = OPEN_TENANT,
    system: str | None = None,
    request: Path | None = None,
    config: Path | None = None,
) -> None:
    """Show which stored questions come close to this one, and what every gate says of each.

    A process of its own reads the whole store, so this works without a running gateway and changes nothing.

    Parameters
    ----------
    question
        The last user turn.
    model
        The model's name in the request.
    tenant
        Whose cache.
    system
        The system prompt; stored answers to another one are out of reach.
    request
        A file with a whole chat request, whose last message is replaced by the question.
    config
        Configuration file (default: forebay.yaml in the working directory, if there is one).
    """
    with errors_as_exit_status():
        settings = load_config(config)
        # Imported here: they need more than a command line that is only asked for help.
        from gateway.embedder_files import fetched
        from gateway.explain import explain as ask
        from gateway.explain import replace_question, request_of
        from gateway.models.store import ModelStore

        body = request_of(question, model, system)
        if request is not None:
            body = replace_question(_read(request), question, model)
        semantic = settings.cache.semantic if settings.cache is not None else None
        path = None if semantic is None else fetched(semantic, ModelStore())
        looked = asyncio.run(ask(settings, body, tenant, path))
    served = "a hit" if looked.serve is not None else "a miss"
    sys.stdout.write(
        f"{served}: {looked.reason} (P(same) {looked.probability:.4f}, bound {looked.bound:.4f})\n"
    )
    for candidate in looked.considered:
        mark = "*" if candidate.entry == looked.serve else " "
        verifier = "-" if candidate.verifier is None else f"{candidate.verifier:.2f}"
        sys.stdout.write(f"\n{mark} {candidate.text}\n")
        sys.stdout.write(
            f"    similarity {candidate.similarity:.4f}  verifier {verifier}  "
            f"P(same) {candidate.probability:.4f}  bound {candidate.bound:.4f}\n"
        )
        for gate in candidate.gates:
            detail = f": {gate.detail}" if gate.detail else ""
            sys.stdout.write(f"    {gate.gate}: {'passed' if gate.passed else 'refused'}{detail}\n")


@cache_app.command
def warm(file: Path, /, *, tenant: str = OPEN_TENANT, config: Path | None = None) -> None:
    """Fill the cache with past answers, so that it is useful from the first request on.

    Parameters
    ----------
    file
        Lines of JSON: {"request": a chat request, "response": its answer}.
    tenant
        Whose requests they are.
    config
        Configuration file (default: forebay.yaml in the working directory, if there is one).
    """
    from gateway.warm import Warmer

    with errors_as_exit_status():
        settings = load_config(config)

    async def fill(store: Store) -> Counter[str]:
        return await _take_lines(file, "Warming", Warmer(store, settings, tenant).take)

    _tell(_with_store(config, fill))


@cache_app.command
def export(file: Path, /, *, tenant: str | None = None, config: Path | None = None) -> None:
    """Write all answers, and what was learnt about them, to a file. It holds content: keep it private.

    Parameters
    ----------
    file
        The file to write, one line of JSON for each answer.
    tenant
        Only this tenant's.
    config
        Configuration file (default: forebay.yaml in the working directory, if there is one).
    """
    from semantic_cache.transfer import export_lines

    async def write(store: Store) -> int:
        count = 0
        held = await store.stats()
        with _progress("Exporting", held.entries) as advance, _opened(file) as out:
            async for line in export_lines(store, tenant):
                out.write(line)
                count += 1
                advance(1)
        return count

    sys.stdout.write(f"{_with_store(config, write)} answers written\n")


@cache_app.command(name="import")
def import_file(file: Path, /, *, config: Path | None = None) -> None:
    """Take in what 'forebay cache export' has written; answers past their time are left out.

    Parameters
    ----------
    file
        The file to read.
    config
        Configuration file (default: forebay.yaml in the working directory, if there is one).
    """
    from semantic_cache.transfer import BadLine, import_line

    async def read(store: Store) -> Counter[str]:
        async def take(line: bytes) -> str:
            try:
                return "stored" if await import_line(store, line) else "expired"
            except BadLine:
                return "malformed"

        return await _take_lines(file, "Importing", take)

    _tell(_with_store(config, read))


async def _take_lines(file: Path, title: str, take: Callable[[bytes], Awaitable[str]]) -> Counter[str]:
    """Take the lines of a file, some at once, and count what became of them."""
    outcomes: Counter[str] = Counter()
    try:
        with file.open("rb") as lines:
            total = sum(1 for _ in lines)
            lines.seek(0)
            with _progress(title, total) as advance:
                some: list[bytes] = []
                for line in lines:
                    some.append(line)
                    if len(some) == _AT_ONCE:
                        outcomes.update(await asyncio.gather(*map(take, some)))
                        advance(len(some))
                        some.clear()
                outcomes.update(await asyncio.gather(*map(take, some)))
                advance(len(some))
    except OSError as error:
        raise fail(f"{file}: {error.strerror}") from None
    return outcomes


@contextmanager
def _progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise fail(f"{file}: {error.strerror}") from None


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """Open a file to write that only its owner may read."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise fail(f"{file}: {error.strerror}") from None
    with os.fdopen(handle, "wb") as out:
        yield out


def _tell(outcomes: Counter[str]) -> None:
    sys.stdout.write(f"{outcomes.pop('stored', 0)} stored\n")
    for word, count in outcomes.most_common():
        sys.stdout.write(f"{count} left out: {word}\n")


def _with_store(config: Path | None, work: Callable[[Store], Awaitable[T]]) -> T:
    """Open the configured store, do something with it and close it."""
    with errors_as_exit_status():
        cache = _cache(load_config(config))

        async def run() -> T:
            store = open_store(cache.store.reveal(), Budget(cache.max_entries, cache.max_mb * _MIB))
            try:
                return await work(store)
            finally:
                await store.close()

        try:
            return asyncio.run(run())
        except CacheError as error:
            raise fail(str(error)) from None


def _cache(config: Config) -> CacheConfig:
    if config.cache is None:
        raise ConfigError("The configuration has no cache ('cache: null').")
    return config.cache
