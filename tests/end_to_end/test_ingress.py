"""Requests that are wrong: what is said about them over HTTP, and that the server keeps serving."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx2 as httpx
import pytest
from conftest import LAPTOP, PHONE
from process import Process, config
from scripted import Upstream, answer

import modelserver

HELLO = [{"role": "user", "content": "Hello"}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
FINE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}


@pytest.fixture
def post(http: httpx.Client, server: Process) -> Iterator[Callable[..., httpx.Response]]:
    """POST to chat: a value as JSON, or bytes as they are. Afterwards the server still serves."""
    url = f"{server.url}/chat/completions"

    def post(body: Any, **headers: str) -> httpx.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return http.post(url, content=data, headers={"content-type": "application/json", **headers})

    yield post
    assert http.post(url, json={"model": "echo", "messages": HELLO}).status_code == 200


def error(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error of an answer in OpenAI's shape."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body.keys() == {"error"} and body["error"].keys() == {"message", "type", "param", "code"}
    return dict(body["error"])


# spec/EDGE_CASES.md A


@pytest.mark.parametrize(
    ("changes", "status", "param", "code", "says"),
    [
        ({"messages": []}, 400, "messages", "empty_array", ""),
        ({"messages": None}, 400, "messages", "invalid_type", ""),
        ({"messages": "hi"}, 400, "messages", "invalid_type", ""),
        ({"messages": ["hi"]}, 400, "messages[0]", "invalid_type", ""),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "messages[0].role", "invalid_value", "'robot'"),
        ({"messages": [{"content": "x"}]}, 400, "messages[0].role", "invalid_value", ""),
        ({"messages": [{"role": "user"}]}, 400, "messages[0].content", "invalid_value", ""),
        ({"messages": [{"role": "user", "content": [{}]}]}, 400, "messages[0].content[0]", "invalid_value", ""),
        ({"model": None}, 400, "model", "missing_required_parameter", ""),
        ({"model": 5}, 400, "model", "invalid_type", ""),
        ({"model": "nope"}, 404, "model", "model_not_found", "'nope'"),
        ({"model": "nowhere/nope"}, 404, "model", "model_not_found", ""),
        ({"model": "ecco"}, 404, "model", "model_not_found", "did you mean 'echo'"),
        ({"temperature": -1}, 400, "temperature", "decimal_below_min_value", ">= 0"),
        ({"temperature": 2.1}, 400, "temperature", "decimal_above_max_value", "<= 2"),
        ({"temperature": "1"}, 400, "temperature", "invalid_type", ""),
        ({"top_p": 1.5}, 400, "top_p", "decimal_above_max_value", ""),
        ({"presence_penalty": -3}, 400, "presence_penalty", "decimal_below_min_value", ""),
        ({"n": 0}, 400, "n", "integer_below_min_value", ""),
        ({"n": 129}, 400, "n", "integer_above_max_value", ""),
        ({"n": True}, 400, "n", "invalid_type", ""),
        ({"max_tokens": 0}, 400, "max_tokens", "integer_below_min_value", ""),
        ({"top_logprobs": 21, "logprobs": True}, 400, "top_logprobs", "integer_above_max_value", ""),
        ({"stop": ["a"] * 5}, 400, "stop", "array_above_max_length", ""),
        ({"stream": "yes"}, 400, "stream", "invalid_type", ""),
        ({"stream_options": {"include_usage": True}}, 400, "stream_options", "invalid_value", ""),
        ({"tool_choice": "required"}, 400, "tool_choice", "invalid_value", ""),
        ({"tools": [{}]}, 400, "tools[0].type", "missing_required_parameter", ""),
        (
            {"messages": [{"role": "tool", "content": "1"}]},
            400,
            "messages[0].tool_call_id",
            "missing_required_parameter",
            "'messages[0].tool_call_id'",
        ),
        (
            {
                "messages": [
                    *HELLO,
                    {"role": "assistant", "tool_calls": [CALL, {**CALL, "id": "call_2"}]},
                    {"role": "tool", "tool_call_id": "call_1", "content": "1"},
                ]
            },
            400,
            "messages[2].role",
            None,
            "call_2",
        ),
    ],
)
def test_wrong_parameters(
    post: Callable[..., httpx.Response], changes: Any, status: int, param: str, code: str | None, says: str
) -> None:
    for streamed in ({}, {"stream": True} if "stream_options" not in changes else {"stream": False}):
        wrong = error(post({"model": "echo", "messages": HELLO, **streamed, **changes}), status)
        assert (wrong["type"], wrong["param"], wrong["code"]) == ("invalid_request_error", param, code)
        assert says in wrong["message"]


NULLS = ("temperature", "stop", "tools", "stream", "stream_options", "tool_choice", "functions", "n", "user", "seed")


def test_null_is_absent(post: Callable[..., httpx.Response], upstream: Upstream) -> None:
    upstream.script("nulls", answer(FINE))
    got = post({"model": "up/nulls", "messages": HELLO, **dict.fromkeys(NULLS)})
    assert got.status_code == 200
    assert upstream.of("nulls")[0].json == {"model": "nulls", "messages": HELLO}


def test_functions_become_tools_upstream(post: Callable[..., httpx.Response], upstream: Upstream) -> None:
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{**CALL, "function": {"name": "f", "arguments": ""}}],
    }
    upstream.script("functions", answer({"choices": [{"message": message, "finish_reason": "tool_calls"}]}))
    ask = {"model": "up/functions", "messages": HELLO, "functions": [{"name": "f"}], "function_call": "auto"}
    [choice] = post(ask).json()["choices"]
    sent = upstream.of("functions")[0].json
    assert sent["tools"] == [{"type": "function", "function": {"name": "f"}}] and sent["tool_choice"] == "auto"
    assert "functions" not in sent and "function_call" not in sent
    assert choice["message"]["function_call"] == {"name": "f", "arguments": "{}"}
    assert choice["finish_reason"] == "function_call" and "tool_calls" not in choice["message"]


def test_allowed_tools_on_a_host_that_may_not_know_them(
    post: Callable[..., httpx.Response], upstream: Upstream
) -> None:
    upstream.script("allowed", answer(FINE))
    tools = [{"type": "function", "function": {"name": name}} for name in "ab"]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": tools[:1]}}
    assert post({"model": "up/allowed", "messages": HELLO, "tools": tools, "tool_choice": choice}).status_code == 200
    sent = upstream.of("allowed")[0].json
    assert sent["tool_choice"] == "required" and sent["tools"] == tools[:1]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": f"Basic {LAPTOP}"}, 401),
        ({"authorization": f"Bearer {LAPTOP}x"}, 401),
        ({"authorization": "Bearer é\xff"}, 401),
        ({"authorization": f"Bearer {LAPTOP}"}, 200),
        ({"authorization": f"bearer  {LAPTOP}"}, 200),
        ({"x-api-key": LAPTOP}, 200),
        ({"x-api-key": LAPTOP, "authorization": f"Bearer {LAPTOP}"}, 200),
        ({"x-api-key": PHONE, "authorization": f"Bearer {LAPTOP}"}, 400),
        ({"x-api-key": "x", "authorization": f"Bearer {LAPTOP}"}, 400),
    ],
)
def test_keys(http: httpx.Client, keyed: Process, headers: dict[str, str], status: int) -> None:
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    for got in (
        http.post(f"{keyed.url}/chat/completions", json={"model": "echo", "messages": HELLO}, headers=raw),
        http.get(f"{keyed.url}/models", headers=raw),
        http.get(f"{keyed.url}/models/echo", headers=raw),
    ):
        if status == 200:
            assert got.status_code == 200
        elif status == 401:
            wrong = error(got, 401)
            assert "API key" in wrong.pop("message")  # test_keys.py has the words
            assert wrong == {
                "type": "authentication_error",
                "param": None,
                "code": "authentication_error",
            }
        else:
            assert error(got, 400)["code"] == "conflicting_keys"


def test_every_route_but_the_public_ones_needs_a_key(http: httpx.Client, keyed: Process) -> None:
    """T8: the table itself is asked, so that a new route cannot be forgotten."""
    table = [route for route in modelserver.routes() if route.handler not in modelserver.PUBLIC]
    assert len(table) >= 30 and len(modelserver.PUBLIC) == 16
    for route in table:
        path = re.sub(r"\{[^{}]*\}", "echo", route.path)
        for headers in ({}, {"Authorization": "Bearer sk-wrong"}, {"x-api-key": "sk-wrong"}):
            got = http.request(
                route.method, f"{keyed.root}{path}", headers={"X-Forwarded-For": "192.0.2.1", **headers}, content=b"{}"
            )
            told = got.json()["error"]
            assert got.status_code == 401, route
            assert told.get("status", told.get("code", told.get("type"))) in (
                "authentication_error",
                "UNAUTHENTICATED",
            ), route


def test_a_key_sees_and_uses_its_models_only(http: httpx.Client, keyed: Process, upstream: Upstream) -> None:
    upstream.script("phone-1", answer(FINE))
    phone, laptop = {"x-api-key": PHONE}, {"x-api-key": LAPTOP}
    for key in (phone, laptop):
        assert [card["id"] for card in http.get(f"{keyed.url}/models", headers=key).json()["data"]] == ["echo"]
    for model, status in (("echo", 200), ("up/phone-1", 200), ("up/other", 404), ("echo-length", 404)):
        assert http.get(f"{keyed.url}/models/{model}", headers=phone).status_code == status
        ask = {"model": model, "messages": HELLO}
        got = http.post(f"{keyed.url}/chat/completions", json=ask, headers=phone)
        assert got.status_code == status
        if status == 404:
            assert error(got, 404)["code"] == "model_not_found"
    assert upstream.of("other") == []
    assert http.get(f"{keyed.url}/models/up/other", headers=laptop).status_code == 200


# Bodies


def ask_with(value: bytes, model: bytes = b'"echo"') -> bytes:
    return b'{"model":' + model + b',"messages":[{"role":"user","content":"x"}],"future":' + value + b"}"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"not json", None),
        (b"", None),
        (b"[]", None),
        (b"null", None),
        (b'{"model":"echo"', None),
        (b"\xff\xfe{}", None),
        (ask_with(b'"\xff"'), None),
        (ask_with(b"[" * 100_000 + b"]" * 100_000), None),
        (ask_with(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), None),
        (ask_with(b"1" * 5000), "future"),
        (ask_with(b"-" + b"9" * 5000), "future"),
        (ask_with(b'{"a":["x","\\ud83d"]}'), "future.a[1]"),
        (ask_with(b"NaN"), None),
        (ask_with(b"1", b'"\\ud83d"'), "model"),
        (ask_with(b"1") + b"x", None),
        (b"\x1f\x8b\x08" + b"0" * 50, None),
    ],
)
@pytest.mark.fault("F37")
def test_bodies_that_are_not_json(post: Callable[..., httpx.Response], body: bytes, param: str | None) -> None:
    wrong = error(post(body), 400)
    assert (wrong["type"], wrong["code"], wrong["param"]) == ("invalid_request_error", "invalid_json", param)
    assert len(wrong["message"]) < 300


@pytest.mark.parametrize("value", [b"1e400", b"-1e400", b"123456789012345678", b"1.0e2", b'"\\u0000"', b"[[[[1]]]]"])
def test_unusual_json_is_json(post: Callable[..., httpx.Response], value: bytes) -> None:
    assert post(ask_with(value)).status_code in (200, 400)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/json; charset=nonsense", "application/json; charset=utf-16", "", 'a;b="c']
)
def test_the_content_type_does_not_matter_to_programs(post: Callable[..., httpx.Response], kind: str) -> None:
    got = post({"model": "echo", "messages": [{"role": "user", "content": "你好"}]}, **{"content-type": kind})
    assert got.status_code == 200 and got.json()["choices"][0]["message"]["content"] == "你好"


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.fault("F37")
def test_a_body_over_the_limit(http: httpx.Client, server: Process, known: bool) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(33):
            yield b" " * 2**20

    url = f"{server.url}/chat/completions"
    headers = {"content-length": str(33 * 2**20)} if known else {}
    with httpx.Client(trust_env=False) as client:
        try:
            got = client.post(url, content=body(), headers=headers)
        except httpx.WriteError:  # refused while it was still being sent
            assert known
        else:
            assert error(got, 413)["code"] == "request_too_large"
    assert http.post(url, json={"model": "echo", "messages": HELLO}).status_code == 200


def test_a_large_body_within_the_limit(post: Callable[..., httpx.Response], upstream: Upstream) -> None:
    upstream.script("large", answer(FINE))
    ask = {"model": "up/large", "messages": [{"role": "user", "content": "x" * 31 * 2**20}]}
    assert post(ask).status_code == 200
    assert len(upstream.of("large")[0].body) > 31 * 2**20


def raw(server: Process, data: bytes, then: bytes = b"") -> bytes:
    """What comes back for these bytes until the server closes or has answered."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as peer:
        peer.sendall(data)
        got = b""
        while piece := peer.recv(65536):
            got += piece
            if got.endswith((b"}}", b"]\n\n")):
                break
        return got


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("sent", [b"", b'{"model":'])
def test_a_slow_body(hasty: Process, http: httpx.Client, sent: bytes) -> None:
    got = raw(hasty, HEAD + b"Content-Length: 100\r\n\r\n" + sent)
    assert got.startswith(b"HTTP/1.1 408 ") and b'"code":"request_timeout"' in got
    assert http.post(f"{hasty.url}/chat/completions", json={"model": "echo", "messages": HELLO}).status_code == 200


def test_a_body_whose_encoding_is_a_lie(server: Process) -> None:
    got = raw(server, HEAD + b"Content-Encoding: gzip\r\nContent-Length: 8\r\n\r\nnot gzip")
    assert got.startswith(b"HTTP/1.1 400 ") and b'"error"' in got


def test_broken_framing_is_refused(server: Process, http: httpx.Client) -> None:
    """These never reach a handler; test_framing.py has many more."""
    for data in (
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: x\r\n\r\n",
        HEAD + b"Bad Header\r\n\r\n",
        b"NONSENSE\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as peer:
            peer.sendall(data)
            assert b" 400 " in peer.recv(65536).split(b"\r\n")[0]
    assert http.get(server.root + "/healthz").status_code == 200


# A server without keys: only for this machine's programs and pages (spec/FAULTS.md T40)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"host": "localhost"}, 200, None),
        ({"host": "127.0.0.1:8080"}, 200, None),
        ({"host": "127.1.2.3"}, 200, None),
        ({"host": "[::1]:8080"}, 200, None),
        ({"host": "LOCALHOST."}, 200, None),
        ({"host": "app.localhost"}, 200, None),
        ({"host": "evil.example"}, 403, "host_not_allowed"),
        ({"host": "127.0.0.1.evil.example"}, 403, "host_not_allowed"),
        ({"host": "localhost.evil.example"}, 403, "host_not_allowed"),
        ({"host": "evil.example@localhost"}, 403, "host_not_allowed"),
        ({"host": "localhost@evil.example"}, 403, "host_not_allowed"),
        ({"host": "localhost/x"}, 403, "host_not_allowed"),
        ({"host": "192.168.0.1"}, 403, "host_not_allowed"),
        ({"host": "10.0.0.1"}, 403, "host_not_allowed"),
        ({"host": "a/health?x="}, 403, "host_not_allowed"),
        ({"host": "[::1"}, 403, "host_not_allowed"),
        ({"host": ""}, 403, "host_not_allowed"),
        ({"origin": "http://localhost:3000"}, 200, None),
        ({"origin": "http://127.0.0.1:5173", "sec-fetch-site": "cross-site"}, 200, None),
        ({"origin": "http://localhost:3000", "content-type": "text/plain"}, 403, "origin_not_allowed"),
        ({"origin": "https://evil.example"}, 403, "origin_not_allowed"),
        ({"origin": "https://evil.example", "content-type": "text/plain"}, 403, "origin_not_allowed"),
        ({"origin": "null"}, 403, "origin_not_allowed"),
        ({"origin": "http://[::1"}, 403, "origin_not_allowed"),
        ({"origin": "http://localhost.evil.example"}, 403, "origin_not_allowed"),
        ({"origin": "http://localhost@evil.example"}, 403, "origin_not_allowed"),
        ({"sec-fetch-site": "cross-site"}, 403, "origin_not_allowed"),
        ({"sec-fetch-site": "CROSS-SITE"}, 403, "origin_not_allowed"),
        ({"origin": "evil://localhost"}, 403, "origin_not_allowed"),
        ({"origin": "localhost"}, 403, "origin_not_allowed"),
        ({"origin": "http://LOCALHOST:3000"}, 200, None),
        ({"x-forwarded-for": "192.0.2.1"}, 403, "host_not_allowed"),  # a proxy that passes the Host of its own call
        ({"x-real-ip": "192.0.2.1"}, 403, "host_not_allowed"),
        ({"via": "1.1 proxy"}, 403, "host_not_allowed"),
        ({"forwarded": "for=192.0.2.1"}, 403, "host_not_allowed"),
        ({"sec-fetch-site": "same-origin"}, 200, None),
        ({"sec-fetch-site": "none", "sec-fetch-mode": "cors"}, 200, None),
        ({"sec-fetch-mode": "cors"}, 200, None),
    ],
)
def test_who_may_call_without_a_key(
    http: httpx.Client, server: Process, headers: dict[str, str], status: int, code: str | None
) -> None:
    sent = {"content-type": "application/json", **headers}
    body = json.dumps({"model": "echo", "messages": HELLO})
    got = http.post(f"{server.url}/chat/completions", content=body, headers=sent)
    assert got.status_code == status, got.text
    if code:
        assert error(got, 403)["code"] == code
        if "evil" in headers.get("origin", ""):
            assert "access-control-allow-origin" not in got.headers
    elif "origin" in headers:
        assert got.headers["access-control-allow-origin"] == headers["origin"]


def test_an_evil_page_gets_no_preflight(http: httpx.Client, server: Process) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    evil = http.options(f"{server.url}/chat/completions", headers={"origin": "https://evil.example", **asked})
    assert evil.status_code == 204 and not [name for name in evil.headers if name.startswith("access-control")]
    own = http.options(f"{server.url}/chat/completions", headers={"origin": "http://localhost:3000", **asked})
    assert own.headers["access-control-allow-origin"] == "http://localhost:3000"


def old(server: Process, path: str, headers: str = "", body: str = "") -> bytes:
    """The answer to a request in HTTP/1.0, which nginx speaks to upstreams unless it is told otherwise."""
    method = "POST" if body else "GET"
    head = f"{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{server.port}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall((head + body).encode())
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_a_plain_proxy_pass_is_not_this_machine(server: Process, keyed: Process, upstream: Upstream) -> None:
    body = json.dumps({"model": "echo", "messages": HELLO})
    refused = old(server, "/v1/chat/completions", "Content-Type: application/json\r\n", body)
    assert refused.startswith(b"HTTP/1.0 403 ") and b"came through a proxy (or in HTTP/1.0)" in refused
    assert old(server, "/metrics").startswith(b"HTTP/1.0 403 ")
    assert old(keyed, "/metrics").startswith(b"HTTP/1.0 401 ")
    assert b'"pid"' not in old(server, "/healthz")
    key = f"x-api-key: {LAPTOP}\r\n"
    assert old(keyed, "/v1/chat/completions", key, body).startswith(b"HTTP/1.0 200 ")
    with Process(config(upstream, server='allowed_hosts: ["127.0.0.1"]')) as told:
        assert old(told, "/v1/chat/completions", "", body).startswith(b"HTTP/1.0 200 ")


def test_what_an_upstream_calls_a_code_is_logged_only_if_it_is_one(upstream: Upstream, scripted: Any) -> None:
    """A prompt echoed there would reach the log, the usage rows and /v1/usage."""
    with Process(config(upstream)) as server:
        for code, told in (
            ("the words of the prompt", None),
            ("esc\x1b[2Jand\nline", None),
            ("x" * 65, None),
            ("ünïcode", None),
            ("InvalidParameter.Data-Inspection_2", "InvalidParameter.Data-Inspection_2"),
        ):
            name = scripted(answer({"error": {"message": "Why.", "code": code}}, 400))
            got = httpx.post(f"{server.url}/chat/completions", json={"model": f"up/{name}", "messages": HELLO})
            assert (got.status_code, got.json()["error"]["code"]) == (400, told)
            assert server.logged(model=f"up/{name}")["code"] == (told or "invalid_request_error")


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("POST", "/v1/complete", "POST /v1/messages, and POST /v1/messages/count_tokens"),
        ("POST", "/api/messages", "POST /v1/messages: the client's base URL should end before /v1"),
        ("POST", "/v1/engines/davinci/completions", "POST /v1/chat/completions, which takes"),
        (
            "POST",
            "/gemini/v1beta/models/gemini-2.5-flash:streamGenerateContent",
            "POST /v1beta/models/{model}:generateContent",
        ),
        ("POST", "/gemini/v1beta/models/text-embedding-004:embedContent", "POST /v1/embeddings"),
        ("GET", "/v1/files", "/p/{provider}/…, for keys with `passthrough: true`"),
        ("POST", "/api/chat", "POST /v1/chat/completions, which takes"),
        ("GET", "/api/tags", "GET /v1/models"),
        ("POST", "/v1/v1/chat/completions", "the same path with /v1 once: the client's base URL ends in /v1 already"),
        (
            "POST",
            "/openai/deployments/gpt-4o/chat/completions",
            "POST /v1/chat/completions: the client's base URL should end in /v1",
        ),
        ("POST", "/v1/chat/completion", "POST /v1/chat/completions, which takes"),
        ("GET", "/v1/model", "Did you mean /v1/models?"),
        ("GET", "/helthz", "Did you mean /healthz?"),
        (
            "POST",
            "/v1/nothing/of/the/kind",
            "This server has POST /v1/chat/completions, POST /v1/messages, POST /v1/messages/count_tokens, ",
        ),
    ],
)
def test_a_path_of_another_api_is_told_the_nearest_here(
    http: httpx.Client, server: Process, method: str, path: str, says: str
) -> None:
    wrong = error(http.request(method, f"{server.root}{path}", content=b"{}"), 404)
    assert wrong["code"] == "unknown_url"
    assert wrong["message"].startswith(f"Unknown request URL: {method} {path}. ") and says in wrong["message"]


@pytest.mark.parametrize(
    ("said", "scheme"),
    [("https", "https"), ("HTTPS, http", "https"), ("http", "http"), ("gopher", "http"), ("", "http")],
)
def test_the_address_behind_a_tls_proxy(http: httpx.Client, server: Process, said: str, scheme: str) -> None:
    got = http.get(server.root, headers={"X-Forwarded-Proto": said, "Accept": "*/*"}).text
    assert f"\nBase URL for OpenAI clients: {scheme}://127.0.0.1:{server.port}/v1\n" in got
