"""One upstream, and the servers in front of it that most tests share: real processes, started when first asked for."""

import itertools
from collections.abc import Callable, Iterator

import httpx2 as httpx
import pytest
from openai import OpenAI
from process import Process, config
from scripted import Script, Upstream

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


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """Where the provider `up` of every server below lives: models are addressed as up/<name of a script>."""
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
