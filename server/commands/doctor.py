"""`modelserver.py doctor`: what stands between this machine and an answer, looked at one by one.

Each provider's host is dialled, its certificate checked, and nothing sent: that costs nothing. The running server is asked
for its health and for one streamed answer of the built-in model, or of the models named, which their providers bill.
"""

import asyncio
import json
import socket
import ssl
import sys
import sysconfig
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout, ContentTypeError

from gateway.settings import Settings
from gateway.words import counted
from providers.contract import Upstream

from ..outbound.dial import Proxy, ssl_context
from .ask import START, STRANGER, RequestFailed, address, chunks, words_of
from .banner import FREE, example_model

_PATIENCE: Final = 120.0  # seconds for an answer
_QUESTION: Final = "Say hello in one word."


class Finding(NamedTuple):
    """One line. mark: ok, off (by choice), slow or FAIL; what was looked at; what was found, and what to do."""

    mark: str
    what: str
    found: str


async def doctor(settings: Settings, models: list[str], key: str) -> int:
    """Print what is well and what is not; returns the exit code. models: to ask, instead of echo."""
    failed = False
    async for finding in _findings(settings, models, key):
        failed |= finding.mark == "FAIL"
        print(f"{finding.mark:4}  {finding.what:24}  {finding.found}", flush=True)
    return int(failed)


async def _findings(settings: Settings, models: list[str], key: str) -> AsyncIterator[Finding]:
    if is_slow_build(sysconfig.get_config_vars()):
        words = "built without optimisations: one with --enable-optimizations, as Debian's, needs 20 to 30 % less CPU"
        yield Finding("slow", f"Python {sys.version.split()[0]}", words)
    if off := settings.off:
        yield Finding(
            "off", counted(len(off), "provider"), ", ".join(f"{name} ({lacking})" for name, lacking in off.items())
        )
    patience = settings.config.server.timeouts.connect
    dials = [
        _dial(to, settings.config.providers[to.name].ca_file, patience, settings.proxies.get(to.name, ""))
        for to in settings.providers.values()
    ]
    for found in await asyncio.gather(*dials):
        yield found
    base = address(settings.config.server)
    async with ClientSession(timeout=ClientTimeout(total=_PATIENCE, sock_connect=patience)) as session:
        health = await _health(session, base)
        yield health
        if health.mark == "FAIL":
            return
        entry = await _entry(session, base, key)
        yield entry
        if entry.mark == "FAIL":
            return
        for model in models or [each for each in (example_model(settings),) if each.rpartition("/")[2] == FREE]:
            yield await _answer(session, base, model, key)


def is_slow_build(build: Mapping[str, Any]) -> bool:
    """Whether a Python was built without profile and link time optimisation. build: sysconfig's variables.

    Debian's build optimises in its own way: it asks configure for nothing, and clears PGO_PROF_USE_FLAG.
    """
    asked = build.get("CONFIG_ARGS")  # None on Windows, whose builds are optimised
    return asked is not None and "--enable-optimizations" not in asked and bool(build.get("PGO_PROF_USE_FLAG"))


async def _dial(upstream: Upstream, ca_file: str, patience: float, proxy: str) -> Finding:
    """Whether this provider's host can be reached, as the server would reach it."""
    if not upstream.base_url:
        return Finding("ok", upstream.name, "built in")
    url = urlsplit(upstream.base_url)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    place = f"{host}:{port} through the proxy" if proxy else f"{host}:{port}"
    began = time.monotonic()
    try:
        tls = ssl_context(ca_file) if url.scheme == "https" else None
        async with asyncio.timeout(patience):
            if proxy:
                writer = await _tunnel(Proxy.of(proxy), host, port, tls)
            else:
                _, writer = await asyncio.open_connection(host, port, ssl=tls)
    except (OSError, ssl.SSLError) as error:  # TimeoutError is one
        return Finding("FAIL", upstream.name, f"{place}: {_why(error, patience)}")
    writer.close()
    kind = "a trusted connection" if tls else "a connection without TLS"
    return Finding("ok", upstream.name, f"{place}: {kind} in {(time.monotonic() - began) * 1000:.0f} ms")


async def _tunnel(proxy: Proxy, host: str, port: int, tls: ssl.SSLContext | bool | None) -> asyncio.StreamWriter:
    """Connect to a host through a proxy, with TLS; without TLS only to the proxy. Raises OSError."""
    try:
        reader, writer = await asyncio.open_connection(proxy.url.host, proxy.url.port)
    except OSError as error:
        raise OSError(f"the proxy cannot be reached: {error.strerror or error}") from None
    if tls is None:
        return writer
    lines = [f"CONNECT {host}:{port} HTTP/1.1", f"Host: {host}:{port}"]
    lines += [f"{name}: {value}" for name, value in proxy.headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    try:
        status = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError):
        raise OSError("the proxy does not speak HTTP") from None
    if status != b"200":
        raise OSError(f"the proxy refused the connection (HTTP status {status.decode(errors='replace')})")
    context = tls if isinstance(tls, ssl.SSLContext) else ssl.create_default_context()
    await writer.start_tls(context, server_hostname=host)
    return writer


def _why(error: OSError, patience: float) -> str:
    match error:
        case socket.gaierror():
            return "the name cannot be resolved: check base_url and this machine's DNS"
        case ssl.SSLCertVerificationError():
            return f"the certificate is not trusted ({error.verify_message}): ca_file names an authority of your own"
        case ssl.SSLError():
            return "this port does not speak TLS: check base_url"
        case ConnectionRefusedError():
            return "nobody listens there: is it running?"
        case TimeoutError():
            return f"no connection within {patience:g} s: check the network and its firewall"
    return str(error.strerror or error)


async def _health(session: ClientSession, base: str) -> Finding:
    try:
        async with session.get(f"{base}/healthz") as answer:
            said = await answer.json()
    except (ContentTypeError, ValueError):
        return Finding("FAIL", "server", STRANGER.format(base))
    except (ClientError, OSError):
        return Finding("FAIL", "server", f"nothing answers at {base}: {START}")
    if not isinstance(said, dict) or "version" not in said:
        return Finding("FAIL", "server", STRANGER.format(base))
    if said.get("trouble"):
        return Finding("FAIL", "server", f"{base}: {'; '.join(said['trouble'])}")
    if said.get("reload"):
        return Finding("FAIL", "server", f"{base}: the last reload changed nothing: {said['reload']}")
    return Finding("ok", "server", f"{base}: version {said['version']}, generation {said.get('generation', '?')}")


async def _entry(session: ClientSession, base: str, key: str) -> Finding:
    """Whether the key, or a call without one, is let in; this calls no model."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with session.get(f"{base}/v1/models", headers=headers) as answer:
            text = await answer.text(errors="replace")
        if answer.status == 200:
            return Finding("ok", "models", f"{counted(len(json.loads(text)['data']), 'model')} to call")
    except (ClientError, OSError, ValueError, LookupError, TypeError) as error:
        return Finding("FAIL", "models", str(error) or type(error).__name__)
    return Finding("FAIL", "models", words_of(answer.status, text, bool(key), base))


async def _answer(session: ClientSession, base: str, model: str, key: str) -> Finding:
    """Whether a stream of this model comes to its end, read as a client would."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": _QUESTION}]}
    began = time.monotonic()
    first = 0.0
    try:
        async for _ in chunks(session, f"{base}/v1/chat/completions", body, key):
            first = first or time.monotonic() - began
    except (RequestFailed, ClientError, OSError) as error:
        return Finding("FAIL", model, str(error) or type(error).__name__)
    took = time.monotonic() - began
    return Finding("ok", model, f"answered: the first chunk after {first:.2f} s, all of it after {took:.2f} s")
