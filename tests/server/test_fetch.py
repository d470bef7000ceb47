"""The image fetcher: what it refuses without a connection, what it cuts short, and what it puts into a request."""

import asyncio
import base64
import copy
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from providers.common.media import Inline
from providers.errors import BadRequest
from server.outbound.image_fetcher import AddrInfo, ImageFetcher, inline, open_socket, public

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
JPEG = b"\xff\xd8\xff\xe0" + bytes(200)
PDF = b"%PDF-1.7\n" + bytes(100)
PARAM = "messages[0].content[1].image_url.url"


class Names(AbstractResolver):
    """DNS from a table: no test asks the network. Numeric hosts are read as libc reads them."""

    def __init__(self, table: Mapping[str, list[str]]) -> None:
        self.table = table
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        numeric = socket.AI_NUMERICHOST
        answers = self.table.get(host) or [
            str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
        ]
        return [
            ResolveResult(
                hostname=host,
                host=answer,
                port=port,
                family=socket.AF_INET6 if ":" in answer else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for answer in answers
        ]

    async def close(self) -> None:
        pass


class Sockets:
    """Counts the sockets that are opened, and opens none."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def __call__(self, info: AddrInfo) -> socket.socket:
        self.opened.append(str(info[4][0]))
        raise OSError("there is no network in a test")


Handler = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A web server on loopback that answers by script and keeps what it was asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0
        self.requests: list[str] = []


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(0)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            server.requests.append(head)
            await handler(head.split(" ")[1], writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server


def answer(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    fields = {"Content-Length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


async def pages(path: str, writer: asyncio.StreamWriter) -> None:
    """The pages of the test server."""
    name, _, rest = path[1:].partition("/")
    match name:
        case "png":
            writer.write(answer(PNG, Content_Type="text/html", Set_Cookie="a=b"))
        case "jpeg":
            writer.write(answer(JPEG, Content_Type="image/png"))
        case "pdf":
            writer.write(answer(PDF))
        case "html":
            writer.write(answer(b"<html>" + bytes(100)))
        case "short":
            writer.write(answer(b"\x89P"))
        case "none":
            writer.write(answer(b""))
        case "gzip":
            writer.write(answer(gzip.compress(PNG), Content_Encoding="gzip"))
        case "missing":
            writer.write(answer(PNG, "404 Not Found"))
        case "cut":
            writer.write(answer(PNG, Content_Length=str(len(PNG) + 1)))
        case "declared":
            writer.write(answer(PNG, Content_Length=str(2**40)))
        case "not-http":
            writer.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
        case "endless":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + (PNG if not rest else b"<html>"))
            for _ in range(10_000):
                writer.write(bytes(2**16))
                await writer.drain()
        case "slow":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + PNG[:40])
            for _ in range(100):
                await asyncio.sleep(0.05)
                writer.write(b"x")
                await writer.drain()
        case "silent":
            await asyncio.sleep(5)
        case "moved":
            writer.write(answer(b"", "302 Found", Location="/" + rest))
        case "to":
            writer.write(answer(b"", "301 Moved Permanently", Location=unquote(rest)))
        case "nowhere":
            writer.write(answer(b"", "307 Temporary Redirect"))
        case "round":
            writer.write(answer(b"", "302 Found", Location="/round"))


def local(server: Server, **options: Any) -> ImageFetcher:
    """A fetcher that may reach the test server, by a name."""
    defaults: dict[str, Any] = {
        "allow": lambda address: address.is_loopback or public(address),
        "ports": {server.port},
        "resolver": Names({"images.test": ["127.0.0.1"]}),
    }
    return ImageFetcher(**(defaults | options))


def url(server: Server, path: str) -> str:
    return f"http://images.test:{server.port}/{path}"


async def failure(fetcher: ImageFetcher, address: str) -> tuple[str | None, str, str | None]:
    with pytest.raises(BadRequest) as refused:
        await fetcher.fetch(address, PARAM)
    return refused.value.code, refused.value.message, refused.value.param


# Addresses that are not the internet, as a URL's host. {port}: that of a listening server, which is to see nobody.
SPELLINGS = [
    "127.0.0.1:{port}",
    "0x7f000001:{port}",
    "0x7f.0.0.1:{port}",
    "①②⑦.⓪.⓪.①:{port}",
    "127。0。0。1:{port}",
    "１２７.0.0.1:{port}",
]
ADDRESSES = [
    *SPELLINGS,
    "017700000001:{port}",
    "2130706433:{port}",
    "127.1:{port}",
    "127.0.0.1.:{port}",
    "0177.0.0.1:{port}",
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0:{port}",
    "0:{port}",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[::1]:{port}",
    "[::]:{port}",
    "[0:0:0:0:0:0:0:1]:{port}",
    "[::ffff:127.0.0.1]:{port}",
    "[::ffff:7f00:1]:{port}",
    "[::ffff:169.254.169.254]",
    "[::ffff:8.8.8.8]",
    "[::127.0.0.1]:{port}",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:53aa:64c::7f00:1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fec0::1]",
    "[ff02::1]",
    "[ff0e::1]",
]
# Names, and what a hostile DNS says of them.
NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "localtest.me": ["127.0.0.1"],
    "127.0.0.1.nip.io": ["127.0.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
    "intranet": ["10.1.2.3"],
    "six.test": ["::ffff:10.0.0.1"],
    "nat64.test": ["64:ff9b::a00:1"],
    "many.test": ["10.0.0.1", "192.168.0.1", "fd00::1", "127.0.0.1"],
    "xn--80ak6aa92e.test": ["127.0.0.1"],
}
# URLs that are refused as they stand.
FORMS = [
    "file:///etc/passwd",
    "ftp://8.8.8.8/a.png",
    "gopher://127.0.0.1:{port}/_GET",
    "javascript:alert(1)",
    "//127.0.0.1:{port}/a.png",
    "127.0.0.1:{port}/a.png",
    "http:127.0.0.1:{port}",
    "http:///a.png",
    "",
    "https://",
    "http://user@8.8.8.8/",
    "http://user:password@127.0.0.1:{port}/",
    "http://8.8.8.8@127.0.0.1:{port}/",
    "http://8.8.8.8\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@8.8.8.8/",
    "http://8.8.8.8#@127.0.0.1:{port}/\\",
    "http://8.8.8.8:22/",
    "http://8.8.8.8:6379/",
    "http://8.8.8.8:99999/",
    "http://8.8.8.8:-1/",
    "http://[::1/",
    "http://[::1]x:{port}/",
    "http://8.8.8.8 .evil.test/",
    "http://8.8.8.8/\r\nHost: 127.0.0.1",
    "http://127.0.0.1\t:{port}/",
    "http://\x00127.0.0.1:{port}/",
    " http://8.8.8.8/",
    "http://%31%32%37.0.0.1:{port}/",
    f"http://8.8.8.8/{'a' * 9000}",
    f"http://{'a' * 64}.test/",
    "http://unknown.test/",
]
HOSTILE = [f"http://{host}/a.png" for host in (*ADDRESSES, *NAMES)] + [f"https://{host}/" for host in NAMES] + FORMS


@pytest.mark.parametrize("address", HOSTILE, ids=ascii)
async def test_a_hostile_url_opens_no_connection(address: str) -> None:
    sockets = Sockets()
    async with serving(pages) as canary:
        ports = {80, 443, canary.port}
        async with ImageFetcher(resolver=Names(NAMES), open_socket=sockets, ports=ports) as fetcher:
            code, message, param = await failure(fetcher, address.replace("{port}", str(canary.port)))
    assert (sockets.opened, canary.connections) == ([], 0)
    assert (code, param) == ("invalid_image_url", PARAM)
    assert message.startswith("The image URL is refused: it")


async def test_the_canary_would_have_sung() -> None:
    """Spellings of the same table, where loopback is allowed: sockets are opened, the server is reached."""
    async with serving(pages) as canary:
        reached: list[str] = []

        def opening(info: AddrInfo) -> socket.socket:
            reached.append(str(info[4][0]))
            return open_socket(info)

        async with local(canary, resolver=Names(NAMES), open_socket=opening) as fetcher:
            for host in SPELLINGS:
                address = f"http://{host}/png".format(port=canary.port)
                assert await fetcher.fetch(address, PARAM) == Inline("image/png", base64.b64encode(PNG).decode())
    assert canary.connections == len(reached) == len(SPELLINGS)
    assert set(reached) == {"127.0.0.1"}


def test_the_table_is_as_long_as_promised() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) >= 100


async def test_an_unknown_name_and_an_inner_name_get_the_same_answer() -> None:
    async with ImageFetcher(resolver=Names(NAMES), open_socket=Sockets()) as fetcher:
        assert await failure(fetcher, "http://intranet/") == await failure(fetcher, "http://unknown.test/")


async def test_of_several_addresses_only_the_public_ones_are_dialled() -> None:
    sockets = Sockets()
    names = Names({"mixed.test": ["127.0.0.1", "8.8.8.8", "fd00::1", "2606:4700::1"]})
    async with ImageFetcher(resolver=names, open_socket=sockets) as fetcher:
        code, message, _ = await failure(fetcher, "https://mixed.test/")
    assert set(sockets.opened) == {"8.8.8.8", "2606:4700::1"}
    assert (code, message) == (
        "failed_to_download_image",
        "The image could not be downloaded: its host does not accept the connection.",
    )


def test_what_is_public() -> None:
    inside = [
        address
        for address in ("8.8.8.8", "93.184.215.14", "2606:4700::1", "2a00:1450::1")
        if not public(ip_address(address))
    ]
    assert inside == []


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("png", "image/png", PNG),
        ("jpeg", "image/jpeg", JPEG),
        ("moved/png", "image/png", PNG),
        ("moved/moved/moved/png", "image/png", PNG),
    ],
)
async def test_an_image_arrives_with_the_type_its_bytes_tell(path: str, kind: str, body: bytes) -> None:
    async with serving(pages) as server, local(server) as fetcher:
        assert await fetcher.fetch(url(server, path), PARAM) == Inline(kind, base64.b64encode(body).decode())
        assert server.connections == path.count("/") + 1


async def test_a_pdf_is_fetched_only_when_asked_for() -> None:
    async with serving(pages) as server, local(server) as fetcher:
        assert (await failure(fetcher, url(server, "pdf")))[0] == "invalid_image_format"
        assert await fetcher.fetch(url(server, "pdf"), PARAM, pdf=True) == Inline(
            "application/pdf", base64.b64encode(PDF).decode()
        )


BROKEN = {
    "missing": ("failed_to_download_image", "its host answered 404"),
    "gzip": ("failed_to_download_image", "its host sent it compressed"),
    "cut": ("failed_to_download_image", "its host broke off the answer"),
    "not-http": ("failed_to_download_image", "its host broke off the answer"),
    "closed": ("failed_to_download_image", "its host broke off the answer"),
    "slow": ("failed_to_download_image", "it took longer than 0.3 seconds"),
    "silent": ("failed_to_download_image", "it took longer than 0.3 seconds"),
    "round": ("failed_to_download_image", "it redirects more than 3 times"),
    "moved/moved/moved/moved/png": ("failed_to_download_image", "it redirects more than 3 times"),
    "to/http://[::1": ("failed_to_download_image", "it redirects to something that is not a URL"),
}


@pytest.mark.parametrize("path", BROKEN)
async def test_a_download_that_fails(path: str) -> None:
    async with serving(pages) as server, local(server, timeout=0.3) as fetcher:
        code, why = BROKEN[path]
        assert await failure(fetcher, url(server, path)) == (code, f"The image could not be downloaded: {why}.", PARAM)


@pytest.mark.parametrize("path", ["html", "short", "none", "nowhere", "endless/html"])
async def test_what_is_not_an_image(path: str) -> None:
    async with serving(pages) as server, local(server) as fetcher:
        code, message, param = await failure(fetcher, url(server, path))
    if path == "nowhere":  # a redirect without a target leads back to itself
        assert code == "failed_to_download_image"
    else:
        assert (code, message, param) == (
            "invalid_image_format",
            "The URL does not lead to an image of a supported type (PNG, JPEG, GIF, WebP, HEIC).",
            PARAM,
        )


@pytest.mark.parametrize("path", ["endless", "declared"])
async def test_a_large_image_is_refused_while_it_is_read(path: str) -> None:
    async with serving(pages) as server, local(server, max_bytes=2**20) as fetcher:
        assert await failure(fetcher, url(server, path)) == (
            "image_too_large",
            "The image is larger than 1 MiB.",
            PARAM,
        )


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("http://169.254.169.254/latest/meta-data/", "its host is unknown or has no public address"),
        ("http://10.0.0.1/", "its port is neither 443 nor 80"),
        ("file:///etc/passwd", "it must start with https:// or http:// (or be a data URI)"),
        ("http://a:b@images.test/", "it must not hold a user or a password"),
        ("//[::ffff:10.0.0.1]:{port}/", "its host is unknown or has no public address"),
        ("http://inner.test:{port}/", "its host is unknown or has no public address"),
    ],
)
async def test_a_redirect_is_checked_like_the_first_url(target: str, why: str) -> None:
    async with serving(pages) as server:
        names = Names({"images.test": ["127.0.0.1"], "inner.test": ["192.168.0.1"]})
        ports = {server.port, 80} if "169" in target else {server.port}
        async with local(server, resolver=names, ports=ports) as fetcher:
            path = "to/" + target.replace("{port}", str(server.port))
            result = await failure(fetcher, url(server, path))
        assert result == ("invalid_image_url", f"The image URL is refused: {why}.", PARAM)
        assert server.connections == 1


async def test_a_closed_port_is_not_told_from_a_firewall() -> None:
    async with serving(pages) as server:
        pass
    async with local(server) as fetcher:
        assert await failure(fetcher, url(server, "png")) == (
            "failed_to_download_image",
            "The image could not be downloaded: its host does not accept the connection.",
            PARAM,
        )


async def test_nothing_of_ours_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(pages) as server, serving(pages) as proxy, local(server) as fetcher:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await fetcher.fetch(url(server, "png"), PARAM)
        await fetcher.fetch(url(server, "png"), PARAM)
        assert proxy.connections == 0
        lines = [line for line in server.requests[1].split("\r\n") if line]
        assert lines == [
            "GET /png HTTP/1.1",
            f"Host: images.test:{server.port}",
            "Accept: image/*",
            "Accept-Encoding: identity",
            "User-Agent: ModelServer",
            "Connection: close",
        ]


async def test_a_certificate_nobody_vouches_for_is_refused(certificate: tuple[ssl.SSLContext, Path]) -> None:
    tls, ca_file = certificate
    trusting = ssl.create_default_context(cafile=str(ca_file))
    async with serving(pages, tls) as server:
        address = f"https://images.test:{server.port}/png"
        async with local(server) as fetcher:
            assert await failure(fetcher, address) == (
                "failed_to_download_image",
                "The image could not be downloaded: its host has no valid TLS certificate.",
                PARAM,
            )
        assert server.requests == []
        async with local(server, tls=trusting) as fetcher:
            assert (await fetcher.fetch(address, PARAM)).type == "image/png"


async def test_downloads_at_once_are_bounded_for_each_caller_and_for_all() -> None:
    now = {"a": 0, "b": 0}
    most = {"a": 0, "b": 0, "all": 0}

    async def counting(path: str, writer: asyncio.StreamWriter) -> None:
        who = path[1]
        now[who] += 1
        most[who] = max(most[who], now[who])
        most["all"] = max(most["all"], sum(now.values()))
        await asyncio.sleep(0.03)
        now[who] -= 1
        writer.write(answer(PNG))

    async with serving(counting) as server, local(server, at_once=3, everyone=5) as fetcher:
        await asyncio.gather(
            *(fetcher.fetch(url(server, f"{who}/{n}"), PARAM, key=who) for who in "ab" for n in range(9))
        )
        assert most == {"a": 3, "b": 3, "all": 5}
        assert len(fetcher._gates) == 0


def chat(*urls: str) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": u, "detail": "low"}} for u in urls]
    return {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Look."},
            {"role": "user", "content": [{"type": "text", "text": "What?"}, *parts]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "done"}]},
        ],
    }


def png(kind: str = "image/png", body: bytes = PNG) -> str:
    return f"data:{kind};base64,{base64.b64encode(body).decode()}"


async def test_wanted_images_are_put_into_a_copy_of_the_request() -> None:
    async with serving(pages) as server, local(server) as fetcher:
        one, two, kept, given = url(server, "png"), url(server, "jpeg"), "https://cdn.test/kept.png", png()
        body = chat(one, kept, two, one, given)
        body["messages"][3]["content"].append({"type": "image_url", "image_url": {"url": two}})
        before = copy.deepcopy(body)
        result = await inline(body, lambda address: address != kept, fetcher)
        expected = chat(png(), kept, png("image/jpeg", JPEG), png(), given)
        expected["messages"][3]["content"].append({"type": "image_url", "image_url": {"url": png("image/jpeg", JPEG)}})
        assert result == expected
        assert body == before
        assert result["messages"][0] is body["messages"][0]
        assert result["messages"][2] is body["messages"][2]
        assert server.connections == 2  # each URL once


async def test_a_request_without_wanted_images_is_returned_itself() -> None:
    async with ImageFetcher(open_socket=Sockets()) as fetcher:
        for body, wants in (
            (chat("https://a.test/1.png"), False),
            (chat(png()), True),
            ({"messages": [{"role": "user", "content": "https://a.test/1.png"}]}, True),
        ):
            assert await inline(body, lambda _, wants=wants: wants, fetcher) is body


async def test_the_first_image_that_fails_fails_the_request_by_its_place() -> None:
    async with serving(pages) as server, local(server) as fetcher:
        with pytest.raises(BadRequest) as refused:
            await inline(
                chat(url(server, "png"), url(server, "html"), url(server, "slow"), url(server, "html")),
                lambda _: True,
                fetcher,
            )
        assert (refused.value.code, refused.value.param) == (
            "invalid_image_format",
            "messages[1].content[2].image_url.url",
        )


async def test_the_images_of_a_request_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.outbound.image_fetcher.MAX_INLINED", len(base64.b64encode(PNG)) * 2)
    async with serving(pages) as server, local(server) as fetcher:
        urls = [url(server, f"png/{n}") for n in range(3)]
        assert await inline(chat(*urls[:2]), lambda _: True, fetcher) == chat(png(), png())
        with pytest.raises(BadRequest) as refused:
            await inline(chat(*urls), lambda _: True, fetcher)
        assert refused.value.code == "image_too_large"


async def test_a_cancelled_request_lets_go_of_its_downloads() -> None:
    async with serving(pages) as server, local(server) as fetcher:
        task = asyncio.create_task(inline(chat(url(server, "silent")), lambda _: True, fetcher, key="k"))
        while not server.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(fetcher._gates) == 0


async def test_a_request_has_few_images_to_download() -> None:
    async with serving(pages) as server, local(server) as fetcher:
        urls = [url(server, f"png/{n}") for n in range(21)]
        with pytest.raises(BadRequest) as refused:
            await inline(chat(*urls), lambda _: True, fetcher)
        assert (refused.value.code, refused.value.param, refused.value.message) == (
            "array_above_max_length",
            "messages[1].content[21].image_url.url",
            "Too many images to download: at most 20 URLs in one request. Send the others as data URIs.",
        )
        assert server.connections == 0
        assert await inline(chat(*urls[:20], *urls[:20]), lambda _: True, fetcher) == chat(*[png()] * 40)
        assert server.connections == 20


async def test_an_image_that_stands_in_many_places_counts_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.outbound.image_fetcher.MAX_INLINED", len(base64.b64encode(PNG)) * 2)
    async with serving(pages) as server, local(server) as fetcher:
        with pytest.raises(BadRequest) as refused:
            await inline(chat(*[url(server, "png")] * 3), lambda _: True, fetcher)
        assert (refused.value.code, refused.value.param) == ("image_too_large", "messages[1].content[1].image_url.url")


async def test_the_images_of_a_request_have_one_deadline() -> None:
    async with serving(pages) as server, local(server, together=0.3) as fetcher:
        urls = [url(server, "png"), *[url(server, f"silent/{n}") for n in range(9)]]
        with pytest.raises(BadRequest) as refused:
            await inline(chat(*urls), lambda _: True, fetcher)
        assert (refused.value.code, refused.value.param, refused.value.message) == (
            "failed_to_download_image",
            "messages[1].content[2].image_url.url",
            "The image could not be downloaded: the images of a request may take 0.3 seconds together.",
        )
        assert len(fetcher._gates) == 0


async def test_an_image_is_downloaded_once_whatever_targets_are_tried() -> None:
    have: dict[str, str] = {}
    held: list[int] = []
    async with serving(pages) as server, local(server) as fetcher:
        one, two = url(server, "png"), url(server, "jpeg")
        for wants in (one,), (one, two):
            result = await inline(
                chat(one, two), lambda address, wants=wants: address in wants, fetcher, have=have, hold=held.append
            )
        assert result == chat(png(), png("image/jpeg", JPEG))
        assert server.connections == 2
        assert held == [len(base64.b64encode(each)) for each in (PNG, JPEG)]
        have |= {f"{n}": "" for n in range(18)}
        with pytest.raises(BadRequest) as refused:
            await inline(chat(one, url(server, "png/3")), lambda _: True, fetcher, have=have)
        assert refused.value.param == "messages[1].content[2].image_url.url"
