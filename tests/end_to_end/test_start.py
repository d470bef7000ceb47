"""The command line: starting, refusing to start, stopping, check and ask."""

import ast
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from conftest import KEYS, LAPTOP
from process import ROOT, Process, config, environment, run
from scripted import ABORT, CLOSE, FOREVER, Script, Upstream, answer, chunked, sse, stream, until_close

from providers.hosts import HOSTS
from server.commands import arguments
from server.commands.arguments import COMMANDS

HELLO: Any = [{"role": "user", "content": "Hello"}]
CHUNK = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Once "}}]}
END = {"choices": [{"index": 0, "delta": {"content": "upon"}, "finish_reason": "stop"}]}


@pytest.mark.anew
def test_the_example_starts_without_any_key(http: httpx.Client) -> None:
    """The first command of the README; only the port is another, so that it is surely free."""
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    with Process(text, "--port", "0") as server:
        banner = server.out
        assert re.search(r"^  on   echo$", banner, re.M)
        assert re.search(rf"^  page http://127\.0\.0\.1:{server.port}/$", banner, re.M)
        [(names, more)] = re.findall(r"(?m)^  off  (openai, anthropic, gemini, .*), and (\d+) more$", banner)
        assert names.count(", ") + 1 + int(more) == len(HOSTS) - 1  # all but echo
        assert re.search(
            r"^       to turn one on: export OPENAI_API_KEY=… and start again; `check -v` names", banner, re.M
        )
        assert max(map(len, banner.partition("Try:")[0].splitlines())) <= 110
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
    assert example.returncode == 0 and "\n  off  openai, anthropic, " in example.stdout
    assert "OPENAI_API_KEY" not in example.stdout
    assert "\n  off  openai: set OPENAI_API_KEY\n" in run("check", "-v").stdout


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


@pytest.mark.anew
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
        ("server: [", "config.yaml:1: not valid YAML"),
        (
            "server:\n\tport: 1\n",
            "config.yaml:2: not valid YAML: the line is indented with a tab; YAML takes spaces only",
        ),
        ("providers:\n  echo: {}\n \tx: y\n", "config.yaml:3: .*indented with a tab"),
        ('server: {host: "127.0.0.1}\n\n', "config.yaml:1: not valid YAML: the quote that begins in this line is not"),
        (
            'server:\n  host: "127.0.0.1\nproviders:\n  mine: {base_url: "http://x"}\n',
            "config.yaml:2: not valid YAML: the quote that begins here ends in line 4; is one missing before",
        ),
        ("a: &x 1\nb: *x", "anchors"),
        ("providers: {echo: {}, echo: {}}", "given twice"),
        ("just text", "expected a mapping"),
    ],
)
def test_other_broken_configurations(text: str, says: str) -> None:
    got = run("check", text=text)
    assert got.returncode == 2 and re.search(says, got.stderr) and "Traceback" not in got.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no provider, so nothing could be answered: begin with `providers: {echo: {}}`"),
        ("# providers:\n", "names no provider, so nothing could be answered"),
        ("server: {port: 0}\n", "names no provider, so nothing could be answered"),
        ("server: {host: 0.0.0.0}\nproviders: {echo: {}}\n", "refusing to listen on 0.0.0.0 without keys"),
        ("providers: {echo: {}}\nusage: {path: /nowhere/usage.db}\n", "usage.path: there is no folder /nowhere"),
        (
            "providers: {mine: {protocol: openai, base_url: 'https://a.example', ca_file: /nowhere/ca.pem}}\n",
            "ca_file /nowhere/ca.pem: No such file or directory",
        ),
    ],
)
def test_check_refuses_what_serve_refuses(text: str, says: str) -> None:
    for command in ("check", "serve"):
        got = run(command, text=text)
        assert (got.returncode, got.stdout, got.stderr.count("\n")) == (2, "", 1), command
        assert got.stderr.startswith("modelserver: ") and says in got.stderr


def test_keys_that_everyone_may_read_are_refused_by_check_too() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder, "config.yaml")
        path.write_text(config(more=KEYS), encoding="utf-8")
        path.chmod(0o644)
        for command in ("check", "serve"):
            got = run(command, "--config", str(path))
            assert (got.returncode, got.stdout) == (2, "") and "can be read by every user of this machine" in got.stderr


ENV_FILE = """
# a comment
; another
export ONE=1234567890123456-canary
TWO = "with 'quotes' around"
THREE='sk-canary-in-single-quotes'
"""


def test_check_and_doctor_read_an_env_file(tmp_path: Path) -> None:
    path = tmp_path / "environment"
    path.write_text(ENV_FILE, encoding="utf-8")
    text = (
        'keys: [{name: a, key: "${ONE}"}]\nproviders: {echo: {}, openai: {api_key: "${THREE}"}}\n'
        'models: {"${NO}": echo, "b": {targets: [echo], defaults: {user: "${TWO}"}}}\n'
    ).replace('"${NO}"', "a")
    assert "ONE is not set" in run("check", text=text).stderr
    got = run("check", "--env-file", str(path), text=text)
    assert (got.returncode, got.stderr) == (0, "") and "Providers: echo, openai. Callers: 1 key." in got.stdout
    assert "openai" in run("doctor", "--env-file", str(path), "--port", "1", text=text).stdout
    path.write_text("ONE=1\nnonsense\n", encoding="utf-8")
    got = run("check", "--env-file", str(path), text=text)
    assert (got.returncode, got.stderr) == (
        2,
        f"modelserver: {path}:2: expected NAME=value, with a name of letters, digits and _\n",
    )
    assert run("check", "--env-file", "/nowhere/env", text=text).stderr.startswith("modelserver: ")


def test_reload_and_ask_need_no_secrets() -> None:
    text = config(more='keys: [{name: me, key: "${A_KEY}", rpm: "${RPM}"}]')
    with Process(text, env={"A_KEY": LAPTOP, "RPM": "60"}) as server:
        where = ("--port", str(server.port))
        assert run("reload", *where, text=text).stdout == "reloaded: generation 2\n"
        assert run("ask", "Hello?", *where, text=text, env={"MODELSERVER_KEY": LAPTOP}).stdout == "Hello?\n"
        wrong = run("reload", text=text.replace("port: 0", 'port: "${PORT}"'))
        assert wrong.returncode == 2 and "server.port: the environment variable PORT is not set" in wrong.stderr
        assert run("reload", *where, text="server: [").returncode == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--port", "99999"), "argument --port: expected a number from 0 to 65535, but got '99999'; --help tells more"),
        (("--port", "-1"), "argument --port: expected a number from 0 to 65535, but got '-1'; --help tells more"),
        (
            ("check", "--port", "http"),
            "argument --port: expected a number from 0 to 65535, but got 'http'; --help tells more",
        ),
        (("--hots", "0.0.0.0"), "there is no option --hots; did you mean '--host'? --help tells more"),  # noqa: S104
        (("--hots=0.0.0.0",), "there is no option --hots; did you mean '--host'? --help tells more"),
        (("ask", "Hello?", "--modle", "echo"), "there is no option --modle; did you mean '--model'? --help tells more"),
        (("--zzz",), "there is no option --zzz; --help tells more"),
        (("chek",), "there is no command 'chek'; did you mean 'check'? --help tells more"),
        (("check", "-m", "echo"), "unrecognized arguments: -m echo; --help tells more"),
    ],
)
def test_a_mistake_in_the_command_line_is_one_sentence(words: tuple[str, ...], says: str) -> None:
    got = run(*words)
    assert (got.returncode, got.stdout, got.stderr) == (2, "", f"modelserver: {says}\n")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_option_has_a_help_text(command: str) -> None:
    parser = arguments._parser("1.2.3")
    commands = arguments._commands(parser)
    for action in (commands[command] if command else parser)._actions:
        assert action.help, action.option_strings
    assert "--config FILE" in run(*filter(None, [command]), "--help").stdout


def test_packages_that_are_missing_are_named() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "modelserver.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    names = "aiohttp, aiohttp_sse_client, httptools, msgspec, prometheus_client, yaml"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"modelserver: {names} is not installed for {sys.executable}: run '{sys.executable} -m pip install -r "
        "requirements.lock', or start with the Python of the .venv that the README makes.\n"
    )


def test_an_old_python_is_told_so() -> None:
    """What it reads before it is told must be readable to it."""
    for file in ("modelserver.py", "server/preflight.py", "server/__init__.py"):
        ast.parse((ROOT / file).read_text(encoding="utf-8"), feature_version=(3, 8))
    found = [each for minor in range(8, 11) if (each := shutil.which(f"python3.{minor}"))]
    for python in found:
        if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:  # a shim may be none
            done = subprocess.run([python, "modelserver.py"], cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 1 and re.fullmatch(
                r"modelserver: Python 3\.11 or newer is needed, and this is 3\.\d+ \(.*\)\.\n", done.stderr
            )


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


IN_USE = "the port is in use: stop what uses it (another ModelServer?), or choose another with --port or server.port"


@pytest.mark.anew
def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        got = run("--port", str(port), text=config())
        assert (got.returncode, got.stdout) == (1, "")
        assert got.stderr == f"modelserver: cannot listen on 127.0.0.1:{port}: {IN_USE}\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])  # noqa: S104
def test_keyless_means_this_machine_only(host: str) -> None:
    for command in ((), ("check",)):
        got = run(*command, "--host", host, text=config())
        assert (got.returncode, got.stdout) == (2, "") and f"refusing to listen on {host} without keys" in got.stderr


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


@pytest.mark.anew
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


@pytest.mark.anew
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
    missing = (
        "HTTP 401: this server wants a client key: give it with -k KEY (-k - reads it from standard input), or set "
        "$MODELSERVER_KEY\n"
    )
    assert (stranger.returncode, stranger.stderr) == (1, missing)
    friend = run("ask", "Hello?", "--port", str(keyed.port), text=config(), env={"MODELSERVER_KEY": LAPTOP})
    assert (friend.returncode, friend.stdout, friend.stderr) == (0, "Hello?\n", "")
    for command in (("ask", "Hello?"), ("doctor",)):  # a key in the arguments is in the process list
        piped = run(*command, "-k", "-", "--port", str(keyed.port), text=config(), said=f"{LAPTOP}\n")
        assert (piped.returncode, piped.stderr) == (0, ""), piped.stdout
    unknown = run("ask", "Hello?", "-m", "ecko", "-k", LAPTOP, "--port", str(keyed.port), text=config())
    assert unknown.returncode == 1 and "did you mean 'echo'" in unknown.stderr


@pytest.mark.anew
def test_version_and_help() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run("--version").stdout)
    assert {"serve", "check", "ask"} <= set(re.findall(r"\w+", run("--help").stdout))
    assert run("nonsense").returncode == 2
