"""Gemini's own API, passed to Gemini natively: the official SDK, and the requests that gemini-cli sends."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpx2 as httpx
import pytest
from google import genai
from google.genai import errors, types
from http_client import until
from process import Process
from scripted import Upstream, answer, head, stream

KEY, OTHER, POOR = "sk-client-canary-gemini", "sk-client-canary-other", "sk-client-canary-poor"
CONFIG: Final = """
server: {{port: 0}}
inspector: {{enabled: true}}
usage: {{path: usage.db}}
keys:
  - {{name: one, key: "{key}", admin: true}}
  - {{name: two, key: "{other}", models: [gemini-flash]}}
  - {{name: poor, key: "{poor}", models: [gemini-flash, gpt], budget_usd: 0.2, budget_period: total}}
providers:
  echo: {{}}
  google: {{host: gemini, base_url: "{url}/v1beta", api_key: "sk-upstream-canary"}}
  up: {{protocol: openai, base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
models:
  echo: echo
  gemini-flash: [up/gpt, google/gemini-2.5-flash]
  gpt: up/gpt
model_facts:
  gemini-2.5-flash: {{price: {{input: 1, output: 2, cache_read: 0.5}}, max_output: 65536}}
  gpt: {{price: {{input: 1, output: 2}}, max_output: 65536}}
"""
USAGE: Final = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 40,
    "candidatesTokenCount": 10,
    "thoughtsTokenCount": 5,
    "totalTokenCount": 115,
}


@pytest.fixture(scope="module")
def there() -> Iterator[Upstream]:
    with Upstream() as there:
        yield there


@pytest.fixture(scope="module")
def passing(there: Upstream) -> Iterator[Process]:
    with Process(CONFIG.format(url=there.url, key=KEY, other=OTHER, poor=POOR)) as process:
        yield process


@pytest.fixture
def client(passing: Process) -> Iterator[genai.Client]:
    with genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=passing.root)) as client:
        yield client


def said(text: str, **more: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    return {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", **more}


def cost_of_last(passing: Process) -> tuple[Any, ...]:
    url = f"{passing.url}/usage?limit=1"

    def found() -> Any:
        [row] = httpx.get(url, headers={"x-api-key": KEY}, trust_env=False).json()["requests"]
        return row["status"] and row

    row = until(found)
    return (
        row["model"],
        row["upstream"],
        row["prompt_tokens"],
        row["completion_tokens"],
        row["cached_tokens"],
        row["cost_usd"],
    )


def test_generate_content(there: Upstream, passing: Process, client: genai.Client) -> None:
    there.script("gemini-2.5-flash", answer(said("Hello", usageMetadata=USAGE)))
    config = types.GenerateContentConfig(temperature=0.5, top_k=3, system_instruction="Be brief.")
    got = client.models.generate_content(model="gemini-flash", contents="Hi", config=config)
    assert got.text == "Hello" and got.usage_metadata is not None and got.usage_metadata.thoughts_token_count == 5
    sent = there.of("gemini-2.5-flash")[-1]
    assert sent.path == "/v1beta/models/gemini-2.5-flash:generateContent"
    assert sent.headers["x-goog-api-key"] == "sk-upstream-canary" and KEY not in str(sent.headers)
    assert sent.json == {
        "contents": [{"parts": [{"text": "Hi"}], "role": "user"}],
        "systemInstruction": {"parts": [{"text": "Be brief."}], "role": "user"},
        "generationConfig": {"temperature": 0.5, "topK": 3},
    }
    assert cost_of_last(passing) == ("gemini-flash", "google/gemini-2.5-flash", 100, 15, 40, 0.00011)


def test_stream_and_count(there: Upstream, passing: Process, client: genai.Client) -> None:
    events = [
        said("Hel", usageMetadata={"promptTokenCount": 100, "totalTokenCount": 100}),
        said("lo", usageMetadata=USAGE),
    ]
    sse = b"".join(b"data: %b\r\n\r\n" % json.dumps(event).encode() for event in events)
    there.script("gemini-2.5-flash", stream(sse), answer({"totalTokens": 31}))
    pieces = [piece.text for piece in client.models.generate_content_stream(model="gemini-flash", contents="Hi")]
    assert pieces == ["Hel", "lo"]
    assert there.of("gemini-2.5-flash")[-1].path == "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    assert cost_of_last(passing)[2:5] == (100, 15, 40)
    assert client.models.count_tokens(model="gemini-flash", contents="Hi").total_tokens == 31
    assert there.of("gemini-2.5-flash")[-1].path == "/v1beta/models/gemini-2.5-flash:countTokens"


def test_the_requests_of_gemini_cli(there: Upstream, passing: Process, http: httpx.Client) -> None:
    """Its key in the query or in a header, the model by its provider, the body as it is."""
    body = b'{"contents":[{"role":"user","parts":[{"text":"Hi"}]}],"tools":[{"functionDeclarations":[]}], "x": 1.50}'
    event = b"data: %b\r\n\r\n" % json.dumps(said("Hi", usageMetadata=USAGE)).encode()
    there.script("gemini-2.5-flash", stream(event))
    path = f"{passing.root}/v1beta/models/google/gemini-2.5-flash:streamGenerateContent"
    for url, headers in ((f"{path}?alt=sse&key={KEY}", {}), (f"{path}?alt=sse", {"x-goog-api-key": KEY})):
        got = http.post(url, content=body, headers={**headers, "Content-Type": "application/json"})
        assert (got.status_code, got.content, got.headers["content-type"]) == (200, event, "text/event-stream")
        sent = there.of("gemini-2.5-flash")[-1]
        assert (sent.body, sent.path) == (body, "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse")
    kept = http.get(f"{passing.root}/inspector/exchanges", headers={"x-api-key": KEY}).text
    assert KEY not in kept and KEY not in passing.out


def test_other_targets_say_that_they_cannot(passing: Process, client: genai.Client) -> None:
    for model in ("gpt", "echo"):
        with pytest.raises(errors.ClientError) as caught:
            client.models.generate_content(model=model, contents="Hi")
        assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
        assert "does not serve generateContent" in str(caught.value.message)


def test_errors_are_google_s(there: Upstream, passing: Process, http: httpx.Client) -> None:
    url = f"{passing.root}/v1beta/models/gemini-flash:generateContent"
    got = http.post(url, json={}, headers={"x-goog-api-key": "nobody"})
    error = got.json()["error"]
    assert (got.status_code, error["code"], error["status"], sorted(error)) == (
        401, 401, "UNAUTHENTICATED", ["code", "details", "message", "status"],
    )  # fmt: skip
    got = http.post(url.replace("gemini-flash", "nothing"), json={}, headers={"x-goog-api-key": KEY})
    assert (got.status_code, got.json()["error"]["status"]) == (404, "NOT_FOUND")
    got = http.post(url.replace("gemini-flash", "gpt"), json={}, headers={"x-goog-api-key": OTHER})
    assert (got.status_code, got.json()["error"]["status"]) == (404, "NOT_FOUND")
    wrong = {"error": {"code": 400, "message": "Bad", "status": "INVALID_ARGUMENT"}}
    there.script(
        "gemini-2.5-flash", answer(wrong, 400), answer({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}, 429)
    )
    got = http.post(url, json={}, headers={"x-goog-api-key": KEY})
    assert (got.status_code, got.json()) == (400, wrong)
    got = http.post(url, json={}, headers={"x-goog-api-key": KEY})
    assert (got.status_code, got.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    invalid = {"error": {"code": 400, "message": "x", "details": [{"reason": "API_KEY_INVALID"}]}}
    there.script("gemini-2.5-flash", answer(invalid, 400))
    got = http.post(url, json={}, headers={"x-goog-api-key": KEY})
    assert (got.status_code, got.json()["error"]["status"]) == (502, "INTERNAL")
    got = http.get(f"{passing.root}/v1beta/nothing", headers={"x-goog-api-key": KEY})
    assert (got.status_code, got.json()["error"]["status"]) == (404, "NOT_FOUND")


def test_an_answer_that_breaks_off(there: Upstream, passing: Process) -> None:
    there.script(
        "gemini-2.5-flash",
        [head(200, {"Transfer-Encoding": "chunked"}, "text/event-stream"), b"5\r\ndata:\r\n", 0.05, "close"],
    )
    url = f"{passing.root}/v1beta/models/google/gemini-2.5-flash:streamGenerateContent?alt=sse"
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(url, json={}, headers={"x-goog-api-key": KEY}, trust_env=False)


def test_a_limited_key_s_body_holds_as_many_values_as_any(
    there: Upstream, passing: Process, http: httpx.Client
) -> None:
    """It is read for the name of a model, so what it may cost to read is bounded as elsewhere."""
    url, before = f"{passing.root}/v1beta/models/gemini-flash:generateContent", len(there.of("gemini-2.5-flash"))
    body = b'{"contents": [%b0]}' % (b"0," * 600_000)
    got = http.post(url, content=body, headers={"x-goog-api-key": OTHER})
    assert (got.status_code, got.json()["error"]["details"][0]["reason"]) == (400, "TOO_MANY_VALUES")
    got = http.post(url, json={"model": "gpt"}, headers={"x-goog-api-key": OTHER})
    assert (got.status_code, got.json()["error"]["details"][0]["reason"]) == (400, "INVALID_VALUE")
    assert len(there.of("gemini-2.5-flash")) == before


@pytest.mark.parametrize(
    "path, body",
    [
        ("/v1beta/models/gemini-flash:generateContent", {"contents": []}),
        ("/v1beta/models/gemini-flash:generateContent", {"generationConfig": {"maxOutputTokens": 60_000}}),
        ("/v1beta/models/gemini-flash:generateContent", {"generation_config": {"max_output_tokens": 60_000}}),
        (
            "/v1beta/models/gemini-flash:generateContent",
            {"generationConfig": {"maxOutputTokens": 30_000, "candidateCount": 2}},
        ),
        ("/v1/completions", {"model": "gpt", "prompt": "x"}),
        ("/v1/completions", {"model": "gpt", "prompt": "x", "max_tokens": 30_000, "n": 2}),
    ],
)
def test_a_burst_cannot_pass_a_budget(there: Upstream, passing: Process, path: str, body: dict[str, Any]) -> None:
    """The longest answer is reserved, or what the request says of it: the budget covers it once."""
    go = threading.Event()
    models = "gpt", "gemini-2.5-flash"
    before = sum(len(there.of(model)) for model in models)
    for model in models:
        there.script(model, [go, *answer({"candidates": [], "choices": []})])

    def ask(_: int) -> int:
        headers = {"Authorization": f"Bearer {POOR}"} if "completions" in path else {"x-goog-api-key": POOR}
        return httpx.post(passing.root + path, json=body, headers=headers, timeout=20, trust_env=False).status_code

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, i) for i in range(4)]
        until(lambda: sum(len(there.of(model)) for model in models) - before + sum(one.done() for one in asked) >= 4)
        go.set()
        assert Counter(one.result() for one in asked) == {200: 1, 429: 3}


@pytest.mark.parametrize(
    "tools, refused",
    [
        ([{"functionDeclarations": []}, {"function_declarations": []}], None),
        ([{"functionDeclarations": []}, {"googleSearch": {}}], "tools.google_search"),
        ([{"google_search": {}}], "tools.google_search"),
        ([{"codeExecution": {}}], "tools.code_execution"),
        ({"urlContext": {}}, "tools.url_context"),
    ],
)
def test_a_limited_key_has_no_tools_that_google_runs(
    there: Upstream, passing: Process, http: httpx.Client, tools: Any, refused: str | None
) -> None:
    there.script("gemini-2.5-flash", answer(said("Hi")))
    url = f"{passing.root}/v1beta/models/gemini-flash:generateContent"
    got = http.post(url, json={"tools": tools}, headers={"x-goog-api-key": OTHER})
    if refused is None:
        assert got.status_code == 200
    else:
        assert (got.status_code, got.json()["error"]["details"][0]["reason"]) == (400, "UNSUPPORTED_PARAMETER")
        assert f"'{refused}'" in got.json()["error"]["message"]
    assert http.post(url, json={"tools": tools}, headers={"x-goog-api-key": KEY}).status_code == 200


@pytest.mark.parametrize(
    "fields, refused",
    [
        ({"generationConfig": {"maxOutputTokens": 5}, "safetySettings": []}, None),
        ({"cachedContent": ""}, None),
        ({"cachedContent": "cachedContents/another-clients"}, "cachedContent"),
        ({"cached_content": "cachedContents/another-clients"}, "cached_content"),
        ({"serviceTier": "of-tomorrow"}, "service_tier"),
        ({"service_tier": "of-tomorrow"}, "service_tier"),
    ],
)
def test_a_limited_key_has_nothing_that_is_not_in_its_request(
    there: Upstream, passing: Process, http: httpx.Client, fields: Any, refused: str | None
) -> None:
    there.script("gemini-2.5-flash", answer(said("Hi")))
    url = f"{passing.root}/v1beta/models/gemini-flash:generateContent"
    got = http.post(url, json={"contents": [], **fields}, headers={"x-goog-api-key": OTHER})
    if refused is None:
        assert got.status_code == 200
    else:
        error = got.json()["error"]
        assert (got.status_code, error["details"][0]["reason"]) == (400, "UNSUPPORTED_PARAMETER")
        assert error["message"].startswith(f"Unsupported parameter: '{refused}'")
