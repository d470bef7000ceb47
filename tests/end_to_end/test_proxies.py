"""ops/nginx.conf, ops/Caddyfile and ops/haproxy.cfg in front of the real process.

Tokens arrive as they are made, a client that leaves is noticed, a smuggled request reaches nobody. Each is skipped where
its proxy is not installed; Debian has all three.
"""

import contextlib
import itertools
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import httpx2 as httpx
import pytest
from http_client import delta, free_port, raw
from process import ROOT, Process, config
from scripted import FOREVER, Upstream, chunked, sse, stream

WORD = sse(delta("Once "), done=False)


def nginx(text: str, port: int, folder: Path) -> list[str]:
    text = re.sub(r"listen 443 ssl;|ssl_certificate.*;", "", text).replace(
        "server_name llm.example.com;", f"listen {port};"
    )
    paths = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"pid {folder}/pid; daemon off; error_log stderr; events {{}} http {{ access_log off; {paths} {text} }}"
    )
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy(text: str, port: int, folder: Path) -> list[str]:
    text = text.replace("llm.example.com {", f"{{\n admin off\n auto_https off\n}}\nhttp://:{port} {{")
    (folder / "Caddyfile").write_text(text)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def haproxy(text: str, port: int, folder: Path) -> list[str]:
    (folder / "haproxy.cfg").write_text(re.sub(r"bind :443 .*", f"bind 127.0.0.1:{port}", text))
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


PROXIES = {"nginx": (nginx, "nginx.conf"), "caddy": (caddy, "Caddyfile"), "haproxy": (haproxy, "haproxy.cfg")}


@pytest.fixture(scope="module")
def behind(upstream: Upstream) -> Iterator[Process]:
    with Process(config(upstream, server='allowed_hosts: [localhost, "127.0.0.1"]')) as server:
        yield server


@contextmanager
def proxied(name: str, behind: Process, folder: Path, changes: Mapping[str, str] | None = None) -> Iterator[int]:
    """The port of a proxy with the shipped configuration, TLS aside, and with `changes` made in its text."""
    make, file = PROXIES[name]
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    port = free_port()
    text = (ROOT / "ops" / file).read_text(encoding="utf-8").replace("127.0.0.1:8080", f"127.0.0.1:{behind.port}")
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    with subprocess.Popen(make(text, port, folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as proxy:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
                assert proxy.poll() is None, proxy.stderr and proxy.stderr.read()
        try:
            yield port
        finally:  # after a failure too: Popen waits for its end
            proxy.terminate()


@pytest.fixture(params=PROXIES, scope="module")
def front(request: pytest.FixtureRequest, behind: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with proxied(request.param, behind, tmp_path_factory.mktemp(request.param)) as port:
        yield port


def dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def test_tokens_come_as_they_are_made(front: int, upstream: Upstream, scripted: Callable[..., str]) -> None:
    name = scripted([*stream(WORD, end=False), 0.5, *chunked(sse(delta("upon", finish="stop")))])
    with dial(front) as client:
        client.sendall(raw(f"up/{name}"))
        said, first = b"", 0.0
        while b"[DONE]" not in said:
            said += client.recv(65536)
            first = first or (time.monotonic() if b"Once" in said else 0.0)
        assert time.monotonic() - first > 0.3  # the first word did not wait for the second
        assert first - upstream.of(name)[0].at < 0.15  # a proxy that waits for more adds 0.2 s


def test_a_client_that_leaves_is_noticed(front: int, upstream: Upstream, scripted: Callable[..., str]) -> None:
    for streamed in (True, False):
        name = scripted([*stream(WORD, end=False), FOREVER] if streamed else [FOREVER])
        with dial(front) as client:
            client.sendall(raw(f"up/{name}", streamed))
            request = upstream.wait(name)
            if streamed:
                assert b"200 OK" in client.recv(65536)
            left = time.monotonic()
        assert request.wait_left() - left < 1 and request.peer_left


# Smuggling: requests that a proxy and the server might cut apart at different places. In each the model smuggled-0000 is
# asked for where one of the two may see a request of its own; every attempt gets a number for the zeros. It is a model and
# not just any path, because of refusals without a key the log does not show all.

HIDDEN = b"GET /v1/models/smuggled-0000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
TOP = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
BEHIND = b"0\r\n\r\n" + HIDDEN  # whoever reads chunks sees an empty body and then a request
INSIDE = b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n"  # whoever reads chunks sees a body
LENGTH = b"Content-Length: %d\r\n" % len(BEHIND)
SHORT = b"Content-Length: 4\r\n"  # the line with the size of the first chunk
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def hides(headers: bytes, body: bytes = BEHIND) -> bytes:
    return TOP + headers + b"\r\n" + body


TRICKS = {
    "CL.TE": hides(LENGTH + CHUNKED),
    "TE.CL": hides(CHUNKED + SHORT, INSIDE),
    **{
        f"TE is {name}": hides(LENGTH + line + b"\r\n")
        for name, line in {
            "xchunked": b"Transfer-Encoding: xchunked",
            "behind a space": b"Transfer-Encoding : chunked",
            "behind a tab": b"Transfer-Encoding\t: chunked",
            "behind a vertical tab": b"Transfer-Encoding:\x0bchunked",
            "before a vertical tab": b"Transfer-Encoding: chunked\x0b",
            "behind NUL": b"Transfer-Encoding\0: chunked",
            "in capitals": b"TRANSFER-ENCODING: CHUNKED",
            "quoted": b'Transfer-Encoding: "chunked"',
            "parametrised": b"Transfer-Encoding: chunked;a=b",
            "chunked, identity": b"Transfer-Encoding: chunked, identity",
            "identity, chunked": b"Transfer-Encoding: identity, chunked",
            "chunked twice": b"Transfer-Encoding: chunked, chunked",
            "chunked and identity": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "identity and chunked": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
            "a comma": b"Transfer-Encoding: ,chunked",
            "empty": b"Transfer-Encoding:",
            "folded": b"Transfer-Encoding:\r\n chunked",
            "behind CR": b"X: a\rTransfer-Encoding: chunked",
            "behind LF": b"X: a\nTransfer-Encoding: chunked",
            "with an underscore": b"Transfer_Encoding: chunked",
            "one hop's": b"Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding",
        }.items()
    },
    **{
        f"CL is {name}": hides(line + b"\r\n")
        for name, line in {
            "two": LENGTH + b"Content-Length: 5",
            "two, the short one first": b"Content-Length: 5\r\n" + LENGTH[:-2],
            "a list": b"Content-Length: %d, 5" % len(BEHIND),
            "with a plus": b"Content-Length: +%d" % len(BEHIND),
            "hexadecimal": b"Content-Length: 0x%x" % len(BEHIND),
            "negative": b"Content-Length: -%d" % len(BEHIND),
            "octal": b"Content-Length: 0%d" % len(BEHIND),
            "with NUL": b"Content-Length: %d\0" % len(BEHIND),
            "behind LF": b"X: a\nContent-Length: %d" % len(BEHIND),
            "one hop's": LENGTH + b"Connection: Content-Length",
            "none": b"X: a",
        }.items()
    },
    "HTTP/1.0 with chunks": hides(LENGTH + CHUNKED + b"Connection: keep-alive\r\n").replace(b"1.1", b"1.0", 1),
    "HTTP/1.0 with chunks inside": hides(CHUNKED + b"Connection: keep-alive\r\n", INSIDE).replace(b"1.1", b"1.0", 1),
    "Expect": hides(b"Expect: 100-continue\r\n" + LENGTH),
    "Expect with chunks": hides(b"Expect: 100-continue\r\n" + CHUNKED),
    "Expect something else": hides(b"Expect: something\r\n" + LENGTH),
    "Expect, too much": hides(b"Expect: 100-continue\r\nContent-Length: 1000000000\r\n"),
    "GET with a body": hides(LENGTH).replace(b"POST /v1/chat/completions", b"GET /healthz"),
    "GET with chunks": hides(CHUNKED, INSIDE).replace(b"POST /v1/chat/completions", b"GET /healthz"),
    "HEAD with a body": hides(LENGTH).replace(b"POST /v1/chat/completions", b"HEAD /healthz"),
    "OPTIONS with a body": hides(LENGTH).replace(b"POST /v1/chat/completions", b"OPTIONS /healthz"),
    "chunk of 2^64": hides(CHUNKED, b"10000000000000000\r\n" + BEHIND),
    "chunk of -1": hides(CHUNKED, b"-1\r\n" + BEHIND),
    "chunk of 0x": hides(CHUNKED, b"0x0\r\n\r\n" + HIDDEN),
    "chunk with a space": hides(CHUNKED, b"0 \r\n\r\n" + HIDDEN),
    "chunk with LF": hides(CHUNKED, b"0\n\r\n" + HIDDEN),
    "chunk with LF twice": hides(CHUNKED, b"0\n\n" + HIDDEN),
    "chunk extension with LF": hides(CHUNKED, b"2;\nxx\r\n" + BEHIND),
    "chunk extension with CR": hides(CHUNKED, b"2;\rxx\r\n" + BEHIND),
    "chunk with no line end": hides(CHUNKED, b"1\r\na" + BEHIND),
    "chunk with more than said": hides(CHUNKED, b"1\r\nab\r\n" + BEHIND),
    "trailer": hides(CHUNKED, b"0\r\nx-request-id: smuggled-0000\r\n\r\n"),
    "trailer, announced": hides(CHUNKED + b"Trailer: x-request-id\r\n", b"0\r\nx-request-id: smuggled-0000\r\n\r\n"),
    "trailer of Host": hides(CHUNKED, b"0\r\nHost: smuggled-0000\r\n\r\n"),
    "trailer of a length": hides(CHUNKED, b"0\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN),
    "trailer of chunks": hides(CHUNKED, b"0\r\nTransfer-Encoding: chunked\r\n\r\n" + HIDDEN),
    "trailer without an end": hides(CHUNKED, b"0\r\n" + HIDDEN),
    "line ends in the path": b"GET /a%0d%0a%0d%0aGET%20/v1/models/smuggled-0000 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "raw line end in the path": b"GET /a\nGET /v1/models/smuggled-0000 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "line ends in Host": b"GET /a HTTP/1.1\r\nHost: localhost%0d%0a%0d%0aGET /v1/models/smuggled-0000 HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET /a HTTP/1.1\r\nHost: localhost\r\nHost: smuggled-0000\r\n\r\n" + HIDDEN,
    "absolute, of another": b"GET http://localhost/a HTTP/1.1\r\nHost: smuggled-0000\r\n\r\n" + HIDDEN,
    "CONNECT": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n" + HIDDEN,
    "h2c": b"GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + HIDDEN,
    "WebSocket": b"GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + HIDDEN,
    "HTTP/0.9": b"GET /a\r\n\r\n" + HIDDEN,
    "LF for line ends": b"POST /v1/chat/completions HTTP/1.1\nHost: localhost\n" + LENGTH[:-2] + b"\n\n" + BEHIND,
    "an empty line before": b"\r\n\r\n" + hides(LENGTH),
}  # fmt: skip


def heard(client: socket.socket, patience: float) -> bytes:
    """What comes until the other side closes, or nothing more does."""
    client.settimeout(patience)
    said = b""
    try:
        while piece := client.recv(65536):
            said += piece
    except OSError:  # silence, or a reset
        pass
    return said


def attempt(port: int, trick: bytes, number: int) -> bytes:
    with dial(port) as client:
        client.sendall(trick.replace(b"smuggled-0000", b"smuggled-%04d" % number))
        return heard(client, 0.7)


class Victim(threading.Thread):
    """Another client of the same proxy: asks for models of its own until `stop`. wrong: answers that were not for it."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port, self._going = port, True
        self.asked, self.wrong = 0, list[bytes]()
        self.start()

    def run(self) -> None:
        while self._going:
            with dial(self._port) as client:
                for _ in range(3):  # HAProxy takes an idle connection from its pool for the later ones
                    self._ask(client, f"victim-{id(self)}-{self.asked}".encode())

    def _ask(self, client: socket.socket, model: bytes) -> None:
        self.asked += 1
        client.sendall(b"GET /v1/models/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % model)
        said = b""
        while not said.endswith(b"}"):
            piece = client.recv(65536)
            if not piece:
                break
            said += piece
        if b"'%b'" % model not in said or b"x-request-id: req_" not in said.lower():
            self.wrong.append(model + b": " + said)

    def stop(self) -> None:
        self._going = False
        self.join()


@pytest.fixture(params=["straight", *PROXIES], scope="module")
def way(request: pytest.FixtureRequest, behind: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A port that leads to the server: its own, or a proxy's."""
    if request.param == "straight":
        yield behind.port
    else:
        with proxied(request.param, behind, tmp_path_factory.mktemp(request.param)) as port:
            yield port


def test_nothing_is_smuggled(way: int, behind: Process) -> None:
    """Whoever stands in front, it and the server agree where each request ends.

    The server has seen no request that its sender was not answered, and other clients get their own answers, with nothing
    in them that somebody else has said.
    """
    # The trailer by itself once more, so that its connection is one of few that the proxy may use for others.
    numbers = {next(_numbers): name for name in [*TRICKS, *["trailer"] * 12]}
    victims = [Victim(way) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        asked = {number: pool.submit(attempt, way, TRICKS[name], number) for number, name in numbers.items()}
    for victim in victims:
        victim.stop()
    with dial(behind.port) as last:
        path = f"/v1/models/last-{next(_numbers)}"
        last.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        heard(last, 5)
    behind.logged(path=path)  # all that came before is in the log
    seen = Counter(str(line.get("path", "")) for line in behind.lines())
    desyncs = [
        name
        for number, name in numbers.items()
        if seen[f"/v1/models/smuggled-{number:04}"] > asked[number].result().count(b"'smuggled-%04d'" % number)
    ]
    assert (desyncs, [each for victim in victims for each in victim.wrong]) == ([], [])
    assert any(seen[f"/v1/models/smuggled-{number:04}"] for number in numbers), (
        "the log shows no request behind another"
    )
    assert min(victim.asked for victim in victims) > 50 and len(TRICKS) > 60


_numbers = itertools.count(1)


def test_the_proxies_tell_the_scheme(front: int, request: pytest.FixtureRequest) -> None:
    """What stands in the files for TLS: HAProxy says https outright, the others what the client came by."""
    got = httpx.get(f"http://127.0.0.1:{front}/", timeout=20, trust_env=False).text
    scheme = "https" if "haproxy" in request.node.name else "http"
    assert f"Base URL for OpenAI clients: {scheme}://127.0.0.1" in got


class Gone(NamedTuple):
    port: int


GET = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
# name → (what is sent to a proxy behind which nobody listens, the code of its answer, which of the proxies answer so)
OWN = {
    "nobody there": (GET % b"/v1/models", "upstream_error", tuple(PROXIES)),
    "a path that is kept": (GET % b"/metrics", "unknown_url", tuple(PROXIES)),
    "not HTTP": (b"GET / HTTP/1.1\r\nHost: localhost\r\nNo colon\r\n\r\n", "invalid_http", ("nginx",)),
}


@pytest.mark.parametrize("name", PROXIES)
def test_the_proxies_own_errors_have_our_shape(name: str, tmp_path: Path) -> None:
    status = {"upstream_error": (502, 503), "unknown_url": (404,), "invalid_http": (400,)}
    with proxied(name, cast(Process, Gone(free_port())), tmp_path) as port:
        for what, (sent, code, proxies) in OWN.items():
            if name not in proxies:
                continue
            with dial(port) as client:
                with contextlib.suppress(ConnectionError):
                    client.sendall(sent)
                head, _, body = heard(client, 5).partition(b"\r\n\r\n")
            assert int(head.split()[1]) in status[code], (what, head)
            assert b"\r\ncontent-type: application/json\r\n" in head.lower() + b"\r\n", (what, head)
            wrong = json.loads(body)["error"]
            assert wrong.keys() == {"message", "type", "param", "code"} and wrong["code"] == code, what


@pytest.mark.parametrize("name", PROXIES)
def test_an_answer_that_is_late_has_our_shape(name: str, tmp_path: Path) -> None:
    """The proxy's patience, which is two minutes in the files, is shortened to a second."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        behind = cast(Process, Gone(silent.getsockname()[1]))
        with proxied(name, behind, tmp_path, {"120s": "1s"}) as port:
            got = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", content=b"{}", timeout=20, trust_env=False)
    wrong = got.json()["error"]
    assert (got.status_code, got.headers["content-type"]) == (504, "application/json")
    assert wrong.keys() == {"message", "type", "param", "code"} and wrong["code"] == "upstream_timeout"


@pytest.mark.parametrize(("name", "limit"), [("nginx", ("32m;", "1k;")), ("caddy", ("32MiB", "1KiB"))])
def test_a_body_too_large_for_the_proxy(name: str, limit: tuple[str, str], behind: Process, tmp_path: Path) -> None:
    """HAProxy has no such limit: ModelServer's own does."""
    with proxied(name, behind, tmp_path, dict([limit])) as port:
        for content in (bytes(2000), iter([bytes(1000), bytes(1000)])):
            got = httpx.post(
                f"http://127.0.0.1:{port}/v1/chat/completions", content=content, timeout=20, trust_env=False
            )
            wrong = got.json()["error"]
            assert (got.status_code, got.headers["content-type"]) == (413, "application/json")
            assert wrong.keys() == {"message", "type", "param", "code"} and wrong["code"] == "request_too_large"


def test_what_the_server_answers_passes_as_it_is(front: int) -> None:
    """Its errors are not the proxy's: the message says more."""
    for method, path, code in (("GET", "/v1/nothing", "unknown_url"), ("POST", "/v1/chat/completions", "invalid_json")):
        got = httpx.request(method, f"http://127.0.0.1:{front}{path}", content=b"{", timeout=20, trust_env=False)
        wrong = got.json()["error"]
        assert wrong["code"] == code and len(wrong["message"]) > 40 and got.headers["x-request-id"]
