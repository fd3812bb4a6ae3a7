"""Starts the engine as its own process. Imports no torch: the gateway uses this module."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from typing import Literal

from backend_engine.errors import EngineStopped

STOP_GRACE_S = 10.0

EXIT_BAD_OPTIONS = 2
EXIT_MODEL = 3
"""The model cannot be loaded: starting again would not help."""
EXIT_ENGINE_DIED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Settings of one engine process; each is a flag of `forebay engine`."""

    model: str
    """Path of a GGUF file or of a Hugging Face directory with safetensors."""
    model_name: str | None = None
    """Name under which the model is served (default: taken from the path)."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8081
    """Port to listen on; 0 takes a free one."""
    quantization: Literal["auto", "int8", "int4", "none"] = "auto"
    """auto: weights in the file's own blocks of 4 or 8 bits, else int8. none: the reference in fp32."""
    kv_memory_mb: int = 512
    """Memory for the paged KV cache, in MiB."""
    kv_dtype: Literal["fp16", "int8", "fp32"] = "fp16"
    """Numbers in the KV cache; int8 has a scale for each token and head, and holds twice as many tokens."""
    block_size: int = 16
    """Tokens in one KV block; only full blocks are shared between requests."""
    max_batch_tokens: int = 512
    """Tokens computed in one step: decoding sequences first, the rest goes to prompts in chunks."""
    max_sequences: int = 64
    """Sequences running at the same time; more wait in the queue."""
    max_waiting: int = 512
    """Requests that may wait; one more is refused with 429."""
    max_context: int | None = None
    """Longest prompt + completion in tokens (default: the model's own window)."""
    yarn_factor: float | None = None
    """Stretch the model's window so many times with YaRN (default: the window it was made for)."""
    max_output_tokens: int | None = None
    """Longest completion: a request without max_tokens is cut to it, one that asks for more is refused."""
    max_decode_stretch: float = 2.8
    """How many times as long a prompt's tokens may make a step for the decoding sequences; inf: no limit."""
    threads: int = 0
    """Threads for the model; 0 means one per core."""
    prefix_cache: bool = True
    """Reuse the KV blocks of prompts that begin alike."""
    prefix_cache_ram_mb: int = 0
    """Memory for blocks that the KV cache has no more room for, in MiB."""
    prefix_cache_disk: str | None = None
    """Directory for such blocks, which then outlive the engine."""
    prefix_cache_disk_mb: int = 2048
    """Largest size of that directory, in MiB."""
    speculation: Literal["auto", "off", "ngram", "suffix", "draft"] = "auto"
    """Draft tokens and verify several in one step. ngram: from the sequence itself; suffix: from it and its
    tenant's last answers; auto: the same, and the draft head that comes with us for the model, if there is
    one, where the text offers nothing sure; draft: with draft_model."""
    draft_model: str | None = None
    """Path of a smaller model with the same tokenizer, whose KV cache comes on top of kv_memory_mb; or of a
    draft head (.safetensors), which is asked as in auto."""
    allow_unauthenticated: bool = False
    """Listen on an address beyond this machine although the engine asks nobody for a key."""
    otlp_endpoint: str | None = None
    """OTLP/HTTP endpoint for traces; nothing is traced without one."""
    trace_sample: float = 1.0
    """Share of the traces begun here that are recorded; a caller's own sampling decision is kept."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log line that is written (standard error, one JSON object a line)."""

    def problem(self) -> str | None:
        """Return what is wrong with these settings whatever the model, None if nothing is."""
        for name in (
            "kv_memory_mb",
            "block_size",
            "max_batch_tokens",
            "max_sequences",
            "prefix_cache_disk_mb",
        ):
            if getattr(self, name) < 1:
                return f"{name} is {getattr(self, name)}; it must be at least 1"
        for name in ("max_context", "max_output_tokens"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                return f"{name} is {getattr(self, name)}; it must be at least 1"
        if not self.max_decode_stretch > 1:
            return (
                f"max_decode_stretch is {self.max_decode_stretch}; it must be over 1, or prompts get no time"
            )
        if (self.speculation == "draft") != (self.draft_model is not None):
            return "speculation 'draft' and draft_model need each other"
        if self.prefix_cache_ram_mb < 0:
            return f"prefix_cache_ram_mb is {self.prefix_cache_ram_mb}; it must be at least 0"
        if not self.prefix_cache and (self.prefix_cache_ram_mb or self.prefix_cache_disk is not None):
            return "prefix_cache_ram_mb and prefix_cache_disk are a second tier of prefix_cache, which is off"
        return None

    def argv(self) -> list[str]:
        """Return the command line that starts this engine."""
        # -P: a folder called backend_engine where the user happens to stand is not ours to run.
        args = [sys.executable, "-P", "-m", "backend_engine"]
        for option in fields(self):
            value = getattr(self, option.name)
            if value is None or value == option.default:
                continue
            flag = "--" + option.name.replace("_", "-")
            if isinstance(value, bool):
                args.append(flag if value else flag.replace("--", "--no-", 1))
            else:
                args += [flag, str(value)]
        return args


@dataclass(slots=True)
class EngineProcess:
    """A running engine; `url` is its base address."""

    url: str
    process: asyncio.subprocess.Process

    async def wait(self) -> int:
        """Wait until the process ends and return its exit status."""
        return await self.process.wait()

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Ask the engine to finish its requests, and end it if it has not within `grace_s` seconds."""
        if self.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), grace_s)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


async def launch(options: EngineOptions, *, ready_timeout_s: float = 300.0) -> EngineProcess:
    """Start an engine and return once it answers requests.

    The engine prints one JSON line `{"event": "ready", "url": …}` to standard output when it listens and
    the model is loaded; logs go to its standard error, which is inherited. Its standard input is a pipe
    held by us: when we die, however that happens, the engine sees it close and leaves too.

    Raises EngineStopped if the process ends first or is not ready within `ready_timeout_s` seconds.
    """
    process = await asyncio.create_subprocess_exec(
        *options.argv(),
        "--exit-with-parent",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # Ctrl-C in a terminal goes to every process of its session: ours decides when the engine stops.
        start_new_session=True,
    )
    engine = EngineProcess("", process)
    try:
        async with asyncio.timeout(ready_timeout_s):
            async for event in _events(process):
                if event.get("event") == "ready":
                    engine.url = str(event["url"])
                    return engine
    except TimeoutError:
        await engine.stop(grace_s=1.0)
        raise EngineStopped(f"the engine was not ready within {ready_timeout_s:.0f} s") from None
    except BaseException:
        await engine.stop(grace_s=1.0)
        raise
    status = await process.wait()
    message = f"the engine ended with status {status} before it was ready; its log says why"
    raise EngineStopped(message, status=status)


async def _events(process: asyncio.subprocess.Process) -> AsyncIterator[dict[str, object]]:
    assert process.stdout is not None
    async for line in process.stdout:
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict):
                yield event
