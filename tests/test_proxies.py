"""ops/nginx.conf, ops/Caddyfile and ops/haproxy.cfg in front of the real process.

Tokens arrive as they are made, a client that leaves is noticed, a smuggled request reaches nobody. Each is skipped where
its proxy is not installed; Debian has all three.
"""

import itertools
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from asking import delta, raw
from process import ROOT, Process, config
from scripted import FOREVER, Upstream, chunked, sse, stream

WORD = sse(delta("Once "), done=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


@pytest.fixture(params=PROXIES, scope="module")
def front(request: pytest.FixtureRequest, behind: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a proxy with the shipped configuration, TLS aside."""
    make, name = PROXIES[request.param]
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} is not installed")
    port, folder = free_port(), tmp_path_factory.mktemp(request.param)
    text = (ROOT / "ops" / name).read_text(encoding="utf-8").replace("127.0.0.1:8080", f"127.0.0.1:{behind.port}")
    with subprocess.Popen(make(text, port, folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as proxy:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
                assert proxy.poll() is None, proxy.stderr and proxy.stderr.read()
        yield port
        proxy.terminate()


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


SMUGGLED = b"GET /smuggled-0000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = b"0\r\n\r\n" + SMUGGLED
_numbers = itertools.count(1)
TRICKS = [
    b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(BODY),
    b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    b"Transfer-Encoding: xchunked\r\nContent-Length: %d\r\n" % len(BODY),
    b"Transfer-Encoding : chunked\r\nContent-Length: %d\r\n" % len(BODY),
    b"Transfer-Encoding:\x0bchunked\r\nContent-Length: %d\r\n" % len(BODY),
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nContent-Length: %d\r\n" % len(BODY),
    b"Content-Length: %d\r\nContent-Length: 5\r\n" % len(BODY),
    b"Content-Length: +%d\r\n" % len(BODY),
]


@pytest.mark.parametrize("trick", TRICKS)
def test_nothing_is_smuggled(front: int, behind: Process, trick: bytes) -> None:
    """The proxy and the server agree where a request ends: no answer to a request that the proxy took for a body."""
    path = f"/smuggled-{next(_numbers):04}"
    with dial(front) as client:
        top = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n" + trick + b"\r\n"
        client.sendall(top + BODY.replace(b"/smuggled-0000", path.encode()))
        client.settimeout(0.5)
        said = b""
        try:
            while piece := client.recv(65536):
                said += piece
        except TimeoutError:
            pass
    seen = sum(line.get("path") == path for line in behind.lines())
    answered = said.count(b"unknown_url")
    assert seen <= answered  # what the server saw as a request, the proxy saw as one too
