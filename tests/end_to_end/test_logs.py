"""The log of real processes: its fields, what must never be in it, and that nobody waits for it."""

import contextlib
import json
import os
import pty
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from io import FileIO
from typing import Any

import httpx2 as httpx
import pytest
from conftest import KEYS, LAPTOP, PHONE
from process import PATIENCE, Process, config, run
from scripted import ABORT, Script, Upstream, answer, chunked, sse, stream

from gateway.record import RequestRecord
from server.logs import Log

SAID = "magpie-in-a-prompt"
TOLD = "magpie-in-an-answer"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
WHOLE = {"choices": [{"message": {"role": "assistant", "content": TOLD}, "finish_reason": "stop"}], "usage": USAGE}
CHUNK = {"choices": [{"index": 0, "delta": {"content": TOLD}}]}
END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": USAGE}
WRONG = {"error": {"message": f"{TOLD} sk-upstream-canary", "type": "server_error"}}


@pytest.fixture(scope="module")
def logged(upstream: Upstream) -> Iterator[Process]:
    """A server with keys, whose whole output is looked at."""
    with Process(config(upstream, KEYS)) as process:
        yield process


def post(http: httpx.Client, server: Process, model: str, **more: Any) -> httpx.Response:
    ask = {"model": model, "messages": [{"role": "user", "content": SAID}], "user": SAID, **more}
    headers = {"authorization": f"Bearer {LAPTOP}", "x-magpie": SAID, "cookie": SAID}
    return http.post(f"{server.url}/chat/completions?q={SAID}", json=ask, headers=headers)


def test_the_line_of_a_request(http: httpx.Client, logged: Process, scripted: Callable[..., str]) -> None:
    for streamed, script in ((False, answer(WHOLE)), (True, stream(sse(CHUNK, END)))):
        name = scripted(script)
        got = post(http, logged, f"up/{name}", stream=streamed)
        line = logged.logged(request=got.headers["x-request-id"])
        assert line.pop("time").endswith("Z") and 0 < line.pop("first_ms") <= line.pop("total_ms")
        assert line == {
            "request": got.headers["x-request-id"],
            "method": "POST",
            "path": "/v1/chat/completions",
            "status": 200,
            "key": "laptop",
            "model": f"up/{name}",
            "upstream": f"up/{name}",
            "stream": streamed,
            "prompt_tokens": 3,
            "completion_tokens": 2,
        }


def test_the_line_of_a_failure(http: httpx.Client, logged: Process, scripted: Callable[..., str]) -> None:
    got = post(http, logged, f"up/{scripted(answer({}, 429))}")
    line = logged.logged(request=got.headers["x-request-id"])
    assert (line["status"], line["code"], line["key"]) == (429, "rate_limit_exceeded", "laptop")
    assert "upstream" not in line and "first_ms" not in line
    missing = http.get(logged.root + "/nothing")
    line = logged.logged(request=missing.headers["x-request-id"])
    assert (line["status"], line["code"], line["path"]) == (404, "unknown_url", "/nothing") and "key" not in line


def test_a_long_path_is_logged_in_part(http: httpx.Client, logged: Process) -> None:
    missing = http.get(f"{logged.root}/{'a' * 5000}")
    assert logged.logged(request=missing.headers["x-request-id"])["path"] == "/" + "a" * 499


SCENES: list[Script] = [
    answer(WHOLE),
    answer(WRONG, 500),
    answer(WRONG, 400),
    answer(WRONG, 401),
    answer(f"{TOLD} is not JSON"),
    answer({"choices": TOLD}),
    answer(f"<html>{TOLD}</html>", 502, kind="text/html"),
    [f"HTTP/1.1 {TOLD}\r\n\r\n".encode()],
    [*stream(sse(CHUNK, done=False), end=False), 0.02, ABORT],
    [*stream(sse(CHUNK, done=False), end=False), 0.02, *chunked(sse(WRONG))],
    stream(sse(CHUNK, TOLD, TOLD, TOLD)),
    [*stream(sse(CHUNK), end=False), 0.02, f"{TOLD}\r\n".encode()],
]


def test_no_content_and_no_key(upstream: Upstream, http: httpx.Client, scripted: Callable[..., str]) -> None:
    """Whatever happens: prompts, answers and keys are in nothing the process writes."""
    with Process(config(upstream, KEYS)) as server:
        for script in SCENES:
            for streamed in (False, True):
                post(http, server, f"up/{scripted(script)}", stream=streamed)
        for model in ("echo", "echo-error", "echo-cut", "echo-end", "echo-500", "nowhere", SAID[:0]):
            for streamed in (False, True):
                post(http, server, model, stream=streamed)
        post(http, server, "echo", temperature=SAID)
        post(http, server, "echo", tools=[{"type": SAID}], tool_choice=SAID)
        for key in (f"{LAPTOP}-{SAID}", f"{SAID} {LAPTOP}"):
            http.get(f"{server.url}/models", headers={"authorization": f"Bearer {key}", "x-api-key": PHONE})
        http.post(f"{server.url}/chat/completions", content=f'{{"{SAID}'.encode(), headers={"x-api-key": LAPTOP})
        for broken in (
            f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {LAPTOP}\x01\r\n\r\n",
            f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nx-api-key {LAPTOP}\r\n\r\n",
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nx-api-key: {LAPTOP}\r\nContent-Length: z{SAID}\r\n\r\n",
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nx-api-key: {LAPTOP}\r\nContent-Encoding: gzip\r\n"
            f"Content-Length: {len(SAID)}\r\n\r\n{SAID}",
            f"{SAID}\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as peer:
                peer.sendall(broken.encode())
                peer.recv(65536)
        asked = run(
            "ask", SAID, "-k", LAPTOP, "--port", str(server.port), "-m", "echo-error", text=config(upstream, KEYS)
        )
        last = http.get(server.root + "/healthz").headers["x-request-id"]
        server.logged(request=last)
        server.stop()
        wrote = server.out + server.err
    assert len(server.lines()) > 40
    for secret in (SAID, TOLD, LAPTOP, PHONE, "sk-upstream-canary", "canary"):
        assert secret not in wrote, [line for line in wrote.splitlines() if secret in line]
    assert LAPTOP not in asked.stdout + asked.stderr


def test_our_key_in_an_upstreams_words(http: httpx.Client, server: Process, scripted: Callable[..., str]) -> None:
    """Providers do quote the key they refuse; the client is not told."""
    for status in (400, 401, 403, 404, 429, 500, 503):
        for streamed in (False, True):
            ask = {"model": f"up/{scripted(answer(WRONG, status))}", "messages": [{"role": "user", "content": "x"}]}
            got = http.post(f"{server.url}/chat/completions", json={**ask, "stream": streamed})
            assert got.status_code >= 400 and "sk-upstream-canary" not in got.text
    name = scripted([*stream(sse(CHUNK, done=False), end=False), 0.05, *chunked(sse(WRONG))])
    ask = {"model": f"up/{name}", "messages": [{"role": "user", "content": "x"}], "stream": True}
    got = http.post(f"{server.url}/chat/completions", json=ask)
    assert '"error"' in got.text and "sk-upstream-canary" not in got.text


@pytest.mark.fault("F44")
def test_a_stuck_pipe_stops_nobody(http: httpx.Client) -> None:
    """Standard output is a pipe that nobody reads; far more is logged than it holds."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    outlet, inlet = os.pipe()
    text = config(more=KEYS).replace("port: 0", f"port: {port}")
    server = Process(text, stdout=inlet)
    os.close(inlet)
    try:
        server.at(port)
        wait_until_it_listens(port, server)
        model = "echo-length" + "x" * 4000  # unknown: 404, and a long line
        for _ in range(200):
            got = http.post(
                f"{server.url}/chat/completions",
                json={"model": model, "messages": [{"role": "user", "content": "x"}]},
                headers={"x-api-key": LAPTOP},
            )
            assert got.status_code == 404
        assert http.get(server.root + "/healthz").status_code == 200
        assert server.stop() == 0
    finally:
        os.close(outlet)
        server.kill()


def wait_until_it_listens(port: int, server: Process) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(server.err)


def test_no_name_can_end_the_log(http: httpx.Client, server: Process, scripted: Callable[..., str]) -> None:
    """An upstream's error code may be half an emoji, which JSON writers refuse: it is not taken for a code."""
    name = scripted(answer(b'{"error": {"message": "no", "code": "\\ud83d"}}', 400))
    got = http.post(
        f"{server.url}/chat/completions", json={"model": f"up/{name}", "messages": [{"role": "user", "content": "x"}]}
    )
    assert got.status_code == 400
    assert server.logged(request=got.headers["x-request-id"])["code"] == "invalid_request_error"


def test_text_lines_for_people(http: httpx.Client) -> None:
    with Process(config(server="log: text")) as server:
        ident = http.get(f"{server.url}/models/echo").headers["x-request-id"]
        evil = "x\n00:00:00.000 200 GET /feigned\x1b[2J"
        ask = {"model": evil, "messages": [{"role": "user", "content": "x"}]}
        assert http.post(f"{server.url}/chat/completions", json=ask).status_code == 404
        http.get(f"{server.url}/models/echo%0A00:00:00.000 200 GET /feigned")
        server.stop()
    [line] = [line for line in server.out.splitlines() if ident in line]
    assert re.fullmatch(rf"\d\d:\d\d:\d\d\.\d{{3}} 200 GET /v1/models/echo \d+ms request={ident}", line)
    assert not re.search(r"^\S+ 200 GET /feigned", server.out, re.M) and "\x1b" not in server.out


def test_a_line_says_what_was_known_when_its_request_ended() -> None:
    """The log's thread writes it while the loop may go on with the record: a drained answer is counted later."""
    reading, writing = os.pipe()
    with FileIO(reading) as out, FileIO(writing, "wb") as into:
        log = Log(into, as_json=True)
        record = RequestRecord("r", 1.0, key="k", model="m", upstream="u/m", tried=[("u/a", "overloaded")])
        log.request(record, "POST", "/v1/chat/completions", 499, 2.0)
        record.prompt, record.completion, record.code, record.upstream = 3, 2, "late", "u/late"
        record.tried.append(("u/b", "late"))
        log.close()
        into.close()
        [line] = [json.loads(each) for each in out]
    line.pop("time")
    assert line == {
        "request": "r", "method": "POST", "path": "/v1/chat/completions", "status": 499, "key": "k", "model": "m",
        "upstream": "u/m", "tried": "u/a: overloaded", "stream": False, "total_ms": 1000.0,
    }  # fmt: skip


def on_a_terminal(text: str, asks: Callable[[Process], None], **env: str) -> str:
    """What a server prints on a terminal while it is asked, and stopped with Ctrl-C."""
    ours, its = pty.openpty()
    said = b""
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = Process(text.replace("port: 0", f"port: {port}"), stdout=its, env={"TERM": "xterm", **env})
        wait_until_it_listens(port, server)
        server.at(port)
        asks(server)
        server.stop(signal.SIGINT)
        os.set_blocking(ours, False)
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 65536):
                said += piece
    finally:
        os.close(its)
        os.close(ours)
    return said.decode().replace("\r\n", "\n")


def ask_of(server: Process) -> None:
    for model in ("echo", "echo-503", "nobody-" + "x" * 240):
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
        httpx.post(f"{server.url}/chat/completions", json=body, headers={"x-request-id": f"id-{model[:8]}"})


def test_lines_on_a_terminal() -> None:
    said = on_a_terminal(config(), ask_of)
    time_of_day = r"\d\d:\d\d:\d\d\.\d{3}"
    assert re.search(
        rf"(?m)^{time_of_day} \x1b\[32m200\x1b\[0m echo \d+ms first=\d+ms tokens=1\+1 request=id-echo upstream=echo/echo$",
        said,
    ), said
    assert re.search(
        rf"(?m)^{time_of_day} \x1b\[31m503\x1b\[0m echo-503 overloaded \d+ms tried=echo/echo-503: overloaded request=id-echo-503",
        said,
    ), said
    assert re.search(
        rf"(?m)^{time_of_day} \x1b\[33m404\x1b\[0m nobody-x{{33}} model_not_found \d+ms request=id-nobody-x$", said
    ), said
    assert "a second signal (Ctrl-C) does not wait" in said
    assert max(len(re.sub(r"\x1b\[\d+m", "", line)) for line in said.splitlines() if " info: " not in line) < 120
    assert "\x1b" not in on_a_terminal(config(), ask_of, NO_COLOR="1")
