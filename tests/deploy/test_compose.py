"""What is shipped for containers fits the gateway's own checks; none of this starts a container."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gateway.config.load import load_config
from gateway.config.schema import OpenAIUpstream
from gateway.models.catalog import CATALOG

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "deploy" / "compose" / "forebay.yaml"


@pytest.fixture
def compose() -> Any:
    return YAML(typ="safe").load(ROOT / "docker-compose.yml")


def argument(command: list[str], flag: str) -> str:
    return next(word.removeprefix(f"{flag}=") for word in command if word.startswith(f"{flag}="))


def test_the_gateways_configuration_is_accepted_and_reaches_the_engine(compose: Any) -> None:
    config = load_config(CONFIG, environ={})
    engine = config.upstreams["engine"]
    command = compose["services"]["engine"]["command"]
    assert isinstance(engine, OpenAIUpstream)
    assert engine.base_url == f"http://engine:{argument(command, '--port')}/v1"
    assert config.models["smollm2"].model == argument(command, "--model")
    assert config.telemetry.otlp_endpoint == argument(command, "--otlp-endpoint")


def test_the_commented_openai_part_is_accepted_too(tmp_path: Path) -> None:
    text = CONFIG.read_text()
    optional = re.sub(r"^  # (?=\s*(?:openai:|kind:|api_key:|\"\*\":|upstream:))", "  ", text, flags=re.M)
    path = tmp_path / "forebay.yaml"
    path.write_text(optional)
    config = load_config(path, environ={"OPENAI_API_KEY": "k"})
    assert set(config.upstreams) == {"engine", "openai"}
    assert config.models["*"].upstream == "openai"


def test_the_model_that_is_pulled_is_the_one_that_is_served(compose: Any) -> None:
    services = compose["services"]
    pulled = services["models"]["command"][-1]
    assert pulled in CATALOG
    assert argument(services["engine"]["command"], "--model") == pulled


def test_everything_published_is_for_this_machine_only(compose: Any) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_image_has_an_exact_version(compose: Any) -> None:
    bases = re.findall(r"^FROM (\S+:\S+)", (ROOT / "Dockerfile").read_text(), flags=re.M)
    foreign = [service["image"] for service in compose["services"].values() if "build" not in service]
    assert bases
    for image in [*bases, *foreign]:
        assert re.search(r":\d+\.\d+\.\d+(-[a-z-]+)?$", image), image


def test_the_gateway_waits_for_engine_and_redis_but_not_for_jaeger(compose: Any) -> None:
    waits = {name: on["condition"] for name, on in compose["services"]["gateway"]["depends_on"].items()}
    assert waits == {"engine": "service_healthy", "redis": "service_healthy", "jaeger": "service_started"}


def test_nothing_is_stored_in_the_gateways_read_only_file_system() -> None:
    config = load_config(CONFIG, environ={})
    assert config.cache is not None
    for store in (config.cache.store, config.state.store):
        assert store.reveal().startswith("redis://redis:6379/")


def test_the_dockerfile_copies_only_what_exists_and_is_not_ignored() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    text = (ROOT / "Dockerfile").read_text()
    copied = [
        line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ") and "--from" not in line
    ]
    sources = {source for sources in copied for source in sources}
    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)
