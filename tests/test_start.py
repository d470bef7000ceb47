"""The command line: starting, refusing to start, stopping, check and ask."""

import re
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import pytest
from conftest import KEYS, LAPTOP
from process import ROOT, Process, config, run
from scripted import ABORT, CLOSE, FOREVER, Script, Upstream, answer, chunked, sse, stream, until_close

HELLO: Any = [{"role": "user", "content": "Hello"}]
CHUNK = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Once "}}]}
END = {"choices": [{"index": 0, "delta": {"content": "upon"}, "finish_reason": "stop"}]}


def test_the_example_starts_without_any_key(http: httpx.Client) -> None:
    """The first command of the README; only the port is another, so that it is surely free."""
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    with Process(text, "--port", "0") as server:
        banner = server.out
        assert re.search(r"^  on   echo$", banner, re.M)
        assert re.search(r"^  off  openai \(OPENAI_API_KEY\), anthropic \(ANTHROPIC_API_KEY\),", banner, re.M)
        assert re.search(r"^  keys none: this machine only$", banner, re.M)
        command = re.search(r"curl -N (\S+) -H '(.*?): (.*?)' \\\n\s+-d '(.*)'", banner)
        assert command, banner
        got = http.post(command[1], content=command[4], headers={command[2]: command[3]})
        assert got.text.endswith("data: [DONE]\n\n") and "Hello!" in got.text
        off = http.post(f"{server.url}/chat/completions", json={"model": "gpt-4o", "messages": HELLO})
        assert off.status_code == 404 and "set OPENAI_API_KEY" in off.json()["error"]["message"]
    with Process(text, "--port", "0", env={"OPENAI_API_KEY": "sk-start-canary"}) as server:
        assert re.search(r"^  on   openai$", server.out, re.M) and "sk-start-canary" not in server.out
        assert {"gpt-4o", "echo"} <= {card["id"] for card in http.get(f"{server.url}/models").json()["data"]}


def test_the_banner_with_keys() -> None:
    with Process(config(more=KEYS)) as server:
        assert re.search(r"^  keys laptop, phone$", server.out, re.M) and LAPTOP not in server.out
        assert '-H "Authorization: Bearer $MODELSERVER_KEY"' in server.out


def test_check() -> None:
    got = run("check", text=config(more=KEYS))
    assert (got.returncode, got.stderr) == (0, "")
    assert "no mistakes" in got.stdout and "Providers: echo." in got.stdout and "2 keys" in got.stdout
    example = run("check")
    assert example.returncode == 0 and "Off: openai (set OPENAI_API_KEY)" in example.stdout


BROKEN = """
server:
  port: eighty
  tiemouts: {connect: 5}
  max_body: 3 bananas
keys:
  - {name: a, key: "${NOT_SET_ANYWHERE}"}
  - {name: a, key: "sk-config-canary", sha256: "sk-config-canary"}
providers:
  opneai: {api_key: x}
  echo: {}
  mine: {protocol: openai, base_url: "ftp://x"}
  echo: {}
models:
  gpt-4o: opnai
  "a*b*": echo
defaults: []
unknown: 1
"""
MISTAKES = """
3: server.port: expected an integer
4: server.tiemouts: unknown key; did you mean 'timeouts'?
5: server.max_body: expected a size such as 32MiB
7: keys[0].key: the environment variable NOT_SET_ANYWHERE is not set
8: keys[1].name: another key is called 'a' too
8: keys[1]: give either 'key' or 'sha256'
10: providers.opneai: unknown provider: give a 'protocol' (openai, anthropic, gemini, echo); did you mean 'openai'?
12: providers.mine.base_url: expected a URL such as "https://llm.example.com/v1"
13: providers.echo: given twice (first in line 11)
15: models.gpt-4o: there is no provider 'opnai'; did you mean 'opneai'?
16: models.a*b*: only one '*' is possible in a public name
17: defaults: expected a mapping (key: value)
18: unknown: unknown key
"""


@pytest.mark.parametrize("command", [("check",), (), ("serve",)])
def test_a_broken_configuration(command: tuple[str, ...]) -> None:
    """Exit code 2, every mistake with its line, nothing started, no secret shown."""
    got = run(*command, text=BROKEN)
    assert (got.returncode, got.stdout) == (2, "")
    lines = [line.removeprefix("config.yaml:") for line in got.stderr.splitlines()]
    for mistake in MISTAKES.strip().splitlines():
        assert any(line.startswith(mistake) for line in lines), mistake
    assert "canary" not in got.stderr and "Traceback" not in got.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("server: {port: 70000}", "70000|65535"),
        ("server: [", "config.yaml:2: not valid YAML"),
        ("a: &x 1\nb: *x", "anchors"),
        ("providers: {echo: {}, echo: {}}", "given twice"),
        ("just text", "expected a mapping"),
    ],
)
def test_other_broken_configurations(text: str, says: str) -> None:
    got = run("check", text=text)
    assert got.returncode == 2 and re.search(says, got.stderr) and "Traceback" not in got.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--config", "/nowhere/config.yaml"), "/nowhere/config.yaml"),
        (("--config", str(ROOT)), "directory"),
    ],
)
def test_a_configuration_that_cannot_be_read(arguments: tuple[str, ...], says: str) -> None:
    for command in ((), ("check",)):
        got = run(*command, *arguments)
        assert got.returncode == 1 and says in got.stderr and "Traceback" not in got.stderr and got.stdout == ""


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        got = run("--port", str(port), text=config())
        assert (got.returncode, got.stdout) == (1, "")
        assert got.stderr == f"modelserver: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])  # noqa: S104
def test_keyless_means_this_machine_only(host: str) -> None:
    got = run("--host", host, text=config())
    assert (got.returncode, got.stdout) == (1, "") and f"refusing to listen on {host} without keys" in got.stderr


def test_with_keys_any_address_will_do(http: httpx.Client) -> None:
    with Process(config(more=KEYS), "--host", "0.0.0.0") as server:  # noqa: S104
        assert re.search(r"curl -N http://127\.0\.0\.1:\d+/v1/chat/completions", server.out)
        headers = {"x-api-key": LAPTOP, "host": "llm.example.com"}
        assert http.get(f"{server.url}/models", headers=headers).status_code == 200


def test_allowed_hosts(http: httpx.Client) -> None:
    with Process(
        config(more=KEYS, server='allowed_hosts: [llm.example.com]\ncors_origins: ["https://a.example"]')
    ) as server:
        for host, status in (("llm.example.com", 200), ("LLM.example.com:443", 200), ("evil.example", 403)):
            got = http.get(f"{server.url}/models", headers={"x-api-key": LAPTOP, "host": host})
            assert got.status_code == status
        mine = {"x-api-key": LAPTOP, "host": "llm.example.com"}
        good = http.get(f"{server.url}/models", headers={**mine, "origin": "https://a.example"})
        assert good.headers["access-control-allow-origin"] == "https://a.example"
        other = http.get(f"{server.url}/models", headers={**mine, "origin": "https://b.example"})
        assert other.status_code == 200 and "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signals(how: signal.Signals, upstream: Upstream, scripted: Callable[..., str]) -> None:
    """The server stops with 0, after the answers that are running."""
    name = scripted([*stream(sse(CHUNK, done=False), end=False), 0.4, *chunked(sse(END))])
    got = ""
    with Process(config(upstream)) as server, httpx.Client(trust_env=False) as client:

        def read() -> None:
            nonlocal got
            got = client.post(
                f"{server.url}/chat/completions", json={"model": f"up/{name}", "messages": HELLO, "stream": True}
            ).text

        reader = threading.Thread(target=read)
        reader.start()
        upstream.wait(name)
        assert server.stop(how) == 0
        reader.join()
    assert got.endswith("data: [DONE]\n\n") and "upon" in got


def test_an_answer_that_outlasts_the_drain(upstream: Upstream, scripted: Callable[..., str]) -> None:
    name = scripted([*stream(sse(CHUNK, done=False), end=False), FOREVER])
    with Process(config(upstream, server="drain: 0.2")) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            body = f'{{"model":"up/{name}","stream":true,"messages":[{{"role":"user","content":"x"}}]}}'
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall((head + body).encode())
            assert b"200 OK" in client.recv(65536)
            assert server.stop() == 0
        assert upstream.of(name)[0].wait_left()


# ask


@pytest.mark.parametrize(
    ("script", "code", "out", "err"),
    [
        (stream(sse(CHUNK, END)), 0, "Once upon\n", ""),
        (stream(sse(CHUNK, END, done=False)), 0, "Once upon\n", ""),
        ([*stream(sse(CHUNK, done=False), end=False), 0.1, CLOSE], 1, "Once \n", "The upstream closed the stream before"),
        ([*stream(sse(CHUNK, done=False), end=False), 0.1, *chunked(sse({"error": "boom"}))], 1, "Once \n", "boom"),
        (answer({"error": {"message": "slow down"}}, 429), 1, "", "HTTP 429: slow down"),
        (answer({}, 401), 1, "", "HTTP 502: The upstream refused this server's credentials"),
    ],
)  # fmt: skip
def test_ask(
    server: Process, upstream: Upstream, scripted: Callable[..., str], script: Script, code: int, out: str, err: str
) -> None:
    """Whatever the ending, one question is one POST."""
    name = scripted(script)
    got = run("ask", "Hello?", "-m", f"up/{name}", "--port", str(server.port), text=config())
    assert (got.returncode, got.stdout) == (code, out), got.stderr
    assert got.stderr.startswith(err) and bool(got.stderr) == bool(err) and "Traceback" not in got.stderr
    [request] = upstream.of(name)
    assert request.json["messages"] == [{"role": "user", "content": "Hello?"}]


@pytest.mark.parametrize(
    "script",
    [
        stream(sse(CHUNK, done=False)),
        until_close(sse(CHUNK, done=False)),
        [*stream(sse(CHUNK, done=False), end=False), 0.05, CLOSE],
        [*stream(sse(CHUNK, done=False), end=False), 0.05, ABORT],
    ],
)
def test_ask_never_asks_twice(upstream: Upstream, scripted: Callable[..., str], script: Script) -> None:
    """A server that ends its stream as this one never does: EventSource alone would ask again, and be billed again."""
    name = scripted(script)
    got = run("ask", "Hello?", "-m", name, "--port", str(upstream.port), text=config())
    assert (got.returncode, got.stdout.strip()) == (1, "Once") and got.stderr and "Traceback" not in got.stderr
    assert len(upstream.of(name)) == 1


def test_ask_needs_a_server_and_a_key(keyed: Process) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nobody = run("ask", "Hello?", "--port", str(port), text=config())
    assert nobody.returncode == 1 and "modelserver: " in nobody.stderr and "Traceback" not in nobody.stderr
    stranger = run("ask", "Hello?", "--port", str(keyed.port), text=config())
    missing = "HTTP 401: No API key was sent: send it as 'Authorization: Bearer KEY'.\n"
    assert (stranger.returncode, stranger.stderr) == (1, missing)
    friend = run("ask", "Hello?", "--port", str(keyed.port), text=config(), env={"MODELSERVER_KEY": LAPTOP})
    assert (friend.returncode, friend.stdout, friend.stderr) == (0, "Hello?\n", "")
    for command in (("ask", "Hello?"), ("doctor",)):  # a key in the arguments is in the process list
        piped = run(*command, "-k", "-", "--port", str(keyed.port), text=config(), said=f"{LAPTOP}\n")
        assert (piped.returncode, piped.stderr) == (0, ""), piped.stdout
    unknown = run("ask", "Hello?", "-m", "ecko", "-k", LAPTOP, "--port", str(keyed.port), text=config())
    assert unknown.returncode == 1 and "did you mean 'echo'" in unknown.stderr


def test_version_and_help() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run("--version").stdout)
    assert {"serve", "check", "ask"} <= set(re.findall(r"\w+", run("--help").stdout))
    assert run("nonsense").returncode == 2
