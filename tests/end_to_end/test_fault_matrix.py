"""The fault matrix F1-F50 against the real process: what the client sees, how often the upstream was asked, what the log
and the metrics say. The rows, and what of them cannot be made on a test machine, are in test_matrix_rows.py.
"""

import ast
import asyncio
import gzip
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from http_client import Got, ask, delta, dial, metric, raw, whole
from process import ROOT, Process, config
from scripted import ABORT, CLOSE, FOREVER, Script, Upstream, answer, chunked, head, sse, stream, until_close

from gateway.config_schema import Timeouts
from providers.errors import Failure, UpstreamTruncated
from server.outbound.pool import ConnectionPool

Scripted = Callable[..., str]

HASTY = """
timeouts: {connect: 0.7, first_byte: 0.6, between_bytes: 0.5, write: 0.5, request_body: 0.5, attempts: 5, total: 2.5}
keep_alive: {after: 0.2, every: 0.1}
max_answer: 1MiB
max_event: 64KiB
cooldown: {failures: 3, seconds: 1}
"""
KEY = "sk-upstream-canary"
START = sse(delta("", role="assistant"), delta("Once "), done=False)
END = sse(delta("upon"), delta(finish="stop"))


@pytest.fixture(scope="module")
def hole() -> Iterator[int]:
    """A port where connections are neither accepted nor refused: its queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = []
        for _ in range(8):
            each = socket.socket()
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
            waiting.append(each)
        yield port
        for each in waiting:
            each.close()


@pytest.fixture(scope="module")
def closed() -> int:
    """A port where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def other() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def server(upstream: Upstream, other: Upstream, hole: int, closed: int) -> Iterator[Process]:
    text = config(upstream, server=HASTY, models=MODELS)
    text = text.replace(
        "models:\n",
        f"""  other: {{protocol: openai, base_url: "{other.url}/v1"}}
  nowhere: {{protocol: openai, base_url: "https://nowhere.invalid/v1"}}
  refused: {{protocol: openai, base_url: "http://127.0.0.1:{closed}/v1"}}
  hole: {{protocol: openai, base_url: "http://127.0.0.1:{hole}/v1"}}
  plain: {{protocol: openai, base_url: "https://127.0.0.1:{upstream.port}/v1"}}
  claude: {{protocol: anthropic, base_url: "{upstream.url}", api_key: sk-ant-canary-0123456789}}
  pair: {{protocol: openai, base_url: "{upstream.url}/v1", api_key: [sk-one-canary-1, sk-two-canary-2]}}
models:
""",
        1,
    )
    with Process(text) as process:
        yield process


MODELS = """
refused-then-other: [refused/x, other/f3]
silent-then-other: [up/silent-first, other/f9]
bad-then-other: [up/bad-first, other/f18]
overloaded-then-other: [claude/f30, other/f30]
hanging-then-throttled: {targets: [up/f49-a, other/f49-b], first_byte: 0.6}
"""


def check(
    got: Got, status: int, code: str | None, upstream: Upstream | None = None, name: str = "", asked: int = 1
) -> None:
    """The client's side: status, code, the four keys of an error, an id. And how often the upstream was asked."""
    assert (got.status, got.code) == (status, code), got.body
    if got.error:
        assert set(got.error) == {"message", "type", "param", "code"} and not got.done
        assert KEY not in got.body and "127.0.0.1" not in got.body
    assert got.headers["x-request-id"]
    if upstream is not None:
        assert len(upstream.of(name)) == asked


def told(server: Process, got: Got, status: int, code: str | None, **more: Any) -> None:
    """The log's side: one line of the request."""
    line = server.logged(request=got.headers["x-request-id"], status=status)
    assert line.get("code") == code
    for name, value in more.items():
        assert value in str(line[name]), line


# Before an answer: F1, F3-F9


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("provider", "status", "code", "within"),
    [
        ("nowhere", 502, "upstream_dns", 3),
        ("refused", 502, "upstream_connect", 1),
        ("hole", 504, "upstream_connect_timeout", 1.5),
        ("plain", 502, "upstream_tls", 1),
    ],
)
@pytest.mark.fault("F1", "F3", "F4")
def test_no_connection(server: Process, provider: str, status: int, code: str, within: float, streamed: bool) -> None:
    before = metric(server, "upstream_errors_total", upstream=provider, code=code)
    began = time.monotonic()
    got = ask(server, f"{provider}/f1-{streamed}", streamed)
    assert time.monotonic() - began < within
    if streamed and got.status == 200:  # a comment had opened the line
        assert got.code == code and not got.done
    else:
        check(got, status, code)
        assert got.headers.get("x-should-retry") is None  # nothing was paid
    told(server, got, got.status, code, tried=f"{provider}/f1-{streamed}: {code}")
    tries = 2 if provider == "refused" else 1  # a refused connection is tried once more
    assert metric(server, "upstream_errors_total", upstream=provider, code=code) == before + tries


@pytest.mark.fault("F5")
def test_a_plain_port_is_sent_no_request(server: Process, upstream: Upstream) -> None:
    before = len(upstream.requests)
    check(ask(server, "plain/f5"), 502, "upstream_tls")
    assert len(upstream.requests) == before


@pytest.mark.fault("F2")
async def test_a_hanging_resolver_counts_as_connecting() -> None:
    class Hanging(AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
            await asyncio.sleep(60)
            raise AssertionError

        async def close(self) -> None:
            pass

    pool = ConnectionPool(Timeouts(connect=0.2), "test", 1, True, lambda: None, Hanging())
    with pytest.raises(Failure) as caught:
        await pool.request("POST", "https://slow.example/v1", {}, b"{}", 5)
    assert (caught.value.status, caught.value.code, pool.calls) == (504, "upstream_connect_timeout", 0)
    await pool.aclose()


@pytest.mark.fault("F3")
def test_refused_falls_back(server: Process, other: Upstream) -> None:
    other.script("f3", answer(whole("from the other")))
    fallbacks = metric(server, "fallbacks_total")
    got = ask(server, "refused-then-other")
    check(got, 200, None, other, "f3")
    assert (got.text, got.headers["x-modelserver-upstream"]) == ("from the other", "other/f3")
    told(server, got, 200, None, tried="refused/x: upstream_connect")
    assert metric(server, "fallbacks_total") == fallbacks + 1


@pytest.mark.parametrize("end", [CLOSE, ABORT])
@pytest.mark.fault("F6", "F7")
def test_closed_before_the_status_line(server: Process, upstream: Upstream, scripted: Scripted, end: str) -> None:
    name = scripted([end])
    got = ask(server, f"up/{name}")
    check(got, 502, "upstream_error", upstream, name)
    assert got.headers["x-should-retry"] == "false"
    told(server, got, 502, "upstream_error")


@pytest.mark.parametrize("end", [CLOSE, ABORT])
@pytest.mark.fault("F6", "F7", "F50")
def test_a_stale_connection_is_replaced(upstream: Upstream, scripted: Scripted, end: str) -> None:
    """F6, F7 and F50: a pooled connection that ends with the next request on it."""
    name = scripted(answer(whole("one")), [end], answer(whole("two")))
    with Process(config(upstream)) as server:
        assert ask(server, f"up/{name}").text == "one"
        assert ask(server, f"up/{name}").text == "two"
        assert len(upstream.of(name)) == 3
        assert metric(server, "stale_connections_total") == 1
        assert metric(server, "retries_total") == 0  # it is no second call: nobody had taken the first


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ],
)
@pytest.mark.fault("F8")
def test_garbage_for_http(server: Process, upstream: Upstream, scripted: Scripted, garbage: bytes) -> None:
    name = scripted([garbage, CLOSE])
    got = ask(server, f"up/{name}")
    check(got, 502, "upstream_protocol", upstream, name)
    told(server, got, 502, "upstream_protocol")


@pytest.mark.parametrize("script", [[FOREVER], [head(kind="text/event-stream"), FOREVER]])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.fault("F9")
def test_silence(server: Process, upstream: Upstream, scripted: Scripted, script: Script, streamed: bool) -> None:
    """A whole answer may take as long as a request: of one that is not streamed, nobody can tell silence from work."""
    name = scripted(script)
    got = ask(server, f"up/{name}", streamed)
    if streamed:
        assert got.status == 200 and got.code == "upstream_first_byte_timeout" and ": keep-alive\n\n" in got.body
    else:
        assert got.status == 504 and got.code in (
            "upstream_first_byte_timeout",
            "total_timeout",
        )  # both are due at once
    request = upstream.wait(name)
    assert request.wait_left() - request.at < (1.5 if streamed else 4) and request.peer_left
    assert len(upstream.of(name)) == 1


@pytest.mark.fault("F9")
def test_silence_falls_back(server: Process, upstream: Upstream, other: Upstream) -> None:
    upstream.script("silent-first", [FOREVER])
    other.script("f9", stream(sse(delta("from the other"), delta(finish="stop"))))
    got = ask(server, "silent-then-other", True)
    assert (got.status, got.text) == (200, "from the other")
    told(server, got, 200, None, tried="up/silent-first: upstream_first_byte_timeout", upstream="other/f9")


def test_a_model_that_thinks_may_take_longer(upstream: Upstream) -> None:
    timeouts = "timeouts: {first_byte: 0.3, first_byte_reasoning: 5}"
    models = "quick: {targets: [up/late], first_byte: 0.2}\nslow: {targets: [up/late], first_byte: 5}"
    late = [0.6, *stream(sse(delta("thought"), delta(finish="stop")))]
    upstream.script("late", late)
    upstream.script("o1", late)
    upstream.script("late-whole", [0.6, *answer(whole("thought"))])
    models += "\nquick-whole: {targets: [up/late-whole], first_byte: 0.2}"
    with Process(config(upstream, server=timeouts, models=models)) as server:
        assert ask(server, "up/late", True).code == "upstream_first_byte_timeout"
        assert ask(server, "up/late", True, reasoning_effort="high").text == "thought"
        assert ask(server, "up/o1", True).text == "thought"  # always thinks: a fact of models.yaml
        assert ask(server, "slow", True).text == "thought"
        assert ask(server, "quick", True, reasoning_effort="high").code == "upstream_first_byte_timeout"
        assert ask(server, "up/late-whole").text == "thought"  # not streamed: it has no first byte before its last word
        assert ask(server, "quick-whole").code == "upstream_first_byte_timeout"  # its own entry says so


def test_until_something_is_said_the_patience_is_that_of_the_first_byte(upstream: Upstream) -> None:
    """Models that reason open a stream and think; once they speak, silence is a fault, from the first read on."""
    timeouts = "timeouts: {first_byte: 5, between_bytes: 0.4}\nkeep_alive: {after: 0.1, every: 0.1}"
    opened, rest = sse(delta("", role="assistant"), done=False), sse(delta("thought"), delta(finish="stop"))
    upstream.script("thinks", [*stream(opened, end=False), 1, *chunked(rest)])
    upstream.script("comments", [*stream(b": hm\n\n", end=False), 1, *chunked(opened + rest)])
    upstream.script("blanks", [head(headers={"Transfer-Encoding": "chunked"}), *chunked(b"\n", end=False), 1,
                               *chunked(json.dumps(whole("thought")).encode())])  # fmt: skip
    upstream.script("speaks", [*stream(START, end=False), 3, *chunked(END)])
    upstream.script("half", [head(headers={"Content-Length": "500"}), b'{"choices": [', 3, CLOSE])
    with Process(config(upstream, server=timeouts)) as server:
        for name in ("thinks", "comments"):
            assert ask(server, f"up/{name}", True).text == "thought"
        assert ask(server, "up/blanks").text == "thought"
        for name, streamed, text in (("speaks", True, "Once "), ("half", False, "")):
            got = ask(server, f"up/{name}", streamed)
            assert (got.text if streamed else "", got.code) == (text, "upstream_idle_timeout")
            assert (
                upstream.of(name)[0].wait_left() and upstream.of(name)[0].peer_left
            )  # before the three seconds were over
    raised = "timeouts: {first_byte: 0.4, between_bytes: 5}"
    with Process(config(upstream, server=raised)) as server:
        upstream.script("slow", [*stream(START, end=False), 1, *chunked(END)])
        upstream.script("slow-start", [*stream(opened, end=False), 1, *chunked(rest)])
        assert ask(server, "up/slow", True).text == "Once upon"
        assert ask(server, "up/slow-start", True).text == "thought"


# In the middle of an answer: F10-F18


@pytest.mark.fault("F10")
def test_one_event_then_silence(server: Process, upstream: Upstream, scripted: Scripted) -> None:
    name = scripted([*stream(START, end=False), FOREVER])
    got = ask(server, f"up/{name}", True)
    assert (got.status, got.text, got.code, got.done) == (200, "Once ", "upstream_idle_timeout", False)
    assert ": keep-alive\n\n" in got.body.partition("Once ")[2]  # pings in the pause
    assert upstream.wait(name).wait_left() and len(upstream.of(name)) == 1
    told(server, got, 200, "upstream_idle_timeout")
    assert metric(server, "upstream_errors_total", upstream="up", code="upstream_idle_timeout") >= 1


@pytest.mark.parametrize(
    "script",
    [
        [*stream(START, end=False), 0.1, CLOSE],
        [*stream(START, end=False), 0.1, ABORT],
        [*until_close(START)[:-1], 0.1, CLOSE],
        [*stream(START, end=False), 0.1, b"0\r\n\r\n"],
    ],
    ids=["FIN", "RST", "clean close", "clean end"],
)
@pytest.mark.fault("F11", "F12", "F13")
def test_cut_in_mid_stream(server: Process, upstream: Upstream, scripted: Scripted, script: Script) -> None:
    before = metric(server, "upstream_errors_total", upstream="up", code="upstream_truncated")
    name = scripted(script)
    got = ask(server, f"up/{name}", True)
    assert (got.status, got.text, got.code, got.done) == (200, "Once ", "upstream_truncated", False)
    assert len(upstream.of(name)) == 1
    told(server, got, 200, "upstream_truncated")
    assert metric(server, "upstream_errors_total", upstream="up", code="upstream_truncated") == before + 1


@pytest.mark.fault("F12")
async def test_what_had_arrived_before_a_reset_is_delivered(upstream: Upstream, scripted: Scripted) -> None:
    """S13: the reader is behind (its client is slow) when text and reset arrive."""
    name = scripted([*stream(START, end=False), *chunked(b"more", end=False), 0.05, ABORT])
    pool = ConnectionPool(Timeouts(), "test", 1, True, lambda: None)
    answer = await pool.request("POST", f"{upstream.url}/models/{name}", {}, b"{}", 5)
    upstream.of(name)[0].wait_left()
    await asyncio.sleep(0.1)  # for the reset to be seen
    assert await answer.read() == START + b"more"
    with pytest.raises(UpstreamTruncated):
        await answer.read()
    answer.close()
    assert pool.calls == 0
    await pool.aclose()


@pytest.mark.fault("F14")
def test_a_finish_without_done_is_an_end(server: Process, upstream: Upstream, scripted: Scripted) -> None:
    name = scripted(stream(START + sse(delta(finish="stop"), done=False)))
    got = ask(server, f"up/{name}", True)
    assert (got.text, got.code, got.done) == ("Once ", None, True) and len(upstream.of(name)) == 1


@pytest.mark.fault("F15")
def test_done_ends_the_stream_though_the_upstream_stays(
    server: Process, upstream: Upstream, scripted: Scripted
) -> None:
    name = scripted([*stream(START + END, end=False), FOREVER])
    began = time.monotonic()
    got = ask(server, f"up/{name}", True)
    assert got.done and got.text == "Once upon" and time.monotonic() - began < 0.4
    assert upstream.of(name)[0].wait_left() - began < 1


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ([head(headers={"Content-Length": "500"}), b'{"choices": [', CLOSE], "upstream_truncated"),
        (answer(b'{"choices": ['), "upstream_bad_json"),
        (answer(b""), "upstream_bad_json"),
        (answer("<html>nginx</html>", kind="text/html"), "upstream_bad_json"),
        ([head(204)], "upstream_protocol"),
        (answer(b"", 307, {"Location": "http://127.0.0.1:1/steal"}), "upstream_protocol"),
        (answer(b"{}", 999), "upstream_error"),
    ],
    ids=["short", "broken JSON", "empty", "HTML", "204", "307", "999"],
)
@pytest.mark.fault("F16", "F17", "F19")
def test_answers_that_are_none(
    server: Process, upstream: Upstream, scripted: Scripted, script: Script, code: str
) -> None:
    name = scripted(script)
    got = ask(server, f"up/{name}")
    check(got, 502, code, upstream, name)
    told(server, got, 502, code)
    if code not in ("upstream_error", "upstream_protocol"):
        assert got.headers["x-should-retry"] == "false"


BAD = b'data: {"choices":[{"index":0,"delta":{"tool_ca\n\n'


@pytest.mark.fault("F18")
def test_a_bad_event_ends_the_stream(server: Process, upstream: Upstream, other: Upstream, scripted: Scripted) -> None:
    """At the first one: what is left out of a text or of arguments can make another valid one of the rest."""
    for script in (
        [*stream(START, end=False), 0.1, *chunked(BAD + END)],
        [*stream(START, end=False), *chunked(BAD + END)],
    ):
        name = scripted(script)
        got = ask(server, f"up/{name}", True)
        assert (got.text, got.code, got.done) in (
            ("Once ", "upstream_bad_output", False),
            ("", "upstream_bad_output", False),
        )
        assert len(upstream.of(name)) == 1
    got = ask(
        server,
        f"up/{scripted([*stream(START, end=False), 0.1, *chunked(sse(delta('upon '), done=False) + BAD)])}",
        True,
    )
    assert (got.text, got.code) == ("Once upon ", "upstream_bad_output")  # what came before it is shown
    check(ask(server, f"up/{scripted(stream(BAD + START + END))}", True), 502, "upstream_bad_output")
    upstream.script("bad-first", stream(sse(delta(role="assistant"), done=False) + BAD + END))
    other.script("f18", stream(START + END))
    assert ask(server, "bad-then-other", True).text == "Once upon"


def test_words_among_the_events_are_ignored(server: Process, scripted: Scripted) -> None:
    words = b"data: ping\n\ndata: <!-- alive -->\n\n" * 5
    assert ask(server, f"up/{scripted(stream(words + START + words + END))}", True).text == "Once upon"


def test_lost_blank_lines_lose_no_events(server: Process, scripted: Scripted) -> None:
    lines = START + END
    for each in (lines.replace(b"\n\n", b"\n"), lines.replace(b"\n\n", b"\n", 2), lines.replace(b"\n\ndata: ", b"", 1)):
        got = ask(server, f"up/{scripted(stream(each))}", True)
        assert (got.text, got.code, got.done) == ("Once upon", None, True)


SAID_ALL = START + sse(delta("upon"), delta(finish="stop"), {"choices": [], "usage": {"prompt_tokens": 3}}, done=False)


@pytest.mark.parametrize("end", [[0.05, CLOSE], [0.05, ABORT], [0.05, b"zz\r\n", FOREVER], [FOREVER]],
                         ids=["closed", "reset", "broken chunks", "left open"])  # fmt: skip
@pytest.mark.parametrize("tail", [b"", b'data: {"choices":[],"usa'], ids=["", "in an event"])
def test_an_answer_that_is_complete_may_end_badly(
    server: Process, scripted: Scripted, end: list[Any], tail: bytes
) -> None:
    got = ask(server, f"up/{scripted([*stream(SAID_ALL + tail, end=False), *end])}", True)
    assert (got.text, got.code, got.done) == ("Once upon", None, True)


@pytest.mark.parametrize("end", [CLOSE, ABORT, FOREVER])
def test_a_whole_answer_that_is_complete_may_end_badly(server: Process, scripted: Scripted, end: Any) -> None:
    body = json.dumps(whole("Hi")).encode()
    for first in (head(headers={"Content-Length": "500"}), head(headers={"Transfer-Encoding": "chunked"})):
        sent = [b"%x\r\n%s\r\n" % (len(body), body)] if b"chunked" in first else [body]
        assert ask(server, f"up/{scripted([first, *sent, 0.05, end])}").text == "Hi"


# Too much: F20, F21, F23, F24


def resident(server: Process) -> int:
    return int(metric(server, "resident_bytes"))


@pytest.mark.fault("F20")
def test_a_line_without_an_end(server: Process, upstream: Upstream, scripted: Scripted) -> None:
    name = scripted([*stream(START, end=False), 0.1, *chunked(b"data: " + b"a" * 2**24, 2**16, end=False), FOREVER])
    before = resident(server)
    got = ask(server, f"up/{name}", True)
    assert (got.text, got.code, got.done) == ("Once ", "upstream_event_too_large", False)
    assert resident(server) - before < 8 * 2**20
    upstream.of(name)[0].wait_left()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.fault("F24")
def test_a_gzip_bomb(server: Process, upstream: Upstream, scripted: Scripted, streamed: bool) -> None:
    bomb = gzip.compress(b'{"a": "' + b"a" * (100 * 2**20) + b'"}', 6) if not streamed else gzip.compress(b"a" * 2**26)
    kind = "text/event-stream" if streamed else "application/json"
    name = scripted(answer(bomb, headers={"Content-Encoding": "gzip"}, kind=kind))
    before = resident(server)
    got = ask(server, f"up/{name}", streamed)
    check(got, 502, "upstream_event_too_large" if streamed else "upstream_too_large", upstream, name)
    assert resident(server) - before < 24 * 2**20
    assert upstream.of(name)[0].headers["accept-encoding"] == "identity"


@pytest.mark.fault("F21")
def test_bad_utf8_nul_and_half_an_emoji(server: Process, scripted: Scripted) -> None:
    lines = [b'data: {"choices":[{"index":0,"delta":{"content":"a\xff\xfeb"}}]}\n\n']
    lines += [b'data: {"choices":[{"index":0,"delta":{"content":"\\u0000\\ud83d"}}]}\n\n']
    name = scripted(stream(b"".join(lines) + END, cut=3))
    got = ask(server, f"up/{name}", True)
    assert got.done and got.text == "a\ufffd\ufffdb\x00\ud83dupon"


@pytest.mark.fault("F23")
def test_comments_for_ever_end_with_the_total_time(server: Process, upstream: Upstream, scripted: Scripted) -> None:
    pings: Script = [piece for _ in range(60) for piece in (*chunked(b": ping\n\n", end=False), 0.1)]
    name = scripted([*stream(START, end=False), *pings])
    began = time.monotonic()
    got = ask(server, f"up/{name}", True)
    assert (got.text, got.code, got.done) == ("Once ", "total_timeout", False)
    assert 2.2 < time.monotonic() - began < 4.5
    assert upstream.of(name)[0].wait_left() - began < 5.5
    told(server, got, 200, "total_timeout")


def test_the_total_time_of_a_whole_answer(server: Process, upstream: Upstream, scripted: Scripted) -> None:
    name = scripted([head(headers={"Content-Length": "900"}), *[step for _ in range(60) for step in (b" ", 0.1)]])
    got = ask(server, f"up/{name}")
    check(got, 504, "total_timeout", upstream, name)
    assert got.headers["x-should-retry"] == "false"
    upstream.of(name)[0].wait_left()


# What upstreams say is wrong: F25-F31


@pytest.mark.fault("F25")
def test_a_bad_request_keeps_its_words_without_secrets(server: Process, upstream: Upstream, scripted: Scripted) -> None:
    words = f"Bad seed; you sent Bearer {KEY} to {upstream.url}/v1 (AIzaSyDummyDummyDummy, sk-someone-elses-key)"
    error = {"message": words, "type": "x", "param": "seed", "code": f"bad-{KEY}"}
    name = scripted(answer({"error": error}, 400))
    got = ask(server, f"up/{name}")
    assert (got.status, got.error) == (
        400,
        {
            "message": "Bad seed; you sent Bearer … to http://[upstream]/v1 ([secret], …)",
            "type": "invalid_request_error",
            "param": "seed",
            "code": "bad-[secret]",
        },
    )
    assert len(upstream.of(name)) == 1
    name = scripted([*stream(START, end=False), 0.1, *chunked(sse({"error": error}))])
    got = ask(server, f"up/{name}", True)
    assert got.error and "[secret]" in got.error["message"] and KEY not in got.body and upstream.url not in got.body


def test_the_operator_is_told_what_will_not_mend_itself_once_a_minute(upstream: Upstream, scripted: Scripted) -> None:
    refused = scripted(answer({"error": {"message": f"Incorrect API key provided: {KEY}"}}, 401))
    broke = scripted(answer({"error": {"message": "pay", "code": "insufficient_quota"}}, 429))
    text = config(upstream).replace("models:", '  gone: {host: vllm, base_url: "https://gone.invalid/v1"}\nmodels:', 1)
    with Process(text) as server:
        for model in (f"up/{refused}", f"up/{broke}", f"up/{scripted(answer({}, 500))}", "gone/x"):
            for _ in range(3):
                assert ask(server, model).status in (502, 503)
        server.logged(level="warning", message="provider gone has a host name that cannot be resolved (upstream_dns)")
    warnings = [line["message"] for line in server.lines() if line.get("level") == "warning"]
    assert sorted(warnings) == [
        "provider gone has a host name that cannot be resolved (upstream_dns)",
        "provider up refuses this server's key (upstream_auth_error)",
        "provider up says that the account's quota or credit is used up (upstream_quota_exhausted)",
    ]


@pytest.mark.parametrize("status", [401, 407])
@pytest.mark.fault("F26")
def test_our_key_is_refused(server: Process, upstream: Upstream, scripted: Scripted, status: int) -> None:
    name = scripted(answer({"error": {"message": f"Incorrect API key provided: {KEY}"}}, status))
    got = ask(server, f"up/{name}")
    check(got, 502, "upstream_auth_error", upstream, name)
    assert got.error and "Incorrect" not in got.error["message"]
    assert got.headers["x-should-retry"] == "false"


@pytest.mark.fault("F26")
def test_a_refused_key_is_benched_and_the_other_answers(server: Process, upstream: Upstream) -> None:
    refusal = answer({"error": {"message": "no"}}, 401)
    upstream.script("bench", refusal, answer(whole("good")))
    got = ask(server, "pair/bench")
    check(got, 200, None, upstream, "bench", 2)
    first, second = (request.headers["authorization"] for request in upstream.of("bench"))
    assert first != second
    for _ in range(8):
        assert ask(server, "pair/bench").text == "good"
    assert {request.headers["authorization"] for request in upstream.of("bench")[2:]} == {second}
    told(server, got, 200, None, tried="pair/bench: upstream_auth_error")


@pytest.mark.fault("F27")
def test_no_such_model_there(server: Process, upstream: Upstream, scripted: Scripted) -> None:
    name = scripted(answer({"error": {"message": "no such model"}}, 404))
    check(ask(server, f"up/{name}"), 404, "model_not_found", upstream, name)


@pytest.mark.fault("F28")
def test_throttled(server: Process, upstream: Upstream, scripted: Scripted) -> None:
    name = scripted(answer({"error": {"message": "slow down"}}, 429, {"Retry-After": "7"}))
    for asked in (1, 1):  # the second is answered here: the key rests
        got = ask(server, f"up/{name}")
        check(got, 429, "rate_limit_exceeded", upstream, name, asked)
        assert got.headers["retry-after"] in ("6", "7") and got.error and got.error["type"] == "rate_limit_error"


@pytest.mark.fault("F28")
def test_throttled_keys_take_turns(server: Process, upstream: Upstream) -> None:
    slow = answer({"error": {"message": "slow down"}}, 429, {"Retry-After": "30"})
    upstream.script("turns", slow, answer(whole("one")), slow)
    assert ask(server, "pair/turns").text == "one"
    got = ask(server, "pair/turns")  # the other key, now throttled too
    check(got, 429, "rate_limit_exceeded", upstream, "turns", 3)
    got = ask(server, "pair/turns")  # both rest
    check(got, 429, "rate_limit_exceeded", upstream, "turns", 3)


@pytest.mark.fault("F28")
def test_a_short_retry_after_is_waited_for(server: Process, upstream: Upstream, scripted: Scripted) -> None:
    retries = metric(server, "retries_total")
    name = scripted(answer({}, 429, {"Retry-After": "1"}), answer(whole("second")))
    began = time.monotonic()
    got = ask(server, f"up/{name}")
    check(got, 200, None, upstream, name, 2)
    assert got.text == "second" and time.monotonic() - began > 1
    told(server, got, 200, None, tried=f"up/{name}: rate_limit_exceeded")
    assert metric(server, "retries_total") == retries + 1


@pytest.mark.parametrize(
    ("status", "ours", "code", "asked"),
    [
        (500, 502, "upstream_error", 1),  # it may have worked on it
        (502, 502, "upstream_error", 2),
        (503, 503, "overloaded", 2),
        (529, 503, "overloaded", 2),
        (504, 504, "upstream_timeout", 1),
    ],
)
@pytest.mark.fault("F29")
def test_upstream_errors(
    server: Process, upstream: Upstream, scripted: Scripted, status: int, ours: int, code: str, asked: int
) -> None:
    name = scripted(answer({"error": {"message": "sorry"}}, status))
    got = ask(server, f"up/{name}")
    check(got, ours, code, upstream, name, asked)
    told(server, got, ours, code)


OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
MESSAGE = {"type": "message_start", "message": {"id": "m", "role": "assistant", "usage": {"input_tokens": 1}}}


def named(*events: dict[str, Any]) -> bytes:
    return b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)


@pytest.mark.fault("F30")
def test_an_error_event_before_the_first_word_falls_back(server: Process, upstream: Upstream, other: Upstream) -> None:
    """A stream that opened with a role and then says that it is overloaded has said nothing yet."""
    upstream.script("f30", [*stream(named(MESSAGE), end=False), 0.1, *chunked(named(OVERLOADED))])
    other.script("f30", stream(START + END))
    got = ask(server, "overloaded-then-other", True)
    check(got, 200, None, upstream, "f30")
    assert got.done and got.text == "Once upon"
    told(server, got, 200, None, tried="claude/f30: overloaded", upstream="other/f30")


@pytest.mark.fault("F30")
def test_an_error_event_after_the_first_word_ends_the_stream(server: Process, upstream: Upstream) -> None:
    text = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    piece = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Once "}}
    upstream.script("f30b", [*stream(named(MESSAGE, text, piece), end=False), 0.1, *chunked(named(OVERLOADED))])
    got = ask(server, "claude/f30b", True)
    assert (got.text, got.code, got.done) == ("Once ", "overloaded", False) and len(upstream.of("f30b")) == 1


@pytest.mark.fault("F31")
def test_a_target_that_keeps_failing_rests_and_is_tried_again(
    server: Process, upstream: Upstream, scripted: Scripted
) -> None:
    bad = answer({"error": {"message": "sorry"}}, 500)
    name = scripted(bad, bad, bad, answer(whole("back")))
    for _ in range(3):
        assert ask(server, f"up/{name}").status == 502
    assert metric(server, "targets_resting", upstream="up") >= 1
    got = ask(server, f"up/{name}")
    check(got, 503, "provider_unavailable", upstream, name, 3)
    assert got.headers["retry-after"] == "1"
    assert server.logged(request=got.headers["x-request-id"])["total_ms"] < 50  # 5 ms where nothing else runs
    time.sleep(1.05)
    assert ask(server, f"up/{name}").text == "back"  # half-open: one trial, and it closes
    assert ask(server, f"up/{name}").text == "back"


# Clients: F33-F35


@pytest.mark.fault("F33")
def test_half_closed_is_gone(server: Process, upstream: Upstream, scripted: Scripted) -> None:
    """F33: a client that shuts its sending side is taken to have left; HTTP clients do not do that."""
    name = scripted([*stream(START, end=False), FOREVER])
    with dial(server) as client:
        client.sendall(raw(f"up/{name}"))
        assert b"Once" in client.recv(65536) + client.recv(65536)
        client.shutdown(socket.SHUT_WR)
        upstream.wait(name).wait_left(2)
    server.logged(model=f"up/{name}", status=499)


@pytest.mark.fault("F34")
def test_a_client_that_never_reads(server: Process, upstream: Upstream, scripted: Scripted) -> None:
    flood = sse(delta("x" * 60_000), done=False)
    name = scripted([*stream(START, end=False), *chunked(flood * 400, len(flood), end=False), FOREVER])
    with dial(server) as client:
        client.sendall(raw(f"up/{name}"))
        began = time.monotonic()
        assert upstream.wait(name).wait_left() - began < 3
    server.logged(model=f"up/{name}", status=499)


@pytest.mark.fault("F35")
def test_a_slow_body(server: Process) -> None:
    before = metric(server, "request_bytes")
    with dial(server) as client:
        client.sendall(raw("echo")[:-20])
        began = time.monotonic()
        said = b""
        while b"}}" not in said:
            said += client.recv(65536)
        assert 0.4 < time.monotonic() - began < 2
    assert said.startswith(b"HTTP/1.1 408 ") and b'"code":"request_timeout"' in said
    assert metric(server, "request_bytes") == before


# Two at once: F49; and the rest


@pytest.mark.fault("F49")
def test_one_hangs_and_the_other_throttles(server: Process, upstream: Upstream, other: Upstream) -> None:
    upstream.script("f49-a", [FOREVER])
    other.script("f49-b", answer({}, 429, {"Retry-After": "9"}))
    began = time.monotonic()
    got = ask(server, "hanging-then-throttled")
    check(got, 429, "rate_limit_exceeded")
    assert time.monotonic() - began < 2
    assert len(upstream.of("f49-a")) + len(other.of("f49-b")) == 2
    told(
        server, got, 429, "rate_limit_exceeded",
        tried="up/f49-a: upstream_first_byte_timeout, other/f49-b: rate_limit_exceeded",
    )  # fmt: skip


@pytest.mark.fault("F5")
def test_tls_is_verified(certificate: tuple[ssl.SSLContext, Path]) -> None:
    """F5: a certificate nobody vouches for gets no request; with `ca_file` it is trusted, for its own name only."""
    context, ca_file = certificate
    with Upstream(ssl=context) as upstream:
        upstream.script("x", answer(whole("trusted")))
        url = f"https://localhost:{upstream.port}/v1"
        text = f"""
server: {{port: 0}}
providers:
  open: {{protocol: openai, base_url: "{url}", api_key: {KEY}}}
  own: {{protocol: openai, base_url: "{url}", api_key: {KEY}, ca_file: "{ca_file}"}}
  name: {{protocol: openai, base_url: "{url.replace("localhost", "127.0.0.1")}", ca_file: "{ca_file}"}}
"""
        with Process(text) as server:
            for provider in ("open", "name"):
                check(ask(server, f"{provider}/x"), 502, "upstream_tls")
            assert upstream.requests == []
            assert ask(server, "own/x").text == "trusted"


def wall_clocks(tree: ast.AST, function: str = "") -> Iterator[str]:
    """The functions that read the wall clock: names of those around each time.time(), or time() imported."""
    for node in ast.iter_child_nodes(tree):
        inside = node.name if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) else function
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="time"), attr="time") | ast.Name(id="time")):
                yield function
        yield from wall_clocks(node, inside)


@pytest.mark.fault("F46")
def test_no_timer_reads_the_wall_clock() -> None:
    """F46: a clock that jumps must not expire anything. time.time() may only stamp records and read dates."""
    files = [
        ROOT / "modelserver.py",
        *(p for ring in ("server", "gateway", "dialects", "providers") for p in (ROOT / ring).rglob("*.py")),
    ]
    uses = {
        (path.relative_to(ROOT).as_posix(), function)
        for path in files
        for function in wall_clocks(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert uses == {
        ("server/admin.py", "_key"),
        ("server/admin.py", "_limits"),
        ("server/admin.py", "keys"),
        ("server/answer.py", "_head"),
        ("server/auth.py", "authenticate"),
        ("server/commands/keys.py", "_used"),
        ("server/logs.py", "request"),
        ("server/outbound/exchange.py", "_failure"),
        ("server/rendering.py", "envelope"),
        ("server/traces.py", "__init__"),
        ("server/usage/ledger.py", "counting"),
        ("server/usage/ledger.py", "headers"),
        ("server/usage/ledger.py", "learn"),
        ("server/usage/ledger.py", "reserve"),
        ("server/usage/limiter.py", "extend"),
        ("server/usage/limiter.py", "reserve"),
        ("server/usage/limiter.py", "spent"),
        ("server/usage/redis_limiter.py", "_begin_budgets"),
        ("server/usage/redis_limiter.py", "reserve"),
        ("server/usage/reports.py", "_limits"),
        ("server/usage/reports.py", "usage"),
        ("server/usage/store.py", "_delete_expired"),
    }
