"""What an operator gets wrong on the first day: one sentence for each, with what to do."""

import socket
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx2 as httpx
import pytest
from conftest import LAPTOP
from model_table import FACTS
from process import ROOT, Process, config, environment, run

from gateway.addresses import wrong_host
from gateway.config import load
from gateway.problems import ConfigError
from gateway.secret_checks import wrong_name
from gateway.words import counted
from server.process.listener import listen

BASE = "providers: {echo: {}}\n"
KEY = BASE + "keys:\n  - name: me\n    key: "
COMMA = "a comma is missing between two entries, or quotes around a text that holds one of { } [ ] , :"
COMMENT = "a # behind a space begins a comment: put the text in quotes if it belongs to it"
OPEN = "the { or [ that begins in this line is not closed"
SPACE = "write a space after the colon"
STAR = "a text that begins with * or & must be in quotes"
VARIABLE = 'put "${NAME}" in quotes: inside { } and [ ] YAML does not take it without them'
WIDE = "the colon is a full-width one (\uff1a): write `:` and a space"


def mistakes(text: str) -> list[str]:
    """What is wrong with a configuration, one line each, without the file's name."""
    with pytest.raises(ConfigError) as error:
        load(text, {}, FACTS)
    return [line.removeprefix("config.yaml:") for line in str(error.value).splitlines()]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("providers:\n  openai: {api_key: ${X}}\n", f"2: not valid YAML: {VARIABLE}"),
        ("providers:\n  openai: {api_key: [${A}, ${B}]}\n", f"2: not valid YAML: {VARIABLE}"),
        ("server:\n  port:8080\n", f"2: server: expected a mapping (key: value); {SPACE}"),
        ("server:\n  host: localhost\n  port:8080\nproviders: {}\n", f"3: not valid YAML: {SPACE}"),
        ("server:\n  port:8080\n\n  host: localhost\n", f"2: not valid YAML: {SPACE}"),
        ("providers:{echo: {}}\n", f"1: not valid YAML: {SPACE}"),
        ("server:\n  port\uff1a80\n", f"2: server: expected a mapping (key: value); {WIDE}"),
        ("server\uff1a\n  port: 80\n", f"1: not valid YAML: {WIDE}"),
        ("server:\n  port = 80\n", "2: server: expected a mapping (key: value); write `key: value`, not `key = value`"),
        ("server:\n  allowed_hosts: [*.example.com]\n", f"2: not valid YAML: {STAR}"),
        ("server:\n  allowed_hosts:\n    - *.example.com\n", f"3: not valid YAML: {STAR}"),
        ("models:\n  *: echo\n", f"2: not valid YAML: {STAR}"),
        ("server: *x\n", f"1: YAML anchors and aliases are not allowed: write it out; {STAR.replace('* or &', '& or *')}"),
        (f"{KEY}@me\n", "4: not valid YAML: a text that begins with @, % or ` must be in quotes"),
        (f"{KEY}%me\n", "4: not valid YAML: a text that begins with @, % or ` must be in quotes"),
        (f"{KEY}!me\n", "4: YAML tags are not allowed: a text that begins with ! must be in quotes"),
        (f"{KEY}|me\n", "4: not valid YAML: a text that begins with | or > must be in quotes"),
        (f"{KEY}#abcdefghijklmnop\n", f"4: keys[0].key: expected a text; {COMMENT}"),
        ("models:\n  gpt #4: echo\n  a: echo\n", f"2: not valid YAML: {COMMENT}"),
        (
            f"{KEY}me: you\n",
            "4: not valid YAML: a text that holds a colon and a space, or ends in a colon, must be in quotes",
        ),
        (
            "providers:\n  echo: {}\n   openai: {}\n",
            "3: not valid YAML: the line is indented unlike those above: keys of one section begin in the same column",
        ),
        ("providers: {echo: {}\nserver:\n  port: 80\n", f"1: not valid YAML: {OPEN}"),
        ("server:\n  allowed_hosts: [a, b\n  port: 80\n", f"2: not valid YAML: {OPEN}"),
        ("server: [\n", f"1: not valid YAML: {OPEN}"),
        ("providers: {echo: {}}}\n", "1: not valid YAML: a } or ] closes nothing"),
        ("providers: {echo: {} openai: {}}\n", f"1: not valid YAML: {COMMA}"),
        ("keys:\n-\tname: me\n", "2: not valid YAML: a tab stands where YAML takes spaces only"),
        ("keys:\n  -name: me\n   key: x\n", "2: not valid YAML: write a space after the dash"),
        (
            'usage: {path: "C:\\users"}\n',
            "1: not valid YAML: a backslash in double quotes begins an escape: use single quotes, or write it twice",
        ),
        (
            "keys:\n  - {name: 'it's me'}\n",
            "2: not valid YAML: a text goes on behind its closing quote: write a quote inside 'single' quotes twice, and "
            'one inside "double" quotes with a backslash',
        ),
        (f"{BASE}---\nserver: {{}}\n", "2: not valid YAML: a line of --- begins a second document: the configuration is one"),
        (
            "[server]\nport = 80\n",
            "2: not valid YAML: expected lines of `key: value`; lines such as [section] are not YAML's",
        ),
        (f"{BASE}\0\n", "2: not valid YAML: the line holds a control character, such as NUL or ESC: remove it"),
        ("server:\n  \u00a0port: 80\n", "2: server.port: unknown key; a blank that is no plain space stands beside it: remove it"),  # noqa: E501
        ("providers:\n  - echo\n", "2: providers: expected a mapping (key: value); leave out the dash or the [ ] around it"),
        ("providers:\n  openai:\n    api_key:sk-canary\n", f"3: providers.openai: expected a mapping (key: value); {SPACE}"),
        ("server: {port: 1, port: 2}\n", "1: server.port: given twice (first in line 1)"),
        ("keys:\n  name: a\n", "2: keys: expected a list ([a, b] or lines with '- ')"),
    ],
)  # fmt: skip
def test_a_slip_in_yaml_is_one_sentence(text: str, says: str) -> None:
    assert mistakes(text) == [says]


def test_a_key_that_is_cut_off_by_a_comment_is_a_warning() -> None:
    settings = load(f"{KEY}abcdefghijklmnop #qrst\n", {}, FACTS)
    assert settings.warnings == (f"config.yaml:4: keys[0].key: warning: {COMMENT}",)
    assert not load(f"{KEY}abcdefghijklmnop # mine\n", {}, FACTS).warnings


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (BASE.encode("utf-16"), "is UTF-16 or UTF-32 text: save it as UTF-8"),
        (BASE.encode("utf-16-le"), "is UTF-16 or UTF-32 text: save it as UTF-8"),
        (BASE.encode() + "# caf\xe9\n".encode("latin-1"), "is not UTF-8 text (line 2): save it as UTF-8"),
        (b"\xef\xbb\xbf" + BASE.encode(), ""),
    ],
)
def test_other_encodings(data: bytes, says: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.yaml")
        path.write_bytes(data)
        got = run("check", "--config", str(path))
    assert (got.returncode, got.stderr) == ((2, f"modelserver: {path} {says}\n") if says else (0, ""))


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("localhost:80", "write a name or an address alone: the port goes into 'port'"),
        ("[::1]:80", "write a name or an address alone: the port goes into 'port'"),
        ("http://localhost/v1", "write a name or an address alone, without http:// and a path; the port goes into 'port'"),
        ("[::1]", "write it without brackets, such as ::1"),
        ("", "is empty: write 127.0.0.1 for this machine only, or 0.0.0.0 for every network (with keys)"),
        ("8080", "write a name or an address: the port goes into 'port'"),
        ("*", "write 0.0.0.0 for every network, or :: for IPv6 too"),
        ("256.1.1.1", "expected a name or an IP address of this machine, such as 127.0.0.1"),
        ("127.0.0.1,::1", "expected a name or an IP address of this machine, such as 127.0.0.1"),
        *((host, "") for host in ("127.0.0.1", "::1", "0.0.0.0", "localhost", "my-host.lan.", "fe80::1%eth0")),  # noqa: S104
    ],
)  # fmt: skip
def test_hosts(host: str, says: str) -> None:
    assert wrong_host(host) == says
    if says:
        assert mistakes(f'server: {{host: "{host}"}}\n{BASE}') == [f"1: server.host: {says}"]


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("no-such-host.invalid", "cannot listen on no-such-host.invalid:8080: the name cannot be resolved"),
        ("192.0.2.1", "cannot listen on 192.0.2.1:8080: this machine has no such address: write one of its own"),
    ],
)
def test_where_nothing_can_listen(host: str, says: str) -> None:
    with pytest.raises(OSError, match=says):
        listen(host, 8080)


def test_names_of_keys() -> None:
    empty = "a key's name may not be empty, or begin or end with a space"
    long = "a key's name may have at most 100 characters, and no line ends or control characters"
    assert [wrong_name(name) for name in ("", " ", "a ", "a\nb", "a" * 101)] == [empty, empty, empty, long, long]
    assert [wrong_name(name) for name in ("me", "my laptop", "\u4e2d\u6587", 'a"b')] == [""] * 4
    assert mistakes(f'{BASE}keys: [{{name: "", key: abcdefghijklmnopqrst}}]\n') == [f"2: keys[0].name: {empty}"]
    got = run("keygen", "")
    assert (got.returncode, got.stdout, got.stderr) == (
        2,
        "",
        f"modelserver: argument NAME: {empty}; --help tells more\n",
    )


def test_one_of_a_thing() -> None:
    assert [counted(number, "key") for number in (0, 1, 2)] == ["0 keys", "1 key", "2 keys"]
    assert "Callers: 1 key." in run("check", text=f"{KEY}abcdefghijklmnopqrst\n").stdout


class Stranger(BaseHTTPRequestHandler):
    """A web server of another kind."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Nothing is to be logged."""


def test_a_port_that_is_no_modelserver() -> None:
    with HTTPServer(("127.0.0.1", 0), Stranger) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        stranger = (
            f"what answers at http://127.0.0.1:{other.server_port} is no ModelServer: say where it is with --host"
        )
        for command in (("ask", "Hi"), ("doctor",), ("reload",)):
            got = run(*command, "--port", str(other.server_port), text=config())
            assert got.returncode == 1 and stranger in got.stdout + got.stderr and "Traceback" not in got.stderr
        other.shutdown()
    got = run("ask", "Hi", text=config())
    assert (
        got.stderr
        == "modelserver: server.port is 0, which lets the system choose: say with --port where the server is\n"
    )


def test_a_key_that_no_header_can_hold(keyed: Process) -> None:
    wrong = "a key may only hold printable ASCII characters, without spaces; --help tells more\n"
    got = run("ask", "Hi", "-k", "a\nb", "--port", str(keyed.port), text=config())
    assert (got.returncode, got.stderr) == (2, f"modelserver: argument -k/--key: {wrong}")
    got = run("ask", "Hi", "-k", "-", "--port", str(keyed.port), text=config(), said="a b\n")
    assert (got.returncode, got.stderr) == (2, f"modelserver: {wrong}")
    got = run("ask", "Hi", "--port", str(keyed.port), text=config(), env={"MODELSERVER_KEY": f"{LAPTOP}\n"})
    assert (got.returncode, got.stdout) == (0, "Hi\n")


@pytest.mark.parametrize(
    ("lines", "code", "says"),
    [
        ('export OPENAI_API_KEY="sk-env-canary-abcdef"\n', 0, ":1: warning: systemd ignores lines with `export`"),
        ("# a comment\n\nOPENAI_API_KEY='sk-env-canary-abcdef'\r\n", 0, "Providers: openai, echo."),
        ('OPENAI_API_KEY="sk-env-canary\n', 2, ":1: the quote around the value is not closed"),
        ("OPENAI-KEY=x\n", 2, ":1: expected NAME=value, with a name of letters, digits and _"),
    ],
)
def test_files_of_variables(tmp_path: Path, lines: str, code: int, says: str) -> None:
    file = tmp_path / "environment"
    file.write_bytes(lines.encode())
    got = run("check", "--env-file", str(file), text='providers: {openai: {api_key: "${OPENAI_API_KEY}"}, echo: {}}\n')
    assert (got.returncode, says in got.stdout + got.stderr) == (code, True)
    assert "canary" not in got.stdout + got.stderr


def test_options_and_words_in_the_wrong_place() -> None:
    got = run("--env-file", "x")
    assert got.stderr == "modelserver: --env-file belongs to check and doctor; --help tells more\n"
    got = run("ask", "Hi", "there")
    assert got.stderr == (
        "modelserver: there is no place for 'there': put a text of several words in quotes; --help tells more\n"
    )


def test_a_reader_that_has_read_enough() -> None:
    """`check | head -0`: the pipe is closed before anything is written."""
    with subprocess.Popen(
        [sys.executable, "modelserver.py", "check"], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as check:  # fmt: skip
        assert check.stdout is not None and check.stderr is not None
        check.stdout.close()
        assert check.stderr.read() == b""


def test_the_banner_of_a_configuration_without_models(http: httpx.Client) -> None:
    """The line to try names a model that is served."""
    with Process("server: {port: 0}\nproviders: {echo: {options: {delay: 0}}}\n") as server:
        assert '"model": "echo/echo"' in server.out
        body = {"model": "echo/echo", "messages": [{"role": "user", "content": "Hi"}]}
        assert http.post(f"{server.url}/chat/completions", json=body).status_code == 200


def test_a_method_that_is_not_served_names_those_that_are(http: httpx.Client, server: Process) -> None:
    for method, path, allow in (
        ("GET", "/v1/chat/completions", "POST, OPTIONS"),
        ("POST", "/v1/models", "GET, HEAD, OPTIONS"),
        ("POST", "/inspector/exchanges", "GET, DELETE, HEAD, OPTIONS"),
    ):
        got = http.request(method, f"{server.root}{path}")
        assert (got.status_code, got.headers["allow"]) == (405, allow)


def test_the_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="the port is in use: stop what"):
        listen("127.0.0.1", taken.getsockname()[1])
