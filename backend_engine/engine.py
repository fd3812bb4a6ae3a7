"""The engine: add requests, step, read what came out. One thread, no I/O; `async_engine` drives it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch

from backend_engine.kv.events import KvEvent, KvEventLog
from backend_engine.request import FinishReason, Request, Status
from backend_engine.runner import Computed, Runner, wanted_rows
from backend_engine.sampling.logprobs import PositionLogprobs, position_logprobs
from backend_engine.sampling.rejection import Verification, verify
from backend_engine.sampling.sampler import Draw, Sampler, takes_best
from backend_engine.scheduler import Scheduled, Scheduler
from backend_engine.spec.speculator import SpeculationStats, Speculator
from backend_engine.step_time import Load


@dataclass(frozen=True, slots=True)
class TokenOutput:
    """What one step did for one request."""

    request: Request
    token_id: int
    text: str
    """Text that became certain; often empty while a character or a possible stop string is unfinished."""
    num_chars: int
    """Characters decoded up to and including this token, given out or not."""
    logprobs: PositionLogprobs | None
    finish_reason: FinishReason | None


@dataclass(frozen=True, slots=True)
class EngineStats:
    """A reading of the engine's state, for metrics and tests."""

    num_running: int
    num_waiting: int
    num_blocks: int
    num_blocks_used: int
    num_preemptions: int
    prefix_queries: int
    prefix_hits: int
    speculation: SpeculationStats


class Engine:
    """Continuous batching over one model: `step()` computes one batch and returns its tokens."""

    def __init__(
        self,
        runner: Runner,
        scheduler: Scheduler,
        end_ids: Iterable[int],
        *,
        kv_events: KvEventLog,
        speculator: Speculator | None = None,
        draw: Draw | None = None,
        on_step: Callable[[int], None] | None = None,
        on_draft: Callable[[int, int], None] | None = None,
    ) -> None:
        """`kv_events` listens to the scheduler's pool; without a `speculator` nothing is drafted.
        For `draw` see `Sampler`.

        `on_step` is told the tokens of each step, `on_draft` the drafted and the accepted of each draft.
        """
        self.scheduler = scheduler
        self.kv_events = kv_events
        self._runner = runner
        self._end_ids = frozenset(end_ids)
        self._sampler = Sampler(self._end_ids, draw)
        self._speculator = speculator
        self.drafting = True
        """False while nothing is to be drafted: the first steps are timed without."""
        self._on_step = on_step
        self._on_draft = on_draft

    @property
    def has_work(self) -> bool:
        return bool(self.scheduler.running or self.scheduler.waiting)

    def add(self, request: Request) -> None:
        """Queue a request; see `Scheduler.add` for what is refused."""
        self.scheduler.add(request)

    def abort(self, request: Request) -> None:
        """Drop `request` and free what it holds; one that has finished is left alone."""
        if request.status is not Status.FINISHED:
            self._finish(request, "abort")

    def expire(self) -> list[Request]:
        """End the requests whose deadline has passed, free what they hold, and return them."""
        overdue = self.scheduler.overdue()
        for request in overdue:
            self._finish(request, "deadline")
        return overdue

    @torch.inference_mode()
    def step(self) -> list[TokenOutput]:
        """Compute one batch; returns a token for every sequence that came to its end."""
        started = time.monotonic()
        if self._speculator is not None and self.drafting:
            self._speculator.propose(self.scheduler.running)
        step = self.scheduler.schedule()
        if not step:
            return []
        load = Load.of((item.request.num_computed, item.num_tokens + len(item.draft)) for item in step)
        only_decodes = all(item.num_tokens == 1 for item in step)
        # Drafting is no part of what a step's tokens cost.
        begun = time.monotonic()
        outputs = self._compute(step, started)
        seconds = time.monotonic() - begun
        # With drafts a step of decodes costs more, but nothing that prompts should be blamed for.
        if not only_decodes or load.tokens == load.sequences:
            self.scheduler.step_time.observe(load, seconds)
        if only_decodes and self._speculator is not None:
            self._speculator.step_cost.observe(load.tokens, seconds)
        return outputs

    def watch_kv(self, deliver: Callable[[Sequence[KvEvent]], None]) -> None:
        """Let `deliver` know which prefixes are held, now and from now on."""
        self.kv_events.add_reader(deliver, [name for _, name in self.scheduler.pool.published()])

    def close(self) -> None:
        """Save what the next run can use. Nothing may be called after this."""
        self.scheduler.close()

    def stats(self) -> EngineStats:
        scheduler = self.scheduler
        return EngineStats(
            num_running=len(scheduler.running),
            num_waiting=len(scheduler.waiting),
            num_blocks=scheduler.pool.num_blocks,
            num_blocks_used=scheduler.pool.num_used,
            num_preemptions=scheduler.num_preemptions,
            prefix_queries=scheduler.prefix_stats.queries,
            prefix_hits=scheduler.prefix_stats.hits,
            speculation=SpeculationStats() if self._speculator is None else deepcopy(self._speculator.stats),
        )

    def _compute(self, step: list[Scheduled], started: float) -> list[TokenOutput]:
        for item in step:
            if not item.request.timings.scheduled:
                item.request.timings.scheduled = started
            if not item.request.num_output_tokens:
                item.request.num_prefill_chunks += 1
        computed = self._runner.run(step)
        if self._on_step:
            self._on_step(sum(item.num_tokens + len(item.draft) for item in step))
        # One row a request that reached its end and one for each drafted token after it; prompt
        # log-probabilities may ask for rows before them.
        verifications: list[Verification] = []
        row = 0
        for item in step:
            count = len(wanted_rows(item))
            if item.request.params.prompt_logprobs is not None and not item.request.num_output_tokens:
                self._note_prompt_logprobs(item, computed.logits_of(range(row, row + count)))
            row += count
            if item.reaches_end:
                verifications.append(Verification(item.request, row - 1 - len(item.draft), item.draft))
            self.scheduler.computed(item.request, item.num_tokens)
        outputs = self._verify(computed, verifications)
        if self._speculator is not None and computed.features is not None:
            going_on = [item for item in verifications if item.request.status is Status.RUNNING]
            rows = computed.features[[item.row for item in going_on]]
            self._speculator.see([item.request for item in going_on], rows)
        return outputs

    def _verify(self, computed: Computed, verifications: list[Verification]) -> list[TokenOutput]:
        """Draw the tokens that what was `computed` decides, one or more a sequence."""
        if not verifications:
            return []
        outputs: list[TokenOutput] = []
        now = time.monotonic()

        def advance(pending: Sequence[Verification]) -> list[int]:
            tokens = [computed.best[item.row] for item in pending]
            drawn = [at for at, item in enumerate(pending) if not takes_best(item.request)]
            if drawn:
                rows = [pending[at].row for at in drawn]
                chosen = self._sampler.sample(computed.logits_of(rows), [pending[at].request for at in drawn])
                for at, token in zip(drawn, chosen, strict=True):
                    tokens[at] = token
            for item, token, logprobs in zip(
                pending, tokens, self._logprobs(computed, tokens, pending), strict=True
            ):
                # The KV of a drafted token counts from here on: it has become the sequence's own.
                if item.num_accepted:
                    self.scheduler.computed(item.request, 1)
                outputs.append(self._advance(item.request, token, logprobs, now))
            return tokens

        verify(verifications, advance)
        if self._speculator is not None:
            for item in verifications:
                if item.draft:
                    self._speculator.verified(len(item.draft), item.num_accepted)
                    if self._on_draft:
                        self._on_draft(len(item.draft), item.num_accepted)
        return outputs

    def _advance(
        self, request: Request, token: int, logprobs: PositionLogprobs | None, now: float
    ) -> TokenOutput:
        """Append `token` to its request, and finish the request if it was the last one."""
        request.token_ids.append(token)
        timings, params = request.timings, request.params
        timings.first_token = timings.first_token or now
        timings.last_token = now
        reason: FinishReason | None = None
        text = ""
        if token in self._end_ids and not params.ignore_eos:
            reason = "stop"
        else:
            may_stop = request.num_output_tokens >= params.min_tokens
            text = request.detokenizer.push(token, may_stop=may_stop)
            if request.detokenizer.stopped or (request.guide is not None and request.guide.is_complete):
                reason = "stop"
            elif request.num_output_tokens >= params.max_tokens:
                reason = "length"
        if request.guide is not None and request.guide.error:
            reason = "error"
        if reason:
            text += request.detokenizer.finish()
            # Held text may have completed a stop string only now that the character before it is known.
            if request.detokenizer.stopped:
                reason = "stop"
            self._finish(request, reason)
        return TokenOutput(request, token, text, request.detokenizer.num_chars, logprobs, reason)

    def _finish(self, request: Request, reason: FinishReason) -> None:
        self.scheduler.finish(request, reason)
        if self._speculator is not None:
            self._speculator.finished(request)
        request.timings.finished = time.monotonic()
        if not self.has_work:
            self.scheduler.check()

    @staticmethod
    def _note_prompt_logprobs(item: Scheduled, logits: torch.Tensor) -> None:
        """Row i of `logits` predicts the prompt token after the i-th of this chunk."""
        request, first = item.request, item.request.num_computed
        targets = request.token_ids[first + 1 : first + 1 + item.num_tokens]
        top = request.params.prompt_logprobs or 0
        request.prompt_logprobs += position_logprobs(logits[: len(targets)], targets, [top] * len(targets))

    @staticmethod
    def _logprobs(
        computed: Computed, tokens: Sequence[int], pending: Sequence[Verification]
    ) -> list[PositionLogprobs | None]:
        """Describe those of `tokens`, drawn for `pending`, whose requests want it."""
        out: list[PositionLogprobs | None] = [None] * len(pending)
        wanted = [at for at, item in enumerate(pending) if item.request.params.logprobs is not None]
        if wanted:
            rows = [pending[at].row for at in wanted]
            top = [pending[at].request.params.logprobs or 0 for at in wanted]
            described = position_logprobs(computed.logits_of(rows), [tokens[at] for at in wanted], top)
            for at, position in zip(wanted, described, strict=True):
                out[at] = position
        return out
