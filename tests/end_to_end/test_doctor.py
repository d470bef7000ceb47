"""`python modelserver.py doctor`: a line for everything an answer needs, and exit code 1 where one of them is missing."""

import re
import socket
import ssl
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import LAPTOP
from http_client import delta
from process import ROOT, Process, config, run
from scripted import CLOSE, Script, Upstream, answer, sse, stream

from server.commands.doctor import is_slow_build


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


START = sse(delta("Once "), done=False)


def closed() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def lines(said: str) -> dict[str, tuple[str, str]]:
    """What was looked at → mark, and what was found."""
    rows = re.findall(r"^(\w+) +(\S.*?)  +(\S.*)$", said, re.MULTILINE)
    return {what: (mark, found) for mark, what, found in rows}


def test_all_is_well(server: Process, upstream: Upstream) -> None:
    text = config(upstream, more="").replace("models:", '  groq: {api_key: "${GROQ_API_KEY}"}\nmodels:', 1)
    before = len(upstream.requests)
    done = run("doctor", "--port", str(server.port), text=text)
    found = lines(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert found["1 provider"] == ("off", "groq (GROQ_API_KEY)")
    assert found["echo"][0] == "ok" and found["echo"][1].startswith("answered: ")
    assert found["up"][0] == "ok" and f"127.0.0.1:{upstream.port}: a connection without TLS in " in found["up"][1]
    assert found["server"][0] == "ok" and f"{server.root}: version " in found["server"][1]
    assert len(upstream.requests) == before, "a provider was sent something"


@pytest.mark.parametrize(
    ("build", "slow"),
    [
        ({"CONFIG_ARGS": "'--enable-shared'", "PGO_PROF_USE_FLAG": "-fprofile-use"}, True),
        ({"CONFIG_ARGS": "'--enable-optimizations' '--with-lto'", "PGO_PROF_USE_FLAG": "-fprofile-use"}, False),
        ({"CONFIG_ARGS": "'--enable-shared'", "PGO_PROF_USE_FLAG": ""}, False),  # Debian's
        ({}, False),  # Windows
    ],
)
def test_a_python_that_is_not_optimised(build: dict[str, str], slow: bool) -> None:
    assert is_slow_build(build) is slow


def test_the_python_at_hand_is_named_if_it_is_slow(server: Process, upstream: Upstream) -> None:
    found = lines(run("doctor", "--port", str(server.port), text=config(upstream)).stdout)
    name = f"Python {sys.version.split()[0]}"
    assert (name in found) is is_slow_build(sysconfig.get_config_vars())
    assert name not in found or found[name][0] == "slow"


def test_a_server_imports_no_other_command() -> None:
    """The server's modules, without the client that only `ask` and `doctor` need."""
    done = run_python("import sys, modelserver, server.commands.cli; print(*sys.modules)")
    assert {"server.commands.ask", "server.commands.doctor", "server.commands.reload", "aiohttp_sse_client"}.isdisjoint(
        done.split()
    )


def test_a_server_imports_nothing_for_mistakes_and_readers() -> None:
    done = run_python("import sys, modelserver, server.commands.cli; print(*sys.modules)")
    assert {"difflib", "gzip", "server.markdown"}.isdisjoint(done.split())


def test_the_collector_does_not_walk_what_the_imports_make() -> None:
    done = run_python("import gc, modelserver, server.commands.cli; print(gc.get_stats()[2]['collections'])")
    assert done == "0\n"


def test_what_cannot_be_reached(upstream: Upstream) -> None:
    port = closed()
    text = config(upstream).replace(
        "models:",
        f"""  gone: {{host: vllm, base_url: "https://gone.invalid/v1"}}
  refused: {{host: vllm, base_url: "http://127.0.0.1:{port}/v1"}}
  plain: {{host: vllm, base_url: "https://127.0.0.1:{upstream.port}/v1"}}
models:""",
        1,
    )
    done = run("doctor", "--port", str(port), text=text)
    found = lines(done.stdout)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert {name for name, (mark, _) in found.items() if mark == "FAIL"} == {"gone", "refused", "plain", "server"}
    assert "gone.invalid:443: the name cannot be resolved" in found["gone"][1]
    assert "nobody listens there: is it running?" in found["refused"][1]
    assert "does not speak TLS" in found["plain"][1]
    assert f"nothing answers at http://127.0.0.1:{port}" in found["server"][1]


def test_a_certificate_nobody_vouches_for(certificate: tuple[ssl.SSLContext, Path]) -> None:
    context, ca_file = certificate
    with Upstream(ssl=context) as upstream:
        url = f"https://localhost:{upstream.port}/v1"
        text = f"""
providers:
  open: {{protocol: openai, base_url: "{url}"}}
  own: {{protocol: openai, base_url: "{url}", ca_file: "{ca_file}"}}
"""
        found = lines(run("doctor", "--port", str(closed()), text=text).stdout)
    assert found["open"][0] == "FAIL" and "the certificate is not trusted (self-signed certificate)" in found["open"][1]
    assert found["own"][0] == "ok" and "a trusted connection" in found["own"][1]


@pytest.mark.parametrize(
    ("script", "mark", "says"),
    [
        (stream(START + sse(delta(finish="stop"))), "ok", "answered: the first chunk after"),
        ([*stream(START, end=False), 0.1, CLOSE], "FAIL", "The upstream closed the stream before"),
        (answer({}, 401), "FAIL", "HTTP 502: The upstream refused this server's credentials"),
    ],
)
def test_a_model_is_asked(
    server: Process, upstream: Upstream, scripted: Callable[..., str], script: Script, mark: str, says: str
) -> None:
    name = scripted(script)
    done = run("doctor", "-m", f"up/{name}", "-m", "ehco", "--port", str(server.port), text=config(upstream))
    found = lines(done.stdout)
    assert done.returncode == 1  # for ehco
    assert found[f"up/{name}"][0] == mark and found[f"up/{name}"][1].startswith(says)
    assert found["ehco"][0] == "FAIL" and "did you mean 'echo'?" in found["ehco"][1]
    assert found["echo"] == ("ok", "built in"), "only the models named are asked"
    assert len(upstream.of(name)) == 1


def test_a_server_with_keys(keyed: Process) -> None:
    stranger = run("doctor", "--port", str(keyed.port), text=config())
    assert (
        stranger.returncode == 1 and "HTTP 401: this server wants a client key: give it with -k KEY" in stranger.stdout
    )
    friend = run("doctor", "--port", str(keyed.port), "-k", LAPTOP, text=config())
    assert friend.returncode == 0 and LAPTOP not in friend.stdout


def test_a_reload_that_failed_is_told(upstream: Upstream) -> None:
    with Process(config(upstream)) as server:
        server.config.write_text("server: [", encoding="utf-8")
        assert run("reload", "--port", str(server.port), text=config()).returncode == 2
        done = run("doctor", "--port", str(server.port), text=config())
        assert done.returncode == 1 and "the last reload changed nothing: config.yaml:1: not valid YAML" in done.stdout
        server.kill()
