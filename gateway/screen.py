"""What `forebay serve` shows: what it is waiting for, and once it is ready, how to use it."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from rich.console import Console

from gateway.config.schema import ANY_MODEL, Config, EngineUpstream
from gateway.state.keys.keyring import asks_for_keys
from gateway.state.open import open_keys
from gateway.upstreams.base import State
from telemetry.version import __version__

_EXAMPLES = """
  curl {url}/v1/chat/completions -H 'content-type: application/json' {header}\\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Say hello."}}]}}'

  # Python (pip install openai)
  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="{key}")
  answer = client.chat.completions.create(
      model="{model}", messages=[{{"role": "user", "content": "Say hello."}}]
  )
  print(answer.choices[0].message.content)
"""

_KEY = "fb-…"


class Screen:
    """The terminal of one `forebay serve`."""

    def __init__(self, config: Config, file: Path | None, console: Console | None = None) -> None:
        self._config = config
        self._file = file
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._started = time.monotonic()
        self._url: str | None = None
        self._waiting = {
            name: upstream.model
            for name, upstream in config.upstreams.items()
            if isinstance(upstream, EngineUpstream)
        }
        self._told = False
        self._stopping = False

    def listening(self, url: str) -> None:
        """The port is open."""
        self._url = _reachable(url)
        source = f" with {self._file}" if self._file else ""
        self._say(f"Forebay {__version__} listens on {self._url}{source}")
        self._tell_when_ready()

    def engine_changed(self, name: str, state: State, why: str) -> None:
        """An engine has started, become ready, or failed."""
        if state is State.STARTING:
            self._say(f"{name}: loading {self._model(name)} …")
        elif state is State.FAILED:
            self._say(f"{name}: {why}", style="red")
        elif state is State.READY:
            self._waiting.pop(name, None)
            if self._told:
                self._say(f"{name}: ready again", style="green")
            else:
                self._tell_when_ready()

    def config_taken(self, config: Config) -> None:
        """Another configuration is in effect."""
        self._config = config
        self._say(f"Took over {self._file}")

    def draining(self, seconds: float) -> None:
        """Shutting down."""
        self._stopping = True
        self._say(f"Finishing running requests (at most {seconds:g} s; press Ctrl-C again to stop now) …")

    def _tell_when_ready(self) -> None:
        if self._waiting or self._url is None or self._told or self._stopping:
            return
        self._told = True
        self._say(f"Ready after {time.monotonic() - self._started:.1f} s.", style="bold green")
        locked = asks_for_keys(self._config, open_keys(self._config.state.store))
        key = _KEY if locked else "not-needed"
        header = f"-H 'authorization: Bearer {_KEY}' " if locked else ""
        self._say(_EXAMPLES.format(url=self._url, model=self._example_model(), key=key, header=header))

    def _example_model(self) -> str:
        names = [*self._config.routes, *self._config.models]
        return next((name for name in names if name != ANY_MODEL), "gpt-4o-mini")

    def _model(self, name: str) -> str:
        upstream = self._config.upstreams.get(name)
        return upstream.model if isinstance(upstream, EngineUpstream) else name

    def _say(self, text: str, style: str = "") -> None:
        # The terminal may have been closed.
        with contextlib.suppress(OSError):
            self._console.print(text, markup=False, style=style or None)


def _reachable(url: str) -> str:
    """Return the URL to use on this machine when the gateway listens on all addresses."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
