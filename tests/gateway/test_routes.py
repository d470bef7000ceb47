"""Which targets serve a model, who may use it, and which defaults go with it."""

from typing import Any

import pytest
from model_table import FACTS

from gateway.config import load
from gateway.routing import ModelRouter, Target, may_use, with_defaults
from providers.contract import Upstream
from providers.errors import ModelNotFound
from providers.model_table import ModelTable
from providers.models import ModelFacts

EVERYONE = ("*",)
CONFIG = """
providers:
  openai: {api_key: sk-test}
  mine: {protocol: openai, base_url: "http://mine/v1"}
  off: {protocol: openai, base_url: "http://off/v1", api_key: "${OFF_KEY}"}
  gone: {protocol: openai, base_url: "http://gone/v1", api_key: "${GONE_KEY}"}
  echo: {}
models:
  gpt-4o: openai
  fast: openai/gpt-4o-mini
  both: [off/a, mine/b, openai/o1]
  dark: off/a
  darker: [off/a, gone/b, off/c]
  "openai/*": openai
  "my-*": mine/her-*-x
  "*-latest": mine/*
  "my-own-*": openai
  "echo-*": echo
  "dim-*": [off, gone]
  openai/gpt-5: {targets: [mine], defaults: {temperature: 0}}
"""


def routes(text: str = CONFIG) -> ModelRouter:
    return load(text, {}, FACTS).routes


def served(model: str, allowed: tuple[str, ...] = EVERYONE) -> list[str]:
    return [f"{target.upstream.name}/{target.upstream.model}" for target in routes().resolve(model, allowed)]


FOUND: dict[str, list[str]] = {
    "gpt-4o": ["openai/gpt-4o"],
    "fast": ["openai/gpt-4o-mini"],
    "both": ["mine/b", "openai/o1"],
    "openai/gpt-4.1": ["openai/gpt-4.1"],
    "openai/ft:gpt-4o/acme": ["openai/ft:gpt-4o/acme"],
    "openai/gpt-5": ["mine/openai/gpt-5"],
    "my-llama": ["mine/her-llama-x"],
    "gemma-latest": ["mine/gemma"],
    "my-own-latest": ["mine/her-own-latest-x"],
    "echo-429": ["echo/echo-429"],
    "mine/anything": ["mine/anything"],
    "mine/org/model": ["mine/org/model"],
    "echo/echo-slow-3": ["echo/echo-slow-3"],
}


@pytest.mark.parametrize("model", FOUND)
def test_found(model: str):
    assert served(model) == FOUND[model]


NONE = "; GET /v1/models lists the models you can use."
MISSING: dict[str, tuple[str, tuple[str, ...], str]] = {
    "unknown": ("zzz", EVERYONE, NONE),
    "a typo": ("gpt-4", EVERYONE, "; did you mean 'gpt-4o'?"),
    "a typo, the right one not allowed": ("gpt-4", ("fast",), NONE),
    "not allowed": ("gpt-4o", ("fast", "my-*"), NONE),
    "not allowed, something close is": ("gpt-4o", ("openai/gpt-5", "both"), NONE),
    "the other case": ("GPT-4o", EVERYONE, "; did you mean 'gpt-4o'?"),
    "a provider alone": ("openai", EVERYONE, "; did you mean 'openai/gpt-5'?"),
    "a provider and nothing": ("mine/", EVERYONE, NONE),
    "an unknown provider": ("azure/gpt-4o", EVERYONE, "; did you mean 'gpt-4o'?"),
    "a pattern matched by nothing": ("my-", EVERYONE, NONE),
    "the pattern itself": ("", EVERYONE, NONE),
    "off": ("dark", EVERYONE, "; its provider is off: set OFF_KEY and restart the server"),
    "all off": ("darker", EVERYONE, "; its provider is off: set OFF_KEY or GONE_KEY and restart the server"),
    "off, by provider": ("gone/x", EVERYONE, "; its provider is off: set GONE_KEY and restart the server"),
    "off, by pattern": ("dim-x", EVERYONE, "; its provider is off: set OFF_KEY or GONE_KEY and restart the server"),
    "off and not allowed": ("dark", ("fast",), NONE),
    "off by provider and not allowed": ("gone/x", ("mine/*",), NONE),
}


@pytest.mark.parametrize("model, allowed, why", MISSING.values(), ids=MISSING)
def test_missing(model: str, allowed: tuple[str, ...], why: str):
    with pytest.raises(ModelNotFound) as caught:
        routes().resolve(model, allowed)
    assert caught.value.body()["error"] == {
        "message": f"The model '{model}' does not exist or you do not have access to it{why}",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


def test_a_name_of_megabytes_is_not_repeated():
    with pytest.raises(ModelNotFound) as caught:
        routes().resolve("gpt-4o" * 100_000, EVERYONE)
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "model, allowed, expected",
    [
        ("gpt-4o", ("*",), True),
        ("gpt-4o", ("gpt-*",), True),
        ("gpt-4o", ("fast", "gpt-4?"), True),
        ("openai/gpt-4o", ("gpt-*",), False),
        ("openai/gpt-4o", ("openai/*",), True),
        ("gpt-4o", ("GPT-*",), False),
        ("gpt-4o", (), False),
    ],
)
def test_may_use(model: str, allowed: tuple[str, ...], expected: bool):
    assert may_use(model, allowed) is expected


@pytest.mark.parametrize("allowed", [("my-*",), ("openai/*", "mine/*")])
def test_allowed_patterns_cover_wildcard_and_provider_names(allowed: tuple[str, ...]):
    names = ["my-llama", "openai/gpt-4.1", "mine/x"]
    for name in names:
        if may_use(name, allowed):
            assert served(name, allowed) == FOUND.get(name, ["mine/x"])
        else:
            with pytest.raises(ModelNotFound):
                routes().resolve(name, allowed)


@pytest.mark.parametrize(
    "allowed, expected",
    [
        (EVERYONE, ["gpt-4o", "fast", "both", "openai/gpt-5"]),
        (("gpt-*", "dark"), ["gpt-4o"]),
        ((), []),
    ],
)
def test_public(allowed: tuple[str, ...], expected: list[str]):
    assert list(routes().public(allowed)) == expected


DEFAULTS = """
providers:
  openai: {api_key: sk-test}
  mine: {protocol: openai, base_url: "http://mine/v1"}
models:
  "*": openai
  cold: {targets: [openai/gpt-4o, mine/llama], defaults: {temperature: 0, user: cold}}
  plain: {targets: [openai/gpt-4o], defaults: {temperature: 1.5}}
defaults: {temperature: 0.7, user: all, max_tokens: 100}
"""
OTHERS = {"user": "all", "max_tokens": 100}
SENT: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "gpt-4o takes it": ("gpt-4o", {}, {"temperature": 0.7, **OTHERS}),
    "a snapshot of gpt-4o": ("gpt-4o-2024-08-06", {}, {"temperature": 0.7, **OTHERS}),
    "gpt-4.1 takes it": ("gpt-4.1", {}, {"temperature": 0.7, **OTHERS}),
    "o1 never does": ("o1", {}, OTHERS),
    "o3-mini never does": ("o3-mini", {}, OTHERS),
    "gpt-5 never does": ("gpt-5", {}, OTHERS),
    "gpt-5.2 does while it does not reason": ("gpt-5.2", {}, {"temperature": 0.7, **OTHERS}),
    "gpt-5.2 told not to reason": ("gpt-5.2", {"reasoning_effort": "none"}, {"temperature": 0.7, **OTHERS}),
    "gpt-5.2 reasoning": ("gpt-5.2", {"reasoning_effort": "low"}, OTHERS),
    "gpt-5.6-terra reasons unless told not to": ("gpt-5.6-terra", {}, OTHERS),
    "an unknown model": ("llama-99", {}, {"temperature": 0.7, **OTHERS}),
    "the model's own": ("plain", {}, {"temperature": 1.5, **OTHERS}),
    "the client's own": ("gpt-4o", {"temperature": 0.2, "user": "me", "max_tokens": 5}, {}),
    "the client's own zero": ("gpt-4o", {"temperature": 0}, OTHERS),
    "the client's top_p": ("gpt-4o", {"top_p": 0.5}, OTHERS),
    "the client's other limit": ("gpt-4o", {"max_completion_tokens": 5}, {"temperature": 0.7, "user": "all"}),
}


@pytest.mark.parametrize("model, body, added", SENT.values(), ids=SENT)
def test_defaults(model: str, body: dict[str, Any], added: dict[str, Any]):
    [target] = routes(DEFAULTS).resolve(model, EVERYONE)
    before = dict(body)
    assert with_defaults(body, target) == {**added, **body}
    assert body == before


def test_defaults_of_each_target():
    expected = {"temperature": 0, "user": "cold", "max_tokens": 100}
    assert [with_defaults({}, target) for target in routes(DEFAULTS).resolve("cold", EVERYONE)] == [expected, expected]


@pytest.mark.parametrize("body", [{}, {"temperature": 1, "reasoning_effort": "high"}])
def test_without_the_setting_nothing_is_added(body: dict[str, Any]):
    [target] = routes("providers: {openai: {api_key: a}}\nmodels: {m: openai/gpt-4o}").resolve("m", EVERYONE)
    assert with_defaults(body, target) is body


@pytest.mark.parametrize("body", [{"logprobs": True}, {"presence_penalty": 1}, {"top_k": 5}])
def test_only_temperature_and_top_p_exclude_each_other(body: dict[str, Any]):
    [target] = routes(DEFAULTS).resolve("cold", EVERYONE)[:1]
    assert with_defaults(body, target)["temperature"] == 0
    assert "temperature" not in with_defaults({"top_p": 0.5}, target)


def test_nothing_to_add_is_the_same_body():
    body = {"temperature": 1}
    assert with_defaults(body, Target(Upstream("a", "m"), {"temperature": 0})) is body


def test_a_target_knows_the_facts_of_its_model():
    [target] = routes().resolve("gpt-4o", EVERYONE)
    assert (target.upstream.facts.context, target.upstream.facts.vision, target.upstream.base_url) == (
        128_000,
        True,
        "https://api.openai.com/v1",
    )
    [unknown] = routes().resolve("mine/unheard-of", EVERYONE)
    assert unknown.upstream.facts == ModelFacts()


def test_the_users_facts_win():
    [target] = routes(CONFIG + "model_facts: {gpt-4o: {context: 5}}").resolve("gpt-4o", EVERYONE)
    assert (target.upstream.facts.context, target.upstream.facts.vision) == (5, True)


def test_a_default_does_not_come_without_the_parameter_it_belongs_to():
    defaults = {"parallel_tool_calls": False, "tool_choice": "auto", "top_logprobs": 2, "user": "u"}
    target = Target(Upstream("a", "m"), defaults)
    assert with_defaults({}, target) == {"user": "u"}
    asked = {"tools": [{}], "logprobs": True}
    assert with_defaults(asked, target) == {**defaults, **asked}
    both = Target(Upstream("a", "m"), {"logprobs": True, "top_logprobs": 2})
    assert with_defaults({}, both) == {"logprobs": True, "top_logprobs": 2}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("gpt4o", "did you mean 'gpt-4o'?"),
        ("GPT-4o", "did you mean 'gpt-4o'?"),
        ("gpt_4o_mini", "did you mean 'gpt-4o-mini'?"),
        ("gpt-4", "did you mean 'gpt-4o'?"),
        (
            "claude3opus",
            "did you mean 'claude-3-opus'? (its provider is off: set ANTHROPIC_API_KEY and restart the server)",
        ),
        ("zzzzzzzzzzz", "GET /v1/models lists the models you can use."),
    ],
)
def test_a_name_that_was_nearly_right(asked: str, says: str) -> None:
    text = (
        'providers: {openai: {api_key: k}, anthropic: {api_key: "${ANTHROPIC_API_KEY}"}}\n'
        "models: {gpt-4o-mini: openai, gpt-4o: openai, gpt-4.1: openai, claude-3-opus: anthropic}\n"
    )
    with pytest.raises(ModelNotFound) as caught:
        load(text, {}, "families: {}\nmodels: {}\n").routes.resolve(asked, ("*",))
    assert caught.value.message == f"The model '{asked}' does not exist or you do not have access to it; {says}"


def test_a_guess_names_nothing_the_caller_may_not_use() -> None:
    text = "providers: {openai: {api_key: k}}\nmodels: {gpt-4o: openai, secret-4o: openai}\n"
    with pytest.raises(ModelNotFound) as caught:
        load(text, {}, "families: {}\nmodels: {}\n").routes.resolve("secret4o", ("gpt-*",))
    assert "secret-4o" not in caught.value.message


class Facts(ModelTable):
    """The table, which notes what is looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def of(self, model: str, provider: str = "") -> ModelFacts:
        self.asked.append(model)
        return super().of(model, provider)


def test_a_model_that_may_not_be_used_is_not_looked_up() -> None:
    facts = Facts()
    found = ModelRouter({"gpt-*": "openai"}, {}, {"openai": Upstream("openai", "")}, {}, facts)
    for name in ("gpt-4o", "openai/gpt-4o"):
        with pytest.raises(ModelNotFound):
            found.resolve(name, ("echo",))
    assert facts.asked == []
    found.resolve("gpt-4o", EVERYONE)
    assert facts.asked == ["gpt-4o"]
