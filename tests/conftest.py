"""One upstream, and the servers in front of it that most tests share: real processes, started when first asked for."""

import gc
import itertools
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import pytest
from hypothesis import HealthCheck, settings
from leak_watch import WORD, Unable, Watch
from openai import OpenAI
from process import Process, beside, config
from scripted import Script, Upstream

pytest_plugins = ("browser",)  # its fixtures

# Each client of an SDK loads the certificates that are trusted, which takes a tenth of a second. No test calls who has one of
# those, so that clients here load this one. Servers do not: process.environment() leaves it out.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("authority.pem"))

# No property fails because the machine is busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

LAPTOP, PHONE = "sk-client-canary-laptop", "sk-client-canary-phone"
KEYS = f"""
keys:
  - {{name: laptop, key: "{LAPTOP}"}}
  - {{name: phone, key: "{PHONE}", models: [echo, "up/phone-*"]}}
"""
HASTY = """
timeouts: {first_byte: 1, between_bytes: 0.5, write: 0.5, request_body: 0.5}
keep_alive: {after: 0.4, every: 0.1}
max_answer: 1MiB
max_event: 64KiB
"""


@pytest.fixture(scope="session", autouse=True)
def watch(request: pytest.FixtureRequest) -> Iterator[Watch | None]:
    """Looks for keys in all that the servers of this run send; None where this machine does not allow it.

    Its last find is one of its own making: a watch that would have seen nothing proves nothing.
    """
    try:
        looking = Watch()
    except Unable as reason:
        request.config.stash[WATCHED] = f"not looked at: {reason}"
        yield None
        return
    with looking:
        Process.watch = looking
        looking.running(os.environ["PYTEST_CURRENT_TEST"].partition(" ")[0])  # began before there was a watch
        yield looking
        Process.watch = None
        wrong, seen = looking.verdict(), looking.report()
        request.config.stash[WATCHED] = (
            f"{seen.bytes:,} bytes in {seen.packets:,} packets of {len(seen.ports)} ports, {seen.dropped} dropped, "
            f"{seen.packed} heads of compressed bodies; {wrong or 'no key in them'}"
        )
        assert wrong == "", wrong
        leak(looking, WORD)
        assert len(looking.report().found) == 1, "the watch is blind"


def leak(watch: Watch, *pieces: bytes) -> int:
    """A server on a port of its own, which it returns, sends these pieces to a client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
        watch.on(port)
        with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                server.sendall(piece)
                assert client.recv(len(piece), socket.MSG_WAITALL) == piece
    watch.off(port)
    return port


WATCHED: Final = pytest.StashKey[str]()


TESTS: Final = Path(__file__).parent

# The files that take longest, which begin first: a process that begins one last would let the others wait.
LONGEST: Final = (
    *("test_life", "test_scaling", "test_page_playground", "test_page_docs", "test_page", "test_bench", "test_soak"),
    *("test_fault_matrix", "test_messages_corpus", "test_corpus_process", "test_corpus_hosts", "test_store_process"),
    *("test_start", "test_ingress", "test_logs", "test_nulls", "test_page_models", "test_corpus_openai", "test_memory"),
    *("test_drain", "test_shedding", "test_proxies", "test_limits_process", "test_budgets"),
)


def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes the tests run in: half as many again as there are cores, since many tests wait."""
    return (os.cpu_count() or 1) * 3 // 2


def pytest_configure(config: pytest.Config) -> None:
    """Change where each process begins to import the tests: what one has compiled by then, the others need not compile.

    Half the time of importing a test the first time goes into rewriting its asserts.
    """
    worker = getattr(config, "workerinput", None)
    if worker is not None and config.args in (["tests"], [str(TESTS)]):
        files = sorted(map(str, TESTS.rglob("test_*.py")))
        first = len(files) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
        config.args = [*files[first:], *files[:first]]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep what importing the tests makes out of every later run of the cycle collector: a million objects, half a second."""
    gc.disable()
    yield
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first, and the others in the order of their names, in every process."""
    place = {name: n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (place.get(item.path.stem, len(place)), item.path))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say to the processes that this test starts whether they are forked."""
    Process.anew = item.get_closest_marker("anew") is not None


def pytest_runtest_logstart(nodeid: str) -> None:
    if Process.watch is not None:
        Process.watch.running(nodeid)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if told := config.stash.get(WATCHED, ""):
        terminalreporter.write_line(f"what the servers sent: {told}")


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """Where the provider `up` of every server below is: models are addressed as up/<name of a script>."""
    with Upstream() as upstream:
        yield upstream


_numbers = itertools.count(1)


@pytest.fixture
def scripted(upstream: Upstream) -> Callable[..., str]:
    """Gives scripts to a model of its own; returns the script's name. Clients ask for up/<name>."""

    def scripted(*scripts: Script, prefix: str = "s") -> str:
        return upstream.script(f"{prefix}-{next(_numbers)}", *scripts)

    return scripted


@pytest.fixture(scope="session")
def server(upstream: Upstream) -> Iterator[Process]:
    """A keyless server with the default limits."""
    with Process(config(upstream)) as process:
        yield process


@pytest.fixture(scope="session")
def every_protocol(upstream: Upstream) -> Iterator[Process]:
    """One with the default limits, and a provider of each protocol at the upstream: up, claude and gemini."""
    with Process(config(upstream, providers=beside(upstream))) as process:
        yield process


@pytest.fixture(scope="session")
def hasty(upstream: Upstream) -> Iterator[Process]:
    """One whose timeouts and limits are short."""
    with Process(config(upstream, server=HASTY)) as process:
        yield process


@pytest.fixture(scope="session")
def keyed(upstream: Upstream) -> Iterator[Process]:
    """One with two keys, of which the second may use few models."""
    with Process(config(upstream, KEYS)) as process:
        yield process


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    """For requests that the SDK would not send."""
    with httpx.Client(timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def sdk(server: Process) -> Iterator[OpenAI]:
    """The official client, without its retries, at `server`."""
    with OpenAI(base_url=server.url, api_key="-", max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """What a server shows that nobody vouches for, for `localhost` and `images.test`; and the file by which it is trusted."""
    folder = tmp_path_factory.mktemp("certificate")
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed, which makes the certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,DNS:images.test",
         "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, capture_output=True, check=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"
