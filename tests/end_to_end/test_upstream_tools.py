"""Limited keys, and tools that an upstream runs: what they cost is in no answer. The same rule for every API."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx2 as httpx
import pytest
from answers import chat_text, gemini, native_text
from process import Process
from scripted import Upstream

Json = dict[str, Any]
Post = Callable[..., httpx.Response]
LIMITED, FREE = "sk-client-canary-limited", "sk-client-canary-free"
CONFIG: Final = """
server: {{port: 0}}
providers:
  openai: {{base_url: "{url}/v1", api_key: sk-upstream-canary}}
  allowed: {{host: openai, base_url: "{url}/v1", api_key: sk-upstream-canary,
             overrides: {{allow: [tools.web_search, tools.mcp]}}}}
  chat: {{protocol: openai, base_url: "{url}/v1", api_key: sk-upstream-canary}}
  searches: {{protocol: openai, base_url: "{url}/v1", api_key: sk-upstream-canary,
              overrides: {{allow: [tools.browser_search, web_search_options]}}}}
  google: {{host: gemini, base_url: "{url}/v1beta", api_key: sk-upstream-canary}}
  maps: {{host: gemini, base_url: "{url}/v1beta", api_key: sk-upstream-canary, overrides: {{allow: [tools.google_maps]}}}}
keys:
  - {{name: limited, key: "{limited}", tpm: 1000000}}
  - {{name: free, key: "{free}"}}
"""
FUNCTION: Final[Json] = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
NESTED: Final[Json] = {"type": "function", "function": {"name": "f"}}


@pytest.fixture(scope="module")
def post(upstream: Upstream) -> Iterator[Post]:
    with Process(CONFIG.format(url=upstream.url, limited=LIMITED, free=FREE)) as process, httpx.Client() as http:

        def post(path: str, key: str = LIMITED, **body: Any) -> httpx.Response:
            headers = {"Authorization": f"Bearer {key}"}
            return http.post(f"{process.root}{path}", json=body, headers=headers, timeout=30)

        yield post


def refused(got: httpx.Response, tool: str) -> bool:
    error = got.json()["error"]
    assert (got.status_code, error["code"], error["param"]) == (400, "unsupported_parameter", tool)
    return f"'{tool}': the upstream runs it" in error["message"] and "overrides: allow" in error["message"]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("tools.file_search", {"tools": [FUNCTION, {"type": "file_search", "vector_store_ids": ["v"]}]}),
        ("tools.code_interpreter", {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}),
        ("tools.mcp", {"tools": [{"type": "mcp", "server_label": "a", "server_url": "https://a.test"}]}),
        ("tools.shell", {"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}),
        (
            "tools.web_search",
            {"tools": [{"type": "web_search_preview_2025_03_11"}], "tool_choice": {"type": "web_search_preview"}},
        ),
        (
            "tools.mcp",
            {"input": [{"role": "user", "content": "Hi"}, {"type": "additional_tools", "tools": [{"type": "mcp"}]}]},
        ),
    ],
)
def test_responses_refuse_what_no_translation_leaves_out(post: Post, upstream: Upstream, name: str, more: Json) -> None:
    upstream.script("paid", native_text("Hello"))
    before = len(upstream.of("paid"))
    body = {"model": "openai/paid", "input": "Hi", "stream": True, **more}
    assert refused(post("/v1/responses", **body), name)
    assert len(upstream.of("paid")) == before
    got = post("/v1/responses", FREE, **body)
    assert got.status_code == 200
    assert upstream.of("paid")[-1].json == {**body, "model": "paid"}


def test_responses_leave_out_what_codex_sends_unasked(post: Post, upstream: Upstream) -> None:
    upstream.script("codex", chat_text("Hello"))
    tools = [FUNCTION, {"type": "web_search"}, {"type": "image_generation"}]
    got = post("/v1/responses", model="openai/codex", input="Hi", tools=tools)
    assert got.status_code == 200
    assert got.headers["x-modelserver-dropped"] == "tools.web_search,tools.image_generation"
    (sent,) = upstream.of("codex")
    assert [tool["function"]["name"] for tool in sent.json["tools"]] == ["f"]


def test_responses_pass_what_clients_run_or_the_operator_allows(post: Post, upstream: Upstream) -> None:
    upstream.script("free", native_text("Hello"))
    clients: list[Json] = [
        {"type": "custom", "name": "c"},
        {"type": "shell"},
        {"type": "shell", "environment": {"type": "local"}},
    ]
    clients += [{"type": each} for each in ("local_shell", "apply_patch", "tool_search", "computer")]
    clients += [{"type": "computer_use_preview"}, {"type": "namespace", "name": "n", "tools": [FUNCTION]}]
    for provider, tools in ("openai", clients), ("allowed", [{"type": "web_search_2025_08_26"}, {"type": "mcp"}]):
        body = {"model": f"{provider}/free", "input": "Hi", "tools": tools, "stream": True}
        assert post("/v1/responses", **body).status_code == 200
        assert upstream.of("free")[-1].path == "/v1/responses"
        assert upstream.of("free")[-1].json["tools"] == tools


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("tools.browser_search", {"tools": [NESTED, {"type": "browser_search"}]}),
        ("web_search_options", {"web_search_options": {}}),
    ],
)
def test_chat(post: Post, upstream: Upstream, name: str, more: Json) -> None:
    upstream.script("hosted", chat_text("Hello"))
    body = {"messages": [{"role": "user", "content": "Hi"}], "stream": True, **more}
    assert refused(post("/v1/chat/completions", **body, model="chat/hosted"), name)
    assert post("/v1/chat/completions", **body, model="searches/hosted").status_code == 200
    assert post("/v1/chat/completions", FREE, **body, model="chat/hosted").status_code == 200
    assert {field: upstream.of("hosted")[-1].json[field] for field in more} == more


@pytest.mark.parametrize("tool", ["googleSearch", "google_search", "codeExecution", "url_context"])
def test_geminis_own_api(post: Post, upstream: Upstream, tool: str) -> None:
    upstream.script("grounded", gemini({"text": "Hello"}))
    body = {"contents": [{"parts": [{"text": "Hi"}]}], "tools": [{"functionDeclarations": [], tool: {}}]}
    path = "/v1beta/models/google%2Fgrounded:streamGenerateContent?alt=sse"
    got = post(path, **body)
    named = {"googleSearch": "google_search", "codeExecution": "code_execution"}.get(tool, tool)
    assert (got.status_code, got.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert f"'tools.{named}': the upstream runs it" in got.json()["error"]["message"]
    assert post(path, FREE, **body).status_code == 200
    free = {**body, "tools": [{"function_declarations": [], "computerUse": {}}]}
    assert post(path, **free).status_code == 200
    there = path.replace("google%2F", "maps%2F")
    assert post(there, **{**body, "tools": [{"googleMaps": {}}]}).status_code == 200
