"""server/outbound/resolver.py: a name server that hangs or fails, played by a function; and names through the real process."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from scripted import Upstream, answer

from gateway.config_schema import Timeouts
from providers.errors import Failure
from server.outbound.dial import Addresses
from server.outbound.pool import ConnectionPool
from server.outbound.resolver import Resolver

FAILS = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
GONE = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class Server:
    """What the system's resolver says: addresses, a failure, or nothing until `release`. asked: the names, in order."""

    def __init__(self) -> None:
        self.says: list[str] | Exception | None = ["192.0.2.1"]
        self.asked: list[str] = []
        self.release = threading.Event()

    def __call__(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        says = self.says
        if says is None:
            self.release.wait(10)
            says = ["192.0.2.9"]
        if isinstance(says, Exception):
            raise says
        kinds = [
            (socket.AF_INET6, (each, port, 0, 0)) if ":" in each else (socket.AF_INET, (each, port)) for each in says
        ]
        return [(family, socket.SOCK_STREAM, 6, "", address) for family, address in kinds]


@pytest.fixture
def names() -> Any:
    server = Server()
    yield server
    server.release.set()


async def hosts(resolver: Resolver, name: str = "llm.example") -> list[str]:
    return [each["host"] for each in await resolver.resolve(name, 443)]


async def test_addresses_come_as_aiohttp_wants_them(names: Server) -> None:
    names.says = ["192.0.2.1", "2001:db8::1"]
    found = await Resolver(1, lookup=names).resolve("llm.example", 443)
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    assert found == [
        {"hostname": "llm.example", "host": "192.0.2.1", "port": 443, "family": socket.AF_INET, "proto": 6, "flags": flags},
        {"hostname": "llm.example", "host": "2001:db8::1", "port": 443, "family": socket.AF_INET6, "proto": 6, "flags": flags},
    ]  # fmt: skip
    [local] = [each for each in await Resolver(1).resolve("localhost", 80) if each["family"] == socket.AF_INET]
    assert local["host"] == "127.0.0.1"


async def test_an_old_address_is_used_while_the_name_server_fails(names: Server) -> None:
    resolver = Resolver(1, keep=4, lookup=names)
    assert await hosts(resolver) == ["192.0.2.1"]
    names.says = FAILS
    assert await hosts(resolver) == ["192.0.2.1"]
    names.says = ["192.0.2.2"]
    assert await hosts(resolver) == ["192.0.2.2"]
    names.says = GONE
    with pytest.raises(socket.gaierror):
        await hosts(resolver)
    assert names.asked == ["llm.example"] * 4


async def test_a_name_that_was_never_good_fails(names: Server) -> None:
    names.says = FAILS
    with pytest.raises(socket.gaierror):
        await hosts(Resolver(1, keep=4, lookup=names))
    names.says = ["192.0.2.1"]
    forgetful = Resolver(1, lookup=names)
    await hosts(forgetful)
    names.says = FAILS
    with pytest.raises(socket.gaierror):
        await hosts(forgetful)


@pytest.mark.fault("F2")
async def test_an_old_address_is_used_while_the_name_server_hangs(names: Server) -> None:
    resolver = Resolver(1, keep=4, lookup=names)
    await hosts(resolver)
    names.says = None
    assert await hosts(resolver) == ["192.0.2.1"]
    assert await hosts(resolver) == ["192.0.2.1"]  # the one lookup it may make still hangs
    assert len(names.asked) == 2
    names.release.set()
    for _ in range(200):
        if resolver._known["llm.example", 443][0]["host"] == "192.0.2.9":
            break
        await asyncio.sleep(0.01)
    names.says = FAILS
    assert await hosts(resolver) == ["192.0.2.9"]  # the late answer was not lost


async def test_lookups_have_a_bound_and_so_have_names(names: Server) -> None:
    resolver = Resolver(2, keep=2, lookup=names)
    for name in ("a", "b", "c"):
        await hosts(resolver, name)
    assert len(resolver._known) == 2
    names.says = None
    hanging = [asyncio.ensure_future(hosts(resolver, name)) for name in ("x", "y")]
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="too many"):
        await hosts(resolver, "z")
    for each in hanging:
        each.cancel()
    names.release.set()
    for _ in range(200):
        if not resolver._running:
            break
        await asyncio.sleep(0.01)
    assert await hosts(resolver, "z") == ["192.0.2.9"]


async def test_addresses_are_asked_for_once_and_used_in_turn(names: Server) -> None:
    names.says = ["192.0.2.1", "2001:db8::1"]
    addresses = Addresses(Resolver(4, lookup=names))
    four = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 443))
    six = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 443, 0, 0))
    found = await asyncio.gather(*[addresses.of("llm.example", 443) for _ in range(3)])
    assert [infos[0] for infos in found] == [four, six, four]
    assert await addresses.of("llm.example", 443) == [six, four]
    assert names.asked == ["llm.example"]
    assert await addresses.of("192.0.2.7", 443) == [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 443))]
    assert await addresses.of("::1", 443) == [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 443, 0, 0))]
    names.says = FAILS
    for _ in range(2):  # a failure is not remembered
        with pytest.raises(socket.gaierror):
            await addresses.of("other.example", 443)
    assert names.asked == ["llm.example", "other.example", "other.example"]
    names.says = None
    hanging = asyncio.ensure_future(addresses.of("slow.example", 443))
    await asyncio.sleep(0)
    await addresses.aclose()
    with pytest.raises(asyncio.CancelledError):
        await hanging


@asynccontextmanager
async def pool(lookup: Callable[..., Any]) -> AsyncIterator[ConnectionPool]:
    pool = ConnectionPool(Timeouts(connect=0.3), "test", 10, True, lambda: None, Resolver(4, keep=4, lookup=lookup))
    yield pool
    await pool.aclose()


async def test_a_provider_whose_name_hangs_takes_nothing_from_another(names: Server, upstream: Upstream) -> None:
    """T35: more lookups than the loop has threads; the other provider's own goes through meanwhile."""
    upstream.script("named", answer(b"ok"))
    names.says = None
    async with pool(names) as stuck, pool(socket.getaddrinfo) as free:
        hanging = [
            asyncio.ensure_future(stuck.request("POST", f"http://h{n}.example/v1", {}, b"{}", 5)) for n in range(4)
        ]
        await asyncio.sleep(0)
        answered = await free.request("POST", f"http://localhost:{upstream.port}/models/named", {}, b"{}", 5)
        assert answered.status == 200 and not any(each.done() for each in hanging)
        answered.close()
        for each in hanging:
            with pytest.raises(Failure) as caught:
                await each
            assert caught.value.code == "upstream_connect_timeout"
        with pytest.raises(Failure) as caught:
            await stuck.request("POST", "http://h5.example/v1", {}, b"{}", 5)
        assert caught.value.code == "upstream_dns"
