from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.config.load import load_config
from gateway.config.schema import Config, EngineUpstream, Limits, OpenAIUpstream, SharedCache, Tenant
from gateway.errors import ConfigError

HASH = "sha256:" + "0a" * 32
MINIMAL = """\
upstreams:
  up: {kind: openai, base_url: "http://localhost:9/v1"}
models:
  m: {upstream: up}
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def loader(text: str | None, environ: Mapping[str, str] | None = None, **flags: object) -> Config:
        path = None
        if text is not None:
            path = Path("forebay.yaml")
            path.write_text(text)
        keys = {("server", name): value for name, value in flags.items()}
        return load_config(path, flags=keys, environ=environ or {})

    return loader


def test_without_configuration_the_bundled_engine_is_there(load) -> None:
    config = load(None)
    assert isinstance(config.upstreams["engine"], EngineUpstream)
    assert config.models["smollm2"].upstream == "engine"
    assert config.routes["auto"].tiers == ("smollm2",)
    assert "*" not in config.models
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8080)


def test_with_a_key_all_other_names_go_to_openai(load) -> None:
    config = load(None, {"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": "http://localhost:1/v1"})
    upstream = config.upstreams[config.models["*"].upstream]
    assert isinstance(upstream, OpenAIUpstream)
    assert upstream.api_key is not None and upstream.api_key.reveal() == "sk-1"
    assert upstream.base_url == "http://localhost:1/v1"


def test_a_file_with_models_of_its_own_gets_none_of_the_default_ones(load) -> None:
    config = load(MINIMAL, {"OPENAI_API_KEY": "sk-1"})
    assert list(config.models) == ["m"] and list(config.upstreams) == ["up"]


def test_a_file_without_models_keeps_the_default_ones(load) -> None:
    config = load("server: {port: 9000}")
    assert config.server.port == 9000 and list(config.models) == ["smollm2"]


def test_an_empty_file_is_the_default_configuration(load) -> None:
    assert load("# nothing yet\n") == load(None)


def test_flags_go_before_environment_before_file_before_defaults(load) -> None:
    file, environ = "server: {port: 1001, host: 127.0.0.1}", {"FOREBAY__SERVER__PORT": "1002"}
    assert load(None).server.port == 8080
    assert load(file).server.port == 1001
    assert load(file, environ).server.port == 1002
    assert load(file, environ, port=1003).server.port == 1003
    assert load(file, environ, port=None).server.port == 1002


def test_the_environment_may_change_a_default_upstream(load) -> None:
    config = load(None, {"FOREBAY__UPSTREAMS__ENGINE__THREADS": "2", "FOREBAY__TELEMETRY__SAMPLE": "0.5"})
    assert config.upstreams["engine"].threads == 2
    assert config.telemetry.sample == 0.5


def test_the_file_in_the_working_directory_counts(load, tmp_path: Path) -> None:
    (tmp_path / "forebay.yaml").write_text("server: {port: 7}")
    assert load_config(None, environ={}).server.port == 7


def test_secrets_come_from_the_environment_and_do_not_show_themselves(load) -> None:
    text = MINIMAL.replace("up: {", "up: {api_key: '${SOME_KEY}', ")
    config = load(text, {"SOME_KEY": "sk-secret"})
    upstream = config.upstreams["up"]
    assert upstream.api_key.reveal() == "sk-secret"
    assert "sk-secret" not in f"{config} {upstream.api_key} {upstream.api_key!r}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server:\n  prot: 1", "forebay.yaml:2:3: unknown key 'server.prot', did you mean 'port'?"),
        ("sevrer: {}", "forebay.yaml:1:1: unknown key 'sevrer', did you mean 'server'?"),
        ("server: {zzz: 1}", "forebay.yaml:1:10: unknown key 'server.zzz' (known here: host, port,"),
        ("server:\n  port: high", "forebay.yaml:2:9: 'server.port': expected 'int', got 'str'"),
        ("server: {port: 70000}", "forebay.yaml:1:16: 'server.port': expected 'int' <= 65535"),
        ("server: {port: true}", "forebay.yaml:1:16: 'server.port': expected 'int', got 'bool'"),
        (
            "server: 8080",
            "forebay.yaml:1:9: 'server' must be a mapping of keys to values, not a single value",
        ),
        ("server:\n  port: {a: 1}", "forebay.yaml:2:9: 'server.port' must be a single value, not a mapping"),
        ("- a", "forebay.yaml:1:1: the configuration must be a mapping"),
        ("server: {port: 1\n", "forebay.yaml:2:1: "),
        ("server: {}\nserver: {}", "forebay.yaml:2:1: "),
        (
            "upstreams: {up: {base_url: x}}",
            "forebay.yaml:1:17: 'upstreams.up.kind' is missing (one of",
        ),
        (
            "upstreams: {up: {kind: opnai}}",
            "forebay.yaml:1:24: 'upstreams.up.kind' must be one of engine,",
        ),
        ("models: {m: {}}", "forebay.yaml:1:13: 'models.m.upstream' is missing"),
        (
            "upstreams:\n  up:\n    kind: openai\n    timeouts: {idel: 3}",
            "forebay.yaml:4:16: unknown key 'upstreams.up.timeouts.idel', did you mean 'idle'?",
        ),
        (
            "upstreams: {up: {kind: openai, api_key: ''}}",
            "forebay.yaml:1:41: 'upstreams.up.api_key' must be a string that is not empty",
        ),
        (
            "upstreams: {up: {kind: openai, timeouts: {idle: 0}}}",
            "forebay.yaml:1:49: 'upstreams.up.timeouts.idle': expected 'float' > 0",
        ),
        (
            "upstreams: {up: {kind: openai, api_key: '${NOPE}'}}",
            "forebay.yaml:1:41: the environment variable NOPE",
        ),
        ("server: {host: '${1x}'}", "forebay.yaml:1:16: '${1x}' is not the name of an environment variable"),
        (
            "upstreams: {up: {kind: engine}}\nmodels: {m: {upstream: upp}}",
            "forebay.yaml:2:24: there is no upstream 'upp', did you mean 'up'?",
        ),
        (
            "upstreams: {up: {kind: engine}}\nmodels: {m: {upstream: up, model: llama}}",
            "forebay.yaml:2:35: the upstream 'up' serves 'smollm2-135m-instruct', not 'llama'; set",
        ),
        (
            "upstreams: {up: {kind: openai}}\nmodels: {'*': {upstream: up, model: x}}",
            "forebay.yaml:2:37: '*' passes names through",
        ),
        (MINIMAL + "routes: {r: {tiers: [n]}}", "forebay.yaml:5:21: there is no model 'n'"),
        (
            MINIMAL + "  k: {upstream: up}\nroutes: {r: {tiers: [k, m], quality: 0.9, latency: 2}}",
            "forebay.yaml:6:52: 'quality' and 'latency' exclude each other",
        ),
        (
            MINIMAL + "  k: {upstream: up}\nroutes: {r: {tiers: [k, m], quality: 0.9, policy: x.json}}",
            "forebay.yaml:6:38: 'quality' and 'policy' exclude each other",
        ),
        (
            MINIMAL + "  k: {upstream: up}\nroutes: {r: {tiers: [k, m], perplexity: true}}",
            "forebay.yaml:6:41: the model 'k' can't score prompts",
        ),
        (
            MINIMAL + "  k: {upstream: up}\nroutes: {r: {tiers: [k, m], policy: x.json, shadow: 0.1}}",
            "forebay.yaml:6:53: 'shadow' and 'policy' exclude each other",
        ),
        (
            MINIMAL + "  k: {upstream: up}\nroutes: {r: {tiers: [k, m], budget: 0.001}}",
            "forebay.yaml:6:37: a budget needs the price of every tier, and 'k' has none",
        ),
        (
            MINIMAL + "  k: {upstream: up}\nroutes: {r: {tiers: [k, m], budget: 0}}",
            "forebay.yaml:6:37: 'routes.r.budget': expected 'float' > 0",
        ),
        (
            MINIMAL + "  k: {upstream: up}\nroutes: {r: {tiers: [k, m], quality: 1.5}}",
            "forebay.yaml:6:38: 'routes.r.quality': expected 'float' <= 1",
        ),
        (
            MINIMAL + "  k: {upstream: up}\nroutes: {r: {tiers: [k, m], judge: kk}}",
            "forebay.yaml:6:36: there is no model 'kk', did you mean 'k'?",
        ),
        (
            MINIMAL
            + "  k: {upstream: up}\n  l: {upstream: up}\nroutes: {r: {tiers: [k, m, l], policy: x.json}}",
            "forebay.yaml:7:40: a policy decides between two tiers, and 'r' has more",
        ),
        (
            MINIMAL + "routes: {r: {tiers: [m], quality: 0.9}}",
            "forebay.yaml:5:35: with one tier there is nothing for 'quality' to decide",
        ),
        (
            MINIMAL + "routes: {r: {tiers: [m, m, m, m, m, m, m, m, m]}}",
            "forebay.yaml:5:21: 'routes.r.tiers': expected 'array' of length <= 8",
        ),
        (MINIMAL + "routes: {r: {tiers: [m, m]}}", "forebay.yaml:5:21: the tiers of 'r' are the same model"),
        (
            MINIMAL + "routes: {r: {tiers: [m], policy: x.json}}",
            "forebay.yaml:5:34: with one tier there is nothing for a policy to decide",
        ),
        (
            MINIMAL + "  k: {upstream: up}\nroutes: {r: {tiers: [k, m], policy: none.json}}",
            "forebay.yaml:6:37: none.json: No such file",
        ),
        (MINIMAL + "routes: {m: {tiers: [m]}}", "forebay.yaml:5:13: 'm' is the name of a model as well"),
        (
            MINIMAL + "routes: {r: {tiers: []}}",
            "forebay.yaml:5:21: 'routes.r.tiers': expected 'array' of length",
        ),
        (
            "upstreams: {up: {kind: openai, base_url: 'ftp://x'}}",
            "forebay.yaml:1:42: 'base_url' must begin",
        ),
        (
            "upstreams: {up: {kind: openai, base_url: 'http://u:p@x'}}",
            "forebay.yaml:1:42: 'base_url' must not hold credentials",
        ),
        ("server: {host: 0.0.0.0}", "forebay.yaml:1:16: listening on 0.0.0.0 would let anyone"),
        ("tenants: {a: 1}", "forebay.yaml:1:10: 'tenants' must be a list, not a mapping"),
        ("tenants: [a]", "forebay.yaml:1:11: 'tenants[0]' must be a mapping"),
        ("tenants: [{key_hash: x}]", "forebay.yaml:1:22: 'tenants[0].key_hash': expected"),
        ("tenants: [{limits: {}}]", "forebay.yaml:1:11: 'tenants[0].name' is missing"),
        ("tenants: [{name: 'a b'}]", "forebay.yaml:1:18: 'tenants[0].name': expected"),
        (
            "tenants: [{name: a, limit: {}}]",
            "forebay.yaml:1:21: unknown key 'tenants[0].limit', did you mean 'limits'?",
        ),
        (
            "tenants: [{name: a, limits: {rpm: 0}}]",
            "forebay.yaml:1:35: 'tenants[0].limits.rpm': expected 'int' >= 1",
        ),
        ("tenants:\n- name: a\n- name: a", "forebay.yaml:3:3: there is a tenant 'a' already"),
        (
            f"tenants: [{{name: a, key_hash: {HASH}}}, {{name: b, key_hash: {HASH}}}]",
            "forebay.yaml:1:105: the key of 'b' is that of another tenant as well",
        ),
        (
            MINIMAL + "cache:\n  shared: [{name: t, tenants: [a]}]",
            "forebay.yaml:6:31: 'cache.shared[0].tenants': expected",
        ),
        (
            MINIMAL + "cache:\n  shared: [{name: '@t', tenants: [a, b]}]",
            "forebay.yaml:6:19: 'cache.shared[0].name': expected",
        ),
        (
            MINIMAL + "cache:\n  shared: [{name: t, tenants: ['@x', b]}]",
            "forebay.yaml:6:31: 'cache.shared[0].tenants': expected",
        ),
        (
            MINIMAL + "cache:\n  shared: [{name: t, tenants: [a, b], model: m}]",
            "forebay.yaml:6:39: unknown key 'cache.shared[0].model', did you mean 'models'?",
        ),
        (
            MINIMAL + "cache:\n  shared: [{name: t, tenants: [a, b], models: [mm]}]",
            "forebay.yaml:6:12: there is no model 'mm', did you mean 'm'?",
        ),
        (
            MINIMAL + "compress: {mode: fit, fit: null}",
            "forebay.yaml:5:18: 'compress.fit: null' switches off what",
        ),
        (
            MINIMAL + "compress: {fit: {longer: [mm]}}",
            "forebay.yaml:5:26: there is no model 'mm', did you mean 'm'?",
        ),
        (
            MINIMAL + "compress: {fit: {longer: [m]}}",
            "forebay.yaml:5:26: say how long the window of 'm' is: 'models.m.context'",
        ),
        (
            MINIMAL + "compress: {fit: {strategies: [compress], longer: [m]}}",
            "forebay.yaml:5:50: 'compress.fit.longer' has no effect",
        ),
        (
            MINIMAL + "compress: {fit: {strategies: [window, window]}}",
            "forebay.yaml:5:30: 'compress.fit.strategies' names one twice",
        ),
        (
            MINIMAL + "compress: {fit: {strategies: [windows]}}",
            "forebay.yaml:5:30: 'compress.fit.strategies': invalid enum value",
        ),
        (
            MINIMAL + "cache:\n  shared: [{name: t, tenants: [a, a]}]",
            "forebay.yaml:6:12: 't' names a tenant twice",
        ),
        (
            MINIMAL + "cache:\n  shared: [{name: t, tenants: [a, b]}, {name: t, tenants: [c, d]}]",
            "forebay.yaml:6:40: there is a group 't' already",
        ),
        (
            MINIMAL
            + "cache:\n  shared: [{name: t, tenants: [a, b]}, {name: u, tenants: [c, b], models: [m]}]",
            "forebay.yaml:6:40: the tenant 'b' would share a model's answers with two groups, 't' and 'u'",
        ),
        ("state: {store: mysql://x}", "forebay.yaml:1:16: 'state.store' must begin with sqlite://"),
        (
            MINIMAL + "compress: {scorer: {model: n}}",
            "forebay.yaml:5:28: there is no model 'n'",
        ),
        (
            MINIMAL + "compress: {scorer: {model: m}}",
            "forebay.yaml:5:28: the model 'm' can't score prompts, as the upstream",
        ),
        (
            MINIMAL + "compress: {scorer: {modle: m}}",
            "forebay.yaml:5:21: unknown key 'compress.scorer.modle'",
        ),
        ("state: {store: 'sqlite://'}", "forebay.yaml:1:16: 'state.store' must begin with sqlite://"),
    ],
)
def test_errors_say_where(load, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "telemetry: {capture_content: true}",
            "forebay.yaml:1:13: 'telemetry.capture_content' is not",
        ),
        (
            "upstreams: {a: {kind: anthropic}}",
            "forebay.yaml:1:23: 'upstreams.a.kind: anthropic' is",
        ),
    ],
)
def test_what_is_not_built_is_refused_by_name(load, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert str(caught.value).startswith(message)


def test_what_is_left_out_is_kept_in_the_cache_or_not_at_all(load) -> None:
    with pytest.raises(
        ConfigError, match=r"^forebay\.yaml:2:24: 'compress\.reversible' keeps texts in the cache"
    ):
        load("cache: null\ncompress: {reversible: true}")
    assert load("compress: {reversible: true}").compress.reversible and not load("").compress.reversible


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "FOREBAY__SERVER__PROT",
            "1",
            "FOREBAY__SERVER__PROT: unknown key 'server.prot', did you",
        ),
        (
            "FOREBAY__SERVER__PORT",
            "x",
            "FOREBAY__SERVER__PORT: 'server.port': expected 'int'",
        ),
        (
            "FOREBAY__COMPRESS__MODE",
            "half",
            "FOREBAY__COMPRESS__MODE: 'compress.mode' must be off, lossless",
        ),
        ("FOREBAY__SERVER__", "1", "FOREBAY__SERVER__: a name is missing"),
        ("FOREBAY__SERVER__PORT", "[1", "FOREBAY__SERVER__PORT:"),
    ],
)
def test_errors_of_the_environment_name_the_variable(load, variable: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {variable: value})
    assert str(caught.value).startswith(f"environment variable {message}")


def test_an_engine_of_a_stretched_window_is_a_longer_model(load) -> None:
    """The engine says itself how long its window is, YaRN included."""
    stretched = MINIMAL.replace("models:", "  stretched: {kind: engine, yarn_factor: 4}\nmodels:")
    fit = "compress: {fit: {longer: [long], strategies: [retrieve, longer]}}"
    config = load(f"{stretched}  long: {{upstream: stretched}}\n{fit}\n")
    assert config.compress.fit is not None and config.compress.fit.longer == ("long",)
    assert config.compress.fit.strategies == ("retrieve", "longer") and config.models["long"].context is None
    assert load(MINIMAL + "compress: {fit: null}").compress.fit is None


def test_errors_of_a_flag_name_the_flag(load) -> None:
    with pytest.raises(ConfigError, match=r"^flag --host: listening on 0\.0\.0\.0"):
        load(None, host="0.0.0.0")


def test_listening_beyond_this_machine_is_for_those_with_keys(load) -> None:
    config = load(f"server: {{host: 0.0.0.0}}\ntenants: [{{name: a, key_hash: {HASH}, limits: {{rpm: 5}}}}]")
    assert config.tenants == (Tenant("a", HASH, Limits(rpm=5)),)
    with pytest.raises(ConfigError, match="would let anyone"):
        load("server: {host: 0.0.0.0}\ntenants: [{name: a}]")


def test_listening_beyond_this_machine_needs_a_word(load) -> None:
    config = load("server: {host: 0.0.0.0, allow_unauthenticated: true}")
    assert config.server.host == "0.0.0.0"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "nope.yaml", environ={})


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "x.yaml", environ={})


def test_tenants_may_share_one_model_with_some_and_another_with_others(load) -> None:
    text = MINIMAL + "  n: {upstream: up}\ncache:\n  shared:\n"
    text += "  - {name: t, tenants: [a, b], models: [m]}\n  - {name: u, tenants: [b, c], models: [n]}\n"
    config = load(text)
    assert config.cache.shared == (SharedCache("t", ("a", "b"), ("m",)), SharedCache("u", ("b", "c"), ("n",)))
