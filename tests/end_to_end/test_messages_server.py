"""Messages clients at the real process: the official SDK, a scripted Claude, and what stands between them."""

import json
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import anthropic
import httpx2 as httpx
import pytest
from anthropic import Anthropic
from process import Process
from scripted import CLOSE, FOREVER, Script, Upstream, answer, chunked, sse, stream
from usage_helpers import rows, usage

LAPTOP, PHONE = "sk-client-canary-laptop", "sk-client-canary-phone"
SLOW, CHEAP = "sk-client-canary-slow", "sk-client-canary-cheap"
HI: Any = [{"role": "user", "content": "hi"}]
VERSION = {"anthropic-version": "2023-06-01"}
CONFIG = """
server: {{port: 0, keep_alive: {{after: 0.2, every: 0.1}}, timeouts: {{between_bytes: 3}}}}
providers:
  claude: {{protocol: anthropic, base_url: "{url}", api_key: sk-ant-canary, options: {{headers: {{anthropic-beta: "b,c"}}}}}}
  keys: {{protocol: anthropic, base_url: "{url}", api_key: [sk-ant-one, sk-ant-two, sk-ant-three]}}
  other: {{protocol: openai, base_url: "{url}/v1", api_key: sk-other}}
  google: {{protocol: gemini, base_url: "{url}/v1beta", api_key: sk-google}}
models:
  "claude-*": claude
  both: [claude/first, claude/second]
  mixed: [claude/first-mixed, other/second-mixed]
  quiet: [claude/first-quiet, claude/second]
keys:
  - {{name: laptop, key: "{laptop}"}}
  - {{name: phone, key: "{phone}"}}
  - {{name: slow, key: "{slow}", rpm: 2, tpm: 100000}}
  - {{name: cheap, key: "{cheap}", tpm: 100000}}
usage: {{path: "{path}"}}
model_facts: {{"*": {{price: {{input: 1, output: 1, cache_read: 1, cache_write: 1}}}}}}
"""
USAGE = {"input_tokens": 20, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}
MESSAGE: Any = {
    "id": "msg_theirs", "type": "message", "role": "assistant", "model": "claude-x", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "Hello you"}], "stop_sequence": None, "usage": {**USAGE, "output_tokens": 3},
}  # fmt: skip
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


def event(name: str, **fields: Any) -> bytes:
    """An event as Claude writes it: with a space where JSON needs none."""
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields}).removesuffix('}')} }}\n\n".encode()


START = event("message_start", message={**MESSAGE, "content": [], "stop_reason": None, "usage": USAGE})
PING = event("ping")
OPEN = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
HELLO = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"})
YOU = event("content_block_delta", index=0, delta={"type": "text_delta", "text": " you"})
END = (
    event("content_block_stop", index=0)
    + event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 3})
    + event("message_stop")
)
TEXT = START + OPEN + PING + HELLO + event("later", unknown=[1]) + YOU + END
FAILED = event("error", error={"type": "overloaded_error", "message": "Overloaded"})


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("usage")


@pytest.fixture(scope="module")
def server(upstream: Upstream, folder: Path) -> Iterator[Process]:
    text = CONFIG.format(url=upstream.url, laptop=LAPTOP, phone=PHONE, slow=SLOW, cheap=CHEAP, path=folder / "usage.db")
    with Process(text) as process:
        yield process


@pytest.fixture(scope="module")
def sdk(server: Process) -> Iterator[Anthropic]:
    with Anthropic(base_url=server.root, auth_token=LAPTOP, max_retries=0) as client:
        yield client


def without_pings(data: bytes) -> bytes:
    """What a client is told, without this server's own pings: on a busy machine there may be any number of them."""
    return data.replace(b'event: ping\ndata: {"type": "ping"}\n\n', b"")


def post(http: httpx.Client, server: Process, body: Any, path: str = "/v1/messages", **headers: str) -> httpx.Response:
    sent = {"x-api-key": LAPTOP} | {name.replace("_", "-"): value for name, value in headers.items()}
    return http.post(f"{server.root}{path}", json={"max_tokens": 50, "messages": HI, **body}, headers=sent)


def refused(got: httpx.Response) -> tuple[int, str, str]:
    """Status, type and message of an error, whose shape is looked at."""
    told = got.json()
    assert set(told) == {"type", "error", "request_id"}
    assert (told["type"], set(told["error"])) == ("error", {"type", "message"})
    assert told["request_id"] == got.headers["request-id"] == got.headers["x-request-id"]
    return got.status_code, told["error"]["type"], told["error"]["message"]


# Native answers


def test_a_stream_through_the_sdk(sdk: Anthropic, upstream: Upstream) -> None:
    upstream.script("claude-stream", stream(TEXT, 9, headers={"request-id": "req_theirs"}))
    with sdk.messages.stream(model="claude-stream", max_tokens=50, messages=HI) as told:
        final = told.get_final_message()
        assert told.response.headers["request-id"] == "req_theirs"
    assert (final.content[0].text, final.id, final.model) == ("Hello you", "msg_theirs", "claude-x")  # type: ignore[union-attr]
    [sent] = upstream.of("claude-stream")
    assert (sent.path, sent.headers["x-api-key"]) == ("/v1/messages", "sk-ant-canary")
    assert "authorization" not in sent.headers
    assert sent.json == {"max_tokens": 50, "messages": HI, "model": "claude-stream", "stream": True}


def test_bytes_and_usage_of_a_stream(http: httpx.Client, server: Process, upstream: Upstream, folder: Path) -> None:
    upstream.script("claude-bytes", stream(TEXT, 50))
    got = post(http, server, {"model": "claude-bytes", "stream": True})
    assert (got.status_code, got.content) == (200, TEXT)
    assert got.headers["content-type"] == "text/event-stream; charset=utf-8"
    usage(server, LAPTOP)
    [row] = [row for row in rows(folder) if row["model"] == "claude-bytes"]
    assert (row["prompt"], row["completion"], row["estimated"]) == (20, 3, 0)


@pytest.mark.case(messages=11)
@pytest.mark.case(messages=23)
def test_a_whole_answer(http: httpx.Client, server: Process, upstream: Upstream) -> None:
    body = json.dumps(MESSAGE, indent=1).encode()
    upstream.script("claude-whole", answer(body, headers={"request-id": "req_theirs"}))
    got = post(http, server, {"model": "claude-whole"})
    assert (got.status_code, got.content, got.headers["content-type"]) == (200, body, "application/json")
    assert (got.headers["request-id"], got.headers["x-modelserver-upstream"]) == ("req_theirs", "claude/claude-whole")
    assert got.headers["x-request-id"].startswith("req_")
    [sent] = upstream.of("claude-whole")
    assert "stream" not in sent.json
    assert server.logged(model="claude-whole")["completion_tokens"] == 3


def test_the_form_that_was_not_asked_for(sdk: Anthropic, upstream: Upstream) -> None:
    """A host that answers a streamed request whole, and a whole one with a stream."""
    upstream.script("claude-json", answer(MESSAGE))
    with sdk.messages.stream(model="claude-json", max_tokens=50, messages=HI) as told:
        assert told.get_final_text() == "Hello you"
    upstream.script("claude-sse", stream(TEXT))
    got = sdk.messages.create(model="claude-sse", max_tokens=50, messages=HI)
    assert got.content[0].text == "Hello you"  # type: ignore[union-attr]


@pytest.mark.case(messages=8)
@pytest.mark.case(messages=13)
def test_headers(http: httpx.Client, server: Process, upstream: Upstream) -> None:
    upstream.script("claude-heads", answer(MESSAGE))
    heads = [
        ("x-api-key", LAPTOP), ("anthropic-beta", "a,b"), ("anthropic-beta", "a,b"), ("anthropic-version", "2026-10-21"),
        ("anthropic-workspace-id", "w"), ("anthropic-new-thing", "1"), ("x-claude-code-session-id", "session-7"),
        ("x-stainless-lang", "python"), ("cookie", "a=b"),
    ]  # fmt: skip
    body = {"model": "claude-heads", "max_tokens": 5, "messages": HI}
    assert http.post(f"{server.url}/messages?beta=true&x=1", json=body, headers=heads).status_code == 200
    assert http.post(f"{server.url}/messages", json=body, headers={"x-api-key": LAPTOP}).status_code == 200
    first, second = upstream.of("claude-heads")
    assert (first.path, second.path) == ("/v1/messages?beta=true", "/v1/messages")
    assert first.headers["anthropic-beta"] == "a,b,c"
    assert first.headers["anthropic-version"] == "2026-10-21"
    assert first.headers["anthropic-new-thing"] == "1"
    assert second.headers["anthropic-version"] == "2023-06-01"
    sent = {name for name in first.headers if name.startswith(("x-", "anthropic-", "cookie"))}
    assert sent == {"x-api-key", "anthropic-beta", "anthropic-version", "anthropic-new-thing"}
    assert server.logged(model="claude-heads", session="session-7")


@pytest.mark.case(messages=6)
def test_the_suffix_of_a_long_context(http: httpx.Client, server: Process, upstream: Upstream) -> None:
    upstream.script("claude-opus-5", answer(MESSAGE), answer({"input_tokens": 7}))
    assert post(http, server, {"model": "claude-opus-5[1m]"}).status_code == 200
    assert post(http, server, {"model": "claude-opus-5[1M][1m]"}, "/v1/messages/count_tokens").json() == {
        "input_tokens": 7
    }
    assert [(sent.path, sent.model) for sent in upstream.of("claude-opus-5")] == [
        ("/v1/messages", "claude-opus-5"),
        ("/v1/messages/count_tokens", "claude-opus-5"),
    ]


@pytest.mark.case(messages=4)
def test_a_limit_is_the_upstreams_to_ask_for(http: httpx.Client, server: Process, upstream: Upstream) -> None:
    wrong = b'{"type":"error", "error":{"type":"invalid_request_error","message":"max_tokens: Field required"}}'
    upstream.script("claude-limit", answer(wrong, 400))
    body = {"model": "claude-limit", "messages": HI}
    got = http.post(f"{server.url}/messages", json=body, headers={"x-api-key": LAPTOP})
    assert (got.status_code, got.content) == (400, wrong)
    got = http.post(f"{server.url}/messages", json={"messages": HI}, headers={"x-api-key": LAPTOP})
    assert refused(got) == (400, "invalid_request_error", "model: Field required")


@pytest.mark.parametrize(
    "script",
    [
        stream(START + FAILED),
        stream(START + PING),
        answer(OVERLOADED, 529),
        [*stream(START, end=False), CLOSE],
        answer(OVERLOADED),
    ],
)
@pytest.mark.case(messages=14)
def test_before_the_first_word_another_target_takes_over(sdk: Anthropic, upstream: Upstream, script: Script) -> None:
    upstream.script("first", script)
    upstream.script("second", stream(TEXT))
    with sdk.messages.stream(model="both", max_tokens=50, messages=HI) as told:
        assert told.get_final_text() == "Hello you"
    assert "claude" in told.response.headers["x-modelserver-upstream"]


@pytest.mark.case(messages=14)
def test_no_other_target(http: httpx.Client, server: Process, upstream: Upstream) -> None:
    upstream.script("claude-over", stream(START + FAILED))
    got = post(http, server, {"model": "claude-over", "stream": True})
    assert refused(got)[:2] == (529, "overloaded_error")
    with (
        Anthropic(base_url=server.root, api_key=LAPTOP, max_retries=0) as client,
        pytest.raises(anthropic.APIStatusError),
    ):
        client.messages.create(model="claude-over", max_tokens=5, messages=HI, stream=True)


def test_from_claude_to_another_protocol(sdk: Anthropic, upstream: Upstream) -> None:
    upstream.script("first-mixed", answer(OVERLOADED, 529))
    said = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hello"}}]},
            {"choices": [{"index": 0, "delta": {"content": " you"}, "finish_reason": "stop"}]}]  # fmt: skip
    upstream.script("second-mixed", stream(sse(*said)))
    with sdk.messages.stream(model="mixed", max_tokens=50, messages=HI) as told:
        assert told.get_final_text() == "Hello you"
        assert told.response.headers["x-modelserver-upstream"] == "other/second-mixed"
    [sent] = upstream.of("second-mixed")
    assert sent.json["messages"] == HI


@pytest.mark.case(messages=14)
def test_an_error_after_the_first_words(http: httpx.Client, server: Process, upstream: Upstream) -> None:
    script = [*stream(START + OPEN + HELLO, end=False), 0.1, *chunked(YOU + FAILED + PING)]
    upstream.script("claude-broke", script)
    got = post(http, server, {"model": "claude-broke", "stream": True})
    assert without_pings(got.content) == START + OPEN + HELLO + YOU + FAILED
    line = server.logged(model="claude-broke")
    assert (line["status"], line["code"], line["prompt_tokens"]) == (200, "overloaded", 20)
    assert line["completion_tokens"] > 1


@pytest.mark.parametrize("end", [CLOSE, "silence"])
@pytest.mark.case(messages=15)
def test_a_stream_that_is_cut(
    sdk: Anthropic, http: httpx.Client, server: Process, upstream: Upstream, end: str
) -> None:
    last = [CLOSE] if end == CLOSE else [FOREVER]
    upstream.script(f"claude-cut-{end}", [*stream(START + OPEN + HELLO + YOU + END[:60], end=False), *last])
    got = post(http, server, {"model": f"claude-cut-{end}", "stream": True})
    whole = START + OPEN + HELLO + YOU
    assert got.content.startswith(whole)
    own = without_pings(got.content[len(whole) :])
    assert own.startswith(b"event: error\ndata: ") and own.count(b"\n\n") == 1
    told = json.loads(own.removeprefix(b"event: error\ndata: "))
    assert told["error"]["type"] == ("api_error" if end == CLOSE else "timeout_error")
    with (
        pytest.raises(anthropic.APIStatusError),
        sdk.messages.stream(model=f"claude-cut-{end}", max_tokens=5, messages=HI) as it,
    ):
        it.get_final_message()


@pytest.mark.case(messages=16)
def test_silence_before_the_first_word(http: httpx.Client, server: Process, upstream: Upstream) -> None:
    upstream.script("first-quiet", [*stream(START, end=False), 0.7, *chunked(FAILED)])
    upstream.script("second", stream(TEXT))
    got = post(http, server, {"model": "quiet", "stream": True})
    pings = got.content.removesuffix(TEXT)
    assert set(pings.split(b"\n\n")) == {b'event: ping\ndata: {"type": "ping"}', b""}


@pytest.mark.case(messages=17)
def test_errors_of_the_request_pass(http: httpx.Client, server: Process, upstream: Upstream) -> None:
    wrong = (
        b'{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid `signature` in '
        b'`thinking` block."},"request_id":"req_theirs" }'
    )
    for status in (400, 413, 422):
        heads = {"request-id": "req_theirs", "x-should-retry": "false"}
        upstream.script(f"claude-wrong-{status}", answer(wrong, status, heads))
        for streamed in (True, False):
            got = post(http, server, {"model": f"claude-wrong-{status}", "stream": streamed})
            assert (got.status_code, got.content) == (status, wrong)
            assert (got.headers["request-id"], got.headers["x-should-retry"]) == ("req_theirs", "false")


def test_the_providers_key_is_taken_out_of_them(http: httpx.Client, server: Process, upstream: Upstream) -> None:
    told = {"type": "error", "error": {"type": "invalid_request_error", "message": "bad x-api-key sk-ant-canary"}}
    upstream.script("claude-leak", answer(told, 400), [*stream(START + OPEN + HELLO, end=False), 0.1, *chunked(
        event("error", error={"type": "api_error", "message": "sk-ant-canary"}))])  # fmt: skip
    got = post(http, server, {"model": "claude-leak"})
    assert got.status_code == 400 and "canary" not in got.text and "bad x-api-key" in got.text
    got = post(http, server, {"model": "claude-leak", "stream": True})
    assert got.content.startswith(START + OPEN + HELLO + b"event: error") and "canary" not in got.text


@pytest.mark.parametrize(
    ("status", "told", "heads", "wanted"),
    [
        (401, "invalid x-api-key", {}, (502, "api_error", {"x-should-retry": "false"})),
        (403, "Your organization org_1 may not", {}, (403, "permission_error", {})),
        (
            429,
            "organization org_1 exceeds the limit",
            {"retry-after": "7"},
            (429, "rate_limit_error", {"retry-after": "7"}),
        ),
        (
            400,
            "You have reached your specified API usage limits. org_1",
            {},
            (503, "api_error", {"x-should-retry": "false"}),
        ),
        (404, "model: claude-gone", {}, (404, "not_found_error", {})),
        (500, "Internal org_1", {}, (502, "api_error", {})),
    ],
)
@pytest.mark.case(messages=18)
def test_errors_about_the_operator_are_ours(
    http: httpx.Client, server: Process, upstream: Upstream, status: int, told: str, heads: dict[str, str], wanted: Any
) -> None:
    kind = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    body = {"type": "error", "error": {"type": kind.get(status, "invalid_request_error"), "message": told}}
    name = f"claude-ours-{status}"
    upstream.script(name, answer(body, status, heads))
    got = post(http, server, {"model": name})
    assert refused(got)[:2] == wanted[:2]
    assert wanted[2].items() <= got.headers.items()
    assert "org_1" not in got.text and "x-api-key" not in got.text


@pytest.mark.case(messages=24)
def test_the_client_leaves(server: Process, upstream: Upstream, folder: Path) -> None:
    upstream.script("claude-left", [*stream(START + OPEN + HELLO, end=False), FOREVER])
    body = json.dumps({"model": "claude-left", "stream": True, "max_tokens": 5, "messages": HI})
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        head_of = f"POST /v1/messages HTTP/1.1\r\nHost: h\r\nx-api-key: {LAPTOP}\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall((head_of + body).encode())
        got = b""
        while b"Hello" not in got:
            got += client.recv(65536)
    upstream.wait("claude-left").wait_left()
    assert server.logged(model="claude-left")["status"] == 499
    usage(server, LAPTOP)
    [row] = [row for row in rows(folder) if row["model"] == "claude-left"]
    assert (row["prompt"], row["estimated"]) == (20, 1)
    assert row["completion"] >= 1


@pytest.mark.case(messages=26)
def test_a_host_that_names_no_events(sdk: Anthropic, upstream: Upstream) -> None:
    nameless = b"".join(line for line in TEXT.splitlines(keepends=True) if not line.startswith(b"event:"))
    upstream.script("claude-nameless", stream(nameless, 7))
    with sdk.messages.stream(model="claude-nameless", max_tokens=5, messages=HI) as told:
        assert told.get_final_text() == "Hello you"


def test_a_conversation_stays_with_one_key(http: httpx.Client, server: Process, upstream: Upstream) -> None:
    upstream.script("sticky", answer(MESSAGE))
    used = {}
    for session in "abcdefghijkl":
        for _ in range(3):
            assert post(http, server, {"model": "keys/sticky"}, x_claude_code_session_id=session).status_code == 200
        used[session] = {sent.headers["x-api-key"] for sent in upstream.of("sticky")[-3:]}
    assert all(len(keys) == 1 for keys in used.values())
    assert len(set.union(*used.values())) > 1


# Ways in


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, (401, "authentication_error", "invalid x-api-key")),
        ({"x-api-key": "nope"}, (401, "authentication_error", "invalid x-api-key")),
        ({"authorization": "Bearer nope", "x-api-key": "nope2"}, (401, "authentication_error", "invalid x-api-key")),
    ],
)
@pytest.mark.case(messages=1)
def test_keys_that_are_none(http: httpx.Client, server: Process, headers: dict[str, str], wanted: Any) -> None:
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        got = http.post(f"{server.root}{path}", json={"model": "m"}, headers=headers)
        assert refused(got) == wanted


@pytest.mark.case(messages=2)
def test_two_keys(http: httpx.Client, server: Process, upstream: Upstream) -> None:
    upstream.script("claude-keys", answer(MESSAGE))
    for one, two in ((LAPTOP, "sk-ant-other"), ("sk-ant-other", LAPTOP), (LAPTOP, LAPTOP)):
        got = post(http, server, {"model": "claude-keys"}, authorization=f"Bearer {one}", x_api_key=two)
        assert got.status_code == 200
    assert {sent.headers["x-api-key"] for sent in upstream.of("claude-keys")} == {"sk-ant-canary"}
    got = post(http, server, {"model": "claude-keys"}, authorization=f"Bearer {LAPTOP}", x_api_key=PHONE)
    assert refused(got)[:2] == (400, "invalid_request_error")
    got = post(http, server, {"model": "m"}, authorization="Bearer sk-ant-oat01-x", x_api_key="")
    assert "ANTHROPIC_AUTH_TOKEN" in refused(got)[2]


@pytest.mark.parametrize("prefix", ["/v1", "", "/v1/v1", "/anthropic/v1", "/anthropic"])
@pytest.mark.case(messages=3)
def test_paths(http: httpx.Client, server: Process, upstream: Upstream, prefix: str) -> None:
    upstream.script("claude-paths", answer(MESSAGE))
    for end in ("", "/", "?beta=true"):
        assert post(http, server, {"model": "claude-paths"}, f"{prefix}/messages{end}").status_code == 200
    upstream.script("claude-paths", answer({"input_tokens": 1}))
    assert post(http, server, {"model": "claude-paths"}, f"{prefix}/messages/count_tokens").status_code == 200
    listed = http.get(f"{server.root}{prefix}/models", headers={"x-api-key": LAPTOP, **VERSION})
    assert listed.json()["has_more"] is False
    got = post(http, server, {"model": 5}, f"{prefix}/messages")
    assert refused(got)[:2] == (400, "invalid_request_error")


@pytest.mark.case(messages=3)
def test_what_clients_ask_beside_it(http: httpx.Client, server: Process) -> None:
    for got in (http.head(server.root), http.head(f"{server.root}/api/hello"), http.get(f"{server.root}/api/hello")):
        assert (got.status_code, got.content) == (200, b"")
    for path in ("batch", "v2/batch"):
        got = http.post(f"{server.root}/api/event_logging/{path}", content=b"x" * 1000)
        assert (got.status_code, got.content, got.headers["connection"]) == (204, b"", "close")
    assert not [line for line in server.lines() if "/api/" in line.get("path", "") or line.get("method") == "HEAD"]


@pytest.mark.case(messages=5)
@pytest.mark.case(messages=9)
@pytest.mark.case(messages=87)
def test_other_errors(http: httpx.Client, server: Process) -> None:
    key = {"x-api-key": LAPTOP}
    status, kind, _ = refused(post(http, server, {"model": "nope"}))
    assert (status, kind) == (404, "not_found_error")
    assert refused(http.get(f"{server.url}/messages", headers=key))[:2] == (405, "invalid_request_error")
    for path in ("/v1/messages/batches", "/anthropic/v1/messages/batches"):
        status, kind, _ = refused(http.post(f"{server.root}{path}", headers=key))
        assert (status, kind) == (404, "not_found_error")
    got = http.get(f"{server.root}/v1/files", headers={**key, **VERSION})
    assert refused(got)[:2] == (404, "not_found_error") and "/p/{provider}/…" in refused(got)[2]
    plain = http.get(f"{server.root}/v1/nothing", headers=key)
    assert plain.json()["error"]["code"] == "unknown_url" and "request-id" not in plain.headers
    big = http.post(f"{server.url}/messages", content=b" " * (33 * 2**20), headers=key)
    assert refused(big)[:2] == (413, "request_too_large")


def test_what_claudes_own_tools_read_is_booked(
    http: httpx.Client, server: Process, upstream: Upstream, folder: Path
) -> None:
    """A search reads far more than the client has sent: what Claude reports of that is believed."""
    told = {**MESSAGE, "usage": {**USAGE, "input_tokens": 500_000, "output_tokens": 3}}
    upstream.script("claude-searches", answer(told))
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    assert post(http, server, {"model": "claude-searches", "tools": tools}).status_code == 200
    usage(server, LAPTOP)
    [row] = [row for row in rows(folder) if row["model"] == "claude-searches"]
    assert (row["prompt"], row["estimated"]) == (500_000, 0)


@pytest.mark.case(messages=85)
def test_limits(http: httpx.Client, server: Process, upstream: Upstream) -> None:
    upstream.script("claude-limits", answer(MESSAGE))
    for left in (1, 0):
        got = post(http, server, {"model": "claude-limits"}, x_api_key=SLOW)
        assert got.status_code == 200
        assert got.headers["anthropic-ratelimit-requests-limit"] == "2"
        assert got.headers["anthropic-ratelimit-requests-remaining"] == str(left)
    datetime.strptime(got.headers["anthropic-ratelimit-tokens-reset"], "%Y-%m-%dT%H:%M:%SZ")
    assert not [name for name in got.headers if name.startswith("x-ratelimit")]
    got = post(http, server, {"model": "claude-limits"}, x_api_key=SLOW)
    assert refused(got)[:2] == (429, "rate_limit_error")
    assert got.headers["retry-after"].isdigit()
    assert got.headers["anthropic-ratelimit-requests-remaining"] == "0"
    counted = post(http, server, {"model": "other/x"}, "/v1/messages/count_tokens", x_api_key=SLOW)
    assert counted.status_code == 200


def test_a_limited_key_chooses_no_other_model(http: httpx.Client, server: Process, upstream: Upstream) -> None:
    body = {"model": "claude-fallbacks", "fallbacks": [{"model": "claude-dear"}]}
    upstream.script("claude-fallbacks", answer(MESSAGE))
    assert post(http, server, body).status_code == 200
    got = post(http, server, body, x_api_key=CHEAP)
    assert refused(got)[:2] == (400, "invalid_request_error") and "fallbacks" in got.text
    assert len(upstream.of("claude-fallbacks")) == 1


# Models


@pytest.mark.case(messages=7)
def test_models(http: httpx.Client, server: Process, sdk: Anthropic) -> None:
    key = {"x-api-key": LAPTOP}
    names = ["both", "mixed", "quiet"]
    page = sdk.models.list()
    assert [model.id for model in page.data] == names
    assert page.data[0].capabilities is not None and page.data[0].capabilities.thinking.types.adaptive.supported in (
        True,
        False,
    )
    assert (page.first_id, page.last_id, page.has_more) == ("both", "quiet", False)
    assert [model.id for model in sdk.models.list(limit=1)] == names
    assert [model.id for model in sdk.models.list(limit=1, before_id="quiet").data] == ["mixed"]
    assert sdk.models.retrieve("claude-new").display_name == "claude-new"
    for url in (f"{server.url}/models?limit=1000", f"{server.url}/models"):
        got = http.get(url, headers=key | (VERSION if "?" not in url else {}))
        assert [card["type"] for card in got.json()["data"]] == ["model"] * 3
    assert http.get(f"{server.url}/models?limit=1", headers=key).json()["has_more"] is True
    [first, *_] = http.get(f"{server.url}/models", headers=key).json()["data"]
    assert (first["object"], first["type"], first["display_name"]) == ("model", "model", "both")
    assert refused(http.get(f"{server.url}/models", headers=VERSION))[:2] == (401, "authentication_error")
    got = http.get(f"{server.url}/models?limit=0", headers=key | VERSION)
    assert refused(got)[:2] == (400, "invalid_request_error")


# Counting


@pytest.mark.case(messages=88)
def test_counts_of_claude(http: httpx.Client, server: Process, sdk: Anthropic, upstream: Upstream) -> None:
    upstream.script("claude-count", answer(b'{"input_tokens" : 12}'))
    assert sdk.messages.count_tokens(model="claude-count", messages=HI).input_tokens == 12
    path = "/v1/messages/count_tokens"
    got = http.post(
        f"{server.root}{path}?beta=true", json={"model": "claude-count", "messages": HI}, headers={"x-api-key": LAPTOP}
    )
    assert got.content == b'{"input_tokens" : 12}'
    assert (upstream.of("claude-count")[0].json, upstream.of("claude-count")[1].path) == (
        {"messages": HI, "model": "claude-count"},
        f"{path}?beta=true",
    )
    wrong = {"type": "error", "error": {"type": "not_found_error", "message": "model: claude-x"}}
    upstream.script("claude-unknown", answer(wrong, 404))
    assert refused(post(http, server, {"model": "claude-unknown"}, path))[:2] == (404, "not_found_error")
    for script in (
        answer(wrong, 500),
        answer({"error": {"message": "Not Found"}}, 404),
        answer("no", 405),
        answer(OVERLOADED, 529),
        answer({"object": "x"}),
    ):
        upstream.script("claude-uncounted", script)
        got = post(http, server, {"model": "claude-uncounted"}, path)
        assert (got.status_code, got.headers["x-modelserver-estimated"]) == (200, "input_tokens")
        assert got.json()["estimated"] is True
    upstream.script(
        "claude-refused", answer(OVERLOADED | {"error": {"type": "invalid_request_error", "message": "m"}}, 400)
    )
    assert post(http, server, {"model": "claude-refused"}, path).status_code == 400


@pytest.mark.case(messages=89)
def test_other_counts(http: httpx.Client, server: Process, upstream: Upstream) -> None:
    path = "/v1/messages/count_tokens"
    upstream.script("gemini-3-pro", answer({"totalTokens": 9, "promptTokensDetails": []}))
    got = post(http, server, {"model": "google/gemini-3-pro"}, path)
    assert got.json() == {"input_tokens": 9}
    [sent] = upstream.of("gemini-3-pro")
    assert sent.path == "/v1beta/models/gemini-3-pro:countTokens"
    asked = sent.json["generateContentRequest"]
    assert (asked["model"], asked["contents"]) == ("models/gemini-3-pro", [{"role": "user", "parts": [{"text": "hi"}]}])
    assert "generationConfig" not in asked
    upstream.script("gemini-3-off", answer({"error": {"code": 500, "message": "x"}}, 500))
    assert post(http, server, {"model": "google/gemini-3-off"}, path).json()["estimated"] is True
    small = post(http, server, {"model": "other/m"}, path).json()["input_tokens"]
    large = post(http, server, {"model": "other/m", "system": "x" * 1000}, path).json()["input_tokens"]
    assert large > small + 200
    assert not upstream.of("m")
    assert refused(http.post(f"{server.root}{path}", json={"model": "m"}, headers={"x-api-key": LAPTOP}))[0] == 400
    assert refused(http.post(f"{server.root}{path}", json={"model": "m", "messages": HI}))[0] == 401
