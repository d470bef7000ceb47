"""A user's own hosts: three lines of YAML, rows to start from, any field of a row overridden, mistakes found."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from model_table import FACTS
from openai import OpenAI
from process import Process, config
from scripted import Upstream, answer, sse, stream

from gateway.config import load
from gateway.problems import ConfigError
from gateway.settings import Settings
from providers import PROVIDERS, openai
from providers.hosts import HOSTS, Host
from providers.raw_json import members

ROW = """
providers:
  mine:
    host: vllm
    base_url: "https://llm.example.com/v1"
    overrides:
      %s
"""
# A value for every field, as YAML, and what it is read as.
FIELDS: dict[str, tuple[str, Any]] = {
    "key_variable": ("MINE_KEY", "MINE_KEY"),
    "auth": ('"x-key: {key}"', "x-key: {key}"),
    "path": ('"/{model}/{operation}"', "/{model}/{operation}"),
    "query": ('{api-version: 1.10, "n": no}', {"api-version": "1.10", "n": "no"}),
    "free": ("false", False),
    "last_assistant": ("marked", "marked"),
    "prefill": ("partial", "partial"),
    "prefill_fields": ("{continue_final_message: true}", {"continue_final_message": True}),
    "prefill_base": ("/beta", "/beta"),
    "prefill_echoed": ("true", True),
    "top_k": ("true", True),
    "usage": ("no", False),
    "openai_rules": ("true", True),
    "responses": ("yes", True),
    "rename": ("{seed: random_seed}", {"seed": "random_seed"}),
    "embed_rename": ("{dimensions: size}", {"dimensions": "size"}),
    "drop": ("[seed, user]", ("seed", "user")),
    "refuse": ("[]", ()),
    "clamp": ("{temperature: [0, 1]}", {"temperature": (0.0, 1.0)}),
    "allow": ("[models, provider]", ("models", "provider")),
    "efforts": ("{minimal: low}", {"minimal": "low"}),
    "effort": ("[reasoning, effort]", ("reasoning", "effort")),
    "thinking": ("{chat_template_kwargs: {thinking: true}}", {"chat_template_kwargs": {"thinking": True}}),
    "no_thinking": ("{budget: 0}", {"budget": 0}),
    "expose": ("{include_reasoning: true}", {"include_reasoning": True}),
    "json_schema": ("false", False),
    "custom_tools": ("true", True),
    "strict_tools": ("off", False),
    "tool_choice": ("{required: any}", {"required": "any"}),
    "forced_tools": ("no", "no"),
    "tool_ids": ("nine", "nine"),
    "tool_id_length": ("40", 40),
    "tool_names": ('"[a-z]{1,9}"', "[a-z]{1,9}"),
    "bare_tools": ("false", False),
    "any_parameters": ("false", False),
    "typed_unions": ("false", False),
    "tool_images": ("true", True),
    "roles": ("{developer: user}", {"developer": "user"}),
    "merge_system": ("false", False),
    "alternate": ("true", True),
    "after_results": ("false", False),
    "named": ("[user]", ("user",)),
    "empty_text": ("false", False),
    "join_text": ("true", True),
    "null_content": ("false", False),
    "strip": ("[refusal, audio]", frozenset({"refusal", "audio"})),
    "reasoning_key": ("thought", "thought"),
    "reasoning_back": ("true", True),
    "inline_images": ("true", True),
    "images": ("[image/png]", ("image/png",)),
    "embed_int8": ("true", True),
    "think_tags": ("false", False),
    "responses_native": ("true", True),
    "responses_tools": ("[function, custom]", ("function", "custom")),
    "responses_items": ("[message]", ("message",)),
    "responses_state": ("true", True),
    "responses_unique": ("false", False),
    "responses_reasoning": ("false", False),
    "responses_drop": ("[truncation]", ("truncation",)),
    "responses_done": ("true", True),
    "cost": ("[cost, total]", ("cost", "total")),
    "cost_unit": ("100", 100.0),
}


def settings(text: str, **environment: str) -> Settings:
    return load(text, environment, FACTS)


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as wrong:
        settings(text)
    return str(wrong.value).splitlines()


def test_every_field_of_a_row_can_be_overridden() -> None:
    elsewhere = {"protocol", "base_url", "discover"}
    assert FIELDS.keys() | elsewhere == {field.name for field in msgspec.structs.fields(Host)}
    for name, (text, value) in FIELDS.items():
        more = "\n    api_key: k\n    overrides:" if name == "key_variable" else "\n    overrides:"
        host = settings(ROW.replace("\n    overrides:", more) % f"{name}: {text}").providers["mine"].host
        assert host == msgspec.structs.replace(HOSTS["vllm"], **{name: value}), name


def test_mistakes_in_a_row_are_found_with_their_lines() -> None:
    lines = [
        "forced_tool: no",
        "forced_tools: maybe",
        "clamp: {temperature: [0]}",
        "drop: seed",
        "base_url: http://x",
        "protocol: openai",
        "auth: Bearer",
        'path: "/{models}"',
        "usage: perhaps",
        "rename: [a]",
        "strip: {a: b}",
        'tool_names: "[a-z"',
        "tool_id_length: 9",
    ]
    here = "config.yaml:{}: providers.mine.overrides."
    assert mistakes(ROW % "\n      ".join(lines)) == [
        here.format(7) + "forced_tool: unknown key; did you mean 'forced_tools'?",
        here.format(8) + "forced_tools: expected yes or without_thinking or no or none",
        here.format(9) + "clamp.temperature: expected a list of 2",
        here.format(10) + "drop: expected a list ([a, b] or lines with '- ')",
        here.format(11) + "base_url: belongs one level up, beside 'overrides'",
        here.format(12) + "protocol: belongs one level up, beside 'overrides'",
        here.format(13) + 'auth: expected a header with the placeholder {key}, such as "api-key: {key}"',
        here.format(14) + "path: may only hold the placeholders {model} and {operation}",
        here.format(15) + "usage: expected true or false",
        here.format(16) + "rename: expected a mapping (key: value); leave out the dash or the [ ] around it",
        here.format(17) + "strip: expected a list ([a, b] or lines with '- ')",
        here.format(18)
        + "tool_names: expected a regular expression, such as [a-zA-Z0-9_-]{1,64}: unterminated character "
        "set at position 0",
        here.format(19) + "tool_id_length: expected at least 37, or 0 for any length",
    ]


@pytest.mark.parametrize("auth", ["api-key: fixed", "{key}", "Authorization: Bearer {token}", "a: {", "{key}: a"])
def test_a_header_that_would_not_carry_the_key(auth: str) -> None:
    assert "expected a header with the placeholder {key}" in mistakes(ROW % f'auth: "{auth}"')[0]


def test_the_user_s_own_key_variable_is_named() -> None:
    assert mistakes(ROW % "key_variable: MINE_KEY") == [
        "config.yaml:3: providers.mine: the key 'api_key' is missing; for example \"${MINE_KEY}\""
    ]


def test_a_host_that_is_not_known() -> None:
    assert mistakes("providers:\n  mine: {host: vlm, base_url: 'http://x'}") == [
        "config.yaml:2: providers.mine.host: there is no host 'vlm'; did you mean 'vllm'?"
    ]


@pytest.mark.parametrize("name", ["ollama", "vllm", "llamacpp", "lmstudio", "echo"])
def test_local_servers_need_no_key(name: str) -> None:
    found = settings(f"providers:\n  {name}:\n").providers[name]
    assert (found.api_key, found.base_url, found.host) == ("", HOSTS[name].base_url, HOSTS[name])


@pytest.mark.parametrize("name", [name for name, host in HOSTS.items() if host.key_variable])
def test_other_hosts_need_their_key(name: str) -> None:
    base = "" if HOSTS[name].base_url else 'base_url: "https://x.example.com"'
    assert mistakes(f"providers:\n  {name}: {{{base}}}\n") == [
        f"config.yaml:2: providers.{name}: the key 'api_key' is missing; for example \"${{{HOSTS[name].key_variable}}}\""
    ]


def test_azure() -> None:
    text = 'providers:\n  azure: {base_url: "https://me.openai.azure.com/", api_key: "${AZURE}"}\n'
    to = settings(text, AZURE="k").routes.resolve("azure/my-gpt", ("*",))[0].upstream
    call = openai.build_request({"model": "azure/my-gpt", "messages": [{"role": "user", "content": "hi"}]}, to)
    assert call.url == ("https://me.openai.azure.com/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21")
    assert call.headers == {"api-key": "k"}
    assert call.body == {"model": "my-gpt", "messages": [{"role": "user", "content": "hi"}]}
    newer = text.replace('"}', '", overrides: {query: {api-version: 2026-10-01-preview}}}')
    to = settings(newer, AZURE="k").routes.resolve("azure/my-gpt", ("*",))[0].upstream
    assert openai.build_request(call.body, to).url.endswith("?api-version=2026-10-01-preview")
    assert mistakes("providers:\n  azure: {api_key: k}") == [
        'config.yaml:2: providers.azure.base_url: the URL is missing; for example "https://llm.example.com/v1"'
    ]


OWN = """
providers:
  claude: {protocol: anthropic, base_url: "https://c.example/api", api_key: k}
  bearer:
    protocol: anthropic
    base_url: "https://c.example"
    api_key: k
    overrides: {auth: "Authorization: Bearer {key}", path: "/proxy/{model}/{operation}", query: {tenant: "7"}}
  google: {protocol: gemini, base_url: "https://g.example/v1beta", api_key: k}
  vertex:
    host: gemini
    base_url: "https://g.example/v1"
    api_key: k
    overrides: {auth: "Authorization: Bearer {key}", path: "/publishers/google/models/{model}:{operation}", query: {tenant: "7"}}
"""
# Provider → where its calls go, and with which header: chat, and what else there is.
CALLS = {
    "claude": (
        "https://c.example/api/v1/messages",
        "https://c.example/api/v1/messages/count_tokens?beta=true",
        "x-api-key",
    ),
    "bearer": (
        "https://c.example/proxy/m%2F1/messages?tenant=7",
        "https://c.example/proxy/m%2F1/messages/count_tokens?tenant=7&beta=true",
        "authorization",
    ),
    "google": (
        "https://g.example/v1beta/models/m%2F1:streamGenerateContent?alt=sse",
        "https://g.example/v1beta/models/m%2F1:embedContent",
        "x-goog-api-key",
    ),
    "vertex": (
        "https://g.example/v1/publishers/google/models/m%2F1:streamGenerateContent?tenant=7&alt=sse",
        "https://g.example/v1/publishers/google/models/m%2F1:embedContent?tenant=7",
        "authorization",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_where_a_host_is_holds_for_every_protocol(name: str) -> None:
    to = settings(OWN).routes.resolve(f"{name}/m/1", ("*",))[0].upstream
    provider, body = PROVIDERS[to.host.protocol], {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    chat = provider.build_request(body, to)
    if to.host.protocol == "anthropic":
        beside = provider.native["messages/count_tokens"](members(b'{"model":"m"}'), {"?beta": "true"}, to)
    else:
        beside = provider.build_embeddings({"model": "m", "input": "hi"}, to)
        assert provider.build_count(body, to).url == beside.url.replace("embedContent", "countTokens")
    assert (chat.url, beside.url) == CALLS[name][:2]
    for call in chat, beside:
        keys = {header.lower(): value for header, value in call.headers.items() if value in ("k", "Bearer k")}
        assert keys == {CALLS[name][2]: "Bearer k" if CALLS[name][2] == "authorization" else "k"}


def test_fields_without_effect_are_refused() -> None:
    text = "providers:\n  mine: {protocol: %s, base_url: 'https://x.example', api_key: k, overrides: {drop: [seed], free: true}}"
    for protocol, more in ("anthropic", ""), ("gemini", ", top_k"):
        assert mistakes(text % protocol) == [
            f"config.yaml:2: providers.mine.overrides.drop: has no effect with protocol {protocol}; "
            f"only key_variable, auth, path, query, free, allow{more} have"
        ]
    assert settings(text % "openai").providers["mine"].host.drop == ("seed",)


def test_an_unset_address_or_key_turns_a_provider_off() -> None:
    text = """
providers:
  ollama: {base_url: "${OLLAMA}"}
  azure: {base_url: "${AZURE_URL}", api_key: "${AZURE_KEY}"}
  groq: {api_key: "${GROQ}"}
models:
  llama: ollama/llama3.1
"""
    off = settings(text, AZURE_KEY="k")
    assert off.off == {"ollama": "OLLAMA", "azure": "AZURE_URL", "groq": "GROQ"}
    assert list(off.providers) == []
    assert settings(text).off["azure"] == "AZURE_URL and AZURE_KEY"
    on = settings(text, OLLAMA="http://127.0.0.1:11434/v1", GROQ="g", AZURE_URL="https://a.example.com")
    assert list(on.providers) == ["ollama", "groq"]
    assert [target.upstream.model for target in on.routes.resolve("llama", ("*",))] == ["llama3.1"]


def test_a_made_up_host_in_three_lines(upstream: Upstream, scripted: Callable[..., str]) -> None:
    """The real process, a provider of three lines, and a peculiarity that its row knows."""
    whole = {"choices": [{"message": {"content": "<think>Hm.</think>\n\nHi!"}, "finish_reason": "stop"}]}
    pieces = [
        {"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("<th", "ink>Hm.</", "think>\n\nHi", "!")
    ]
    finish = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    name = scripted(answer(whole), stream(sse(*pieces, finish)))
    three = f"""
  made-up:
    host: vllm
    base_url: "{upstream.url}/made/up"
    overrides: {{think_tags: true, roles: {{developer: user}}}}
"""
    text = config(upstream).replace("\nmodels:", f"{three}models:")
    with Process(text) as server, OpenAI(base_url=server.url, api_key="-", max_retries=0) as sdk:
        ask: Any = {"model": f"made-up/{name}", "messages": [{"role": "developer", "content": "Hello"}]}
        message: Any = sdk.chat.completions.create(**ask).choices[0].message
        assert (message.content, message.reasoning_content) == ("Hi!", "Hm.")
        deltas: list[Any] = [c.choices[0].delta for c in sdk.chat.completions.create(**ask, stream=True) if c.choices]
        assert "".join(delta.content or "" for delta in deltas) == "Hi!"
        assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "Hm."
    first, second = upstream.of(name)
    assert first.path == second.path == "/made/up/chat/completions"
    assert "authorization" not in first.headers
    assert first.json == {"model": name, "messages": [{"role": "user", "content": "Hello"}]}
    assert second.json == first.json | {"stream": True, "stream_options": {"include_usage": True}}
