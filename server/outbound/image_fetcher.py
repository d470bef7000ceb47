"""The guarded image fetcher: what a client's image URL may make this server do.

A request names a URL and this server downloads it: without guards, a way into the network behind us (SSRF). The rules:
- The address is checked on the socket that is about to be dialled, so that no spelling (`①②⑦.0.0.1`, 0x7f.1), no DNS
  answer (rebinding included) and no redirect gets around it. Only public addresses; `refused` below lists what Python
  calls global and is not, or leads back inside: NAT64, 6to4, cloud metadata.
- http and https on their own ports, no user or password, at most 3 redirects, each checked like the first URL.
- No proxy from the environment, no cookies, no credentials; TLS certificates are verified.
- 10 seconds and 20 MiB an image, nothing compressed (a bomb), and the first bytes must be those of an image.
- 20 images, 15 seconds and 64 MiB of base64 a request, each URL once, whatever targets are tried.
- A host that does not exist and one that is not public get the same answer: it would tell what is inside.
"""

import asyncio
import base64
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Container, Mapping
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from ssl import SSLContext
from typing import Any, Final
from weakref import WeakValueDictionary

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from providers import Json
from providers.common.media import Inline, is_data_uri, sniff
from providers.errors import BadRequest, Failure

from .dial import system_trust
from .resolver import Resolver

Address = IPv4Address | IPv6Address
AddrInfo = tuple[Any, ...]  # family, type, protocol, canonical name, socket address: as getaddrinfo gives them

MAX_BYTES: Final = 20 * 2**20  # of one image
MAX_INLINED: Final = 64 * 2**20  # base64 characters of one request
MAX_IMAGES: Final = 20  # to download for one request
TIMEOUT: Final = 10.0  # seconds, redirects included
TOGETHER: Final = 15.0  # seconds, all images of one request
REDIRECTS: Final = 3
_LOOKUPS: Final = 32  # host names looked up at once: clients choose them, and one that hangs outlives its download
MAX_URL: Final = 8192
IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/heic", "image/heif"})
_HEADERS: Final = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "ModelServer"}
_MOVED: Final = frozenset({301, 302, 303, 307, 308})

# IPv6 outside of this is not the internet: loopback, mapped IPv4, NAT64, unique local, link and site local, multicast.
_INTERNET: Final = IPv6Network("2000::/3")
# https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-: what `is_global` lets through, and a few it
# refuses only in some versions of Python.
_NOT_PUBLIC: Final = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "100.64.0.0/10",  # carriers' NAT; Alibaba's metadata 100.100.100.200
            "168.63.129.16/32",  # Azure's metadata and DNS
            "169.254.0.0/16",  # metadata of most clouds
            "192.0.0.0/24",  # protocol assignments; Oracle's metadata 192.0.0.192
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relays
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "224.0.0.0/3",  # multicast and reserved
            "2001::/23",  # Teredo, ORCHID
            "2001:db8::/32",
            "2002::/16",  # 6to4
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)


def public(address: Address) -> bool:
    """Whether an address is somebody's host on the internet, and no way back inside."""
    if isinstance(address, IPv6Address) and address not in _INTERNET:
        return False
    return address.is_global and not any(address in net for net in _NOT_PUBLIC if _same(net, address))


def _same(net: IPv4Network | IPv6Network, address: Address) -> bool:
    return net.version == address.version


class _NotPublic(OSError):
    """The socket was about to be connected to an address that is refused. aiohttp collects OSErrors of addresses."""


def open_socket(info: AddrInfo) -> socket.socket:
    return socket.socket(info[0], info[1], info[2])


class ImageFetcher:
    """Downloads images; one for the server. Close it in the end (it is an async context manager).

    allow: which addresses may be dialled, and ports: on which ports; resolver, tls and open_socket: where the tests
    put theirs. together: seconds for all images of a request. at_once: downloads per caller's key, everyone: of all
    callers; more wait. enabled: otherwise every URL is refused.
    """

    def __init__(
        self,
        *,
        allow: Callable[[Address], bool] = public,
        ports: Container[int] = frozenset({80, 443}),
        resolver: AbstractResolver | None = None,
        tls: SSLContext | bool = True,
        open_socket: Callable[[AddrInfo], socket.socket] = open_socket,
        max_bytes: int = MAX_BYTES,
        timeout: float = TIMEOUT,
        together: float = TOGETHER,
        at_once: int = 4,
        everyone: int = 16,
        enabled: bool = True,
    ) -> None:
        self._enabled = enabled
        self._allow = allow
        self._ports = ports
        self._resolver = resolver
        self._tls = tls
        self._open_socket = open_socket
        self._max_bytes = max_bytes
        self._timeout = timeout
        self.together, self.at_once = together, at_once
        self._everyone = asyncio.Semaphore(everyone)
        self._gates: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()  # alive while someone waits
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "ImageFetcher":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def fetch(self, url: str, param: str, *, key: str = "", pdf: bool = False) -> Inline:
        """Download an image (or, if asked, a PDF) and return its type, by its first bytes, and its base64.

        param: the request field that holds the URL, for errors. key: who asks, for the limit of downloads at once.
        Raises BadRequest with the code invalid_image_url, failed_to_download_image, image_too_large or
        invalid_image_format.
        """
        if not self._enabled:
            raise _invalid("this server downloads no images (fetch_images): send it as a data URI", param)
        async with self._turn(key):
            try:
                async with asyncio.timeout(self._timeout):
                    kind, data = await self._download(url, param, IMAGES | {"application/pdf"} if pdf else IMAGES)
            except TimeoutError:
                raise _failed(f"it took longer than {self._timeout:g} seconds", param) from None
            except (aiohttp.ClientConnectorDNSError, UnicodeError):
                raise _not_public(param) from None
            except aiohttp.ClientSSLError:
                raise _failed("its host has no valid TLS certificate", param) from None
            except aiohttp.ClientConnectorError as error:
                if isinstance(error.os_error, _NotPublic):
                    raise _not_public(param) from None
                raise _failed("its host does not accept the connection", param) from None
            except aiohttp.InvalidURL:
                raise _invalid("it is not a valid URL", param) from None
            except (aiohttp.ClientError, OSError, ValueError):
                raise _failed("its host broke off the answer", param) from None
        return Inline(kind, await asyncio.to_thread(_base64, data))

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncIterator[None]:
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = asyncio.Semaphore(self.at_once)
        async with gate, self._everyone:
            yield

    async def _download(self, url: str, param: str, kinds: frozenset[str]) -> tuple[str, bytes]:
        target = self._checked(url, param)
        for _ in range(REDIRECTS + 1):
            async with (await self._connected()).get(target, allow_redirects=False) as response:
                if response.status not in _MOVED:
                    return await self._read(response, param, kinds)
                location = response.headers.get("Location", "")
            try:
                target = self._checked(str(target.join(URL(location))), param)
            except ValueError:
                raise _failed("it redirects to something that is not a URL", param) from None
        raise _failed(f"it redirects more than {REDIRECTS} times", param)

    def _checked(self, url: str, param: str) -> URL:
        """A URL as it will be requested: one parser, yarl's, is asked by us and by aiohttp."""
        if len(url) > MAX_URL or "\\" in url or any(character <= " " or character == "\x7f" for character in url):
            raise _invalid(f"it is longer than {MAX_URL} characters, or has blanks or backslashes in it", param)
        try:
            target = URL(url)
        except ValueError:
            raise _invalid("it is not a valid URL", param) from None
        if target.scheme not in ("http", "https"):
            raise _invalid("it must start with https:// or http:// (or be a data URI)", param)
        if not target.raw_host:
            raise _invalid("it names no host", param)
        if target.raw_user is not None or target.raw_password is not None:
            raise _invalid("it must not hold a user or a password", param)
        if target.port not in self._ports:
            raise _invalid("its port is neither 443 nor 80", param)
        return target

    async def _connected(self) -> aiohttp.ClientSession:
        tls = self._tls if isinstance(self._tls, SSLContext) else await system_trust()
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=tls,
                resolver=self._resolver or Resolver(_LOOKUPS),
                use_dns_cache=False,
                force_close=True,
                socket_factory=self._guarded,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=_HEADERS,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout / 2),
            )
        return self._session

    def _guarded(self, info: AddrInfo) -> socket.socket:
        """The socket for an address, if that may be dialled. The last thing before connect(): nothing can slip by."""
        address = ip_address(str(info[4][0]).partition("%")[0])
        if not self._allow(address):
            raise _NotPublic("not a public address")
        return self._open_socket(info)

    async def _read(self, response: aiohttp.ClientResponse, param: str, kinds: frozenset[str]) -> tuple[str, bytes]:
        if response.status != 200:
            raise _failed(f"its host answered {response.status}", param)
        if response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            raise _failed("its host sent it compressed", param)
        if (response.content_length or 0) > self._max_bytes:
            raise self._too_large(param)
        data = bytearray()
        kind = None
        async for piece in response.content.iter_chunked(2**16):
            data += piece
            if len(data) > self._max_bytes:
                raise self._too_large(param)
            if kind is None and len(data) >= 32:
                kind = _kind(data, kinds, param)
        return kind or _kind(data, kinds, param), bytes(data)

    def _too_large(self, param: str) -> BadRequest:
        return BadRequest(
            f"The image is larger than {self._max_bytes / 2**20:g} MiB.", param=param, code="image_too_large"
        )


async def inline(
    body: Json,
    wants: Callable[[str], bool],
    fetcher: ImageFetcher,
    *,
    key: str = "",
    have: dict[str, str] | None = None,
    hold: Callable[[int], object] = id,
) -> Json:
    """Download every image of a chat request whose URL `wants`; return the request with data URIs in their places.

    have: what was downloaded for this request already, URL → data URI; added to. hold: called with the characters that
    an image adds to the request. Returns `body` itself when there is none, else a copy that shares what has not changed.
    Raises what fetch and `hold` raise, and BadRequest for too many images, for images that exceed 64 MiB of base64
    together, and for those that take too long together.
    """
    have = {} if have is None else have
    found = [
        (i, j, part["image_url"]["url"])
        for i, message in enumerate(body["messages"])
        if isinstance(parts := message.get("content"), list) and message.get("role") in ("user", "tool")
        for j, part in enumerate(parts)
        if part.get("type") == "image_url" and not is_data_uri(part["image_url"]["url"])
    ]
    places = [place for place in found if wants(place[2])]
    if not places:
        return body
    times = Counter(url for _, _, url in places)
    missing = {url: f"messages[{i}].content[{j}].image_url.url" for i, j, url in reversed(places) if url not in have}
    missing = dict(reversed(missing.items()))  # in the order of their first places
    _few(len(have), missing)
    await _download_all(missing, times, fetcher, key, have, hold)
    messages = list(body["messages"])
    for i, j, url in places:
        if messages[i] is body["messages"][i]:
            messages[i] = messages[i] | {"content": list(messages[i]["content"])}
        part = messages[i]["content"][j]
        messages[i]["content"][j] = part | {"image_url": part["image_url"] | {"url": have[url]}}
    return body | {"messages": messages}


def _few(have: int, missing: Mapping[str, str]) -> None:
    """Raise BadRequest when a request has more images to download than it may."""
    if have + len(missing) > MAX_IMAGES:
        raise BadRequest(
            f"Too many images to download: at most {MAX_IMAGES} URLs in one request. Send the others as data URIs.",
            param=list(missing.values())[max(0, MAX_IMAGES - have)],
            code="array_above_max_length",
        )


async def _download_all(
    missing: Mapping[str, str],
    times: Mapping[str, int],
    fetcher: ImageFetcher,
    key: str,
    have: dict[str, str],
    hold: Callable[[int], object],
) -> None:
    """Download the images at these URLs into `have`, a few at once. missing: URL → its param; times: it stands there."""
    waiting = iter(missing.items())
    left = MAX_INLINED - sum(len(have[url]) * times[url] for url in have if url in times)

    async def work() -> None:
        nonlocal left
        for url, param in waiting:
            kind, data = await fetcher.fetch(url, param, key=key)
            size = len(data) * times[url]
            left -= size
            if left < 0:
                raise BadRequest(
                    "The images of this request are too large together.", param=param, code="image_too_large"
                )
            hold(size)
            have[url] = f"data:{kind};base64,{data}"

    try:
        async with asyncio.timeout(fetcher.together), asyncio.TaskGroup() as group:
            for _ in range(min(fetcher.at_once, len(missing))):
                group.create_task(work())
    except BaseExceptionGroup as failures:
        raise next((e for e in failures.exceptions if isinstance(e, Failure)), failures.exceptions[0]) from None
    except TimeoutError:
        param = next(param for url, param in missing.items() if url not in have)
        raise _failed(f"the images of a request may take {fetcher.together:g} seconds together", param) from None


def _kind(data: bytearray, kinds: frozenset[str], param: str) -> str:
    kind = sniff(bytes(data[:32]))
    if kind in kinds:
        return kind
    raise BadRequest(
        "The URL does not lead to an image of a supported type (PNG, JPEG, GIF, WebP, HEIC).",
        param=param,
        code="invalid_image_format",
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _invalid(why: str, param: str) -> BadRequest:
    return BadRequest(f"The image URL is refused: {why}.", param=param, code="invalid_image_url")


def _not_public(param: str) -> BadRequest:
    return _invalid("its host is unknown or has no public address", param)


def _failed(why: str, param: str) -> BadRequest:
    return BadRequest(f"The image could not be downloaded: {why}.", param=param, code="failed_to_download_image")
