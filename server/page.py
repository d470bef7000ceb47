"""The page: the files of web/, read once, served from memory under names that hold their content's hash.

A hashed name never changes its meaning, so browsers keep it for a year; the HTML itself is never kept. There is no build
step: at start the names of files inside files (`./dom.js`, `style.css`) are replaced by the hashed ones, and that is all.
Programs that ask for `/` without wanting HTML (curl, health checks) get three lines of text.
"""

import hashlib
import re
import zlib
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Final

from aiohttp import web

from providers.errors import NotFound

from . import auth
from .paths import ROOT

FOLDER: Final = ROOT / "web"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_NAME = re.compile(r'"(?:\./|/web/)([a-z]+\.(?:js|css|svg))"')
_DAY: Final = "public, max-age=86400"
_GZIP: Final = 31  # zlib's wbits for the gzip format
_YEAR: Final = "public, max-age=31536000, immutable"

# The page shows what models and upstreams said. It does so as text only, and a browser that is told so can hold it to
# that: nothing but our own files is loaded or run, and trusted-types 'none' turns off innerHTML and its kin altogether.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Asset:
    """One file as it goes out. type: its Content-Type."""

    def __init__(self, type: str, body: bytes) -> None:
        self.type, self.body = type, body

    @cached_property
    def packed(self) -> bytes:
        """The same, gzipped when it is first asked for: all files at once would be a twentieth of the start."""
        return zlib.compress(self.body, wbits=_GZIP)


class Site:
    """The files of a folder: `home` is its index.html, `assets` all others by hashed name. Kept until the server stops."""

    def __init__(self, version: str, folder: Path = FOLDER) -> None:
        self.version = version
        self.assets: dict[str, Asset] = {}
        self._folder = folder
        self._names: dict[str, str] = {}  # file → hashed name
        self.icon = (folder / "favicon.ico").read_bytes()  # browsers know it by this name
        self._home = self._linked((folder / "index.html").read_text(encoding="utf-8"))

    def home(self, request: web.Request, keys: bool, usage: bool, inspector: bool) -> web.Response:
        """GET /: the page for browsers, three lines for others.

        keys: callers need one; usage: a ledger is kept; inspector: it is on.
        """
        base = f"{auth.scheme(request)}://{request.host}"
        headers = {**HEADERS, "Vary": "Accept"}
        if "text/html" not in request.headers.get("Accept", ""):
            text = (
                f"ModelServer {self.version}: an OpenAI-compatible gateway.\nBase URL for OpenAI clients: {base}/v1\n"
            )
            return web.Response(text=f"{text}Models: GET /v1/models\n", headers=headers)
        facts = {
            "keys": "required" if keys else "none",
            "usage": "on" if usage else "off",
            "inspector": "on" if inspector else "off",
            "routes": " ".join(_routes(request.app)),
        }
        attributes = " ".join(f'data-{name}="{escape(value)}"' for name, value in facts.items())
        html = self._home.replace("<html", f"<html {attributes}", 1)
        return web.Response(body=html.encode(), headers={"Content-Type": _TYPES[".html"], **headers})

    def asset(self, request: web.Request) -> web.Response:
        """GET /web/{name}. Raises NotFound."""
        asset = self.assets.get(request.match_info["name"])
        if asset is None:
            raise NotFound(
                "There is no such file; a new version may have replaced it: reload the page.", code="unknown_url"
            )
        headers = {"Content-Type": asset.type, **HEADERS, "Cache-Control": _YEAR}
        if "gzip" not in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=asset.body, headers=headers)
        return web.Response(
            body=asset.packed, headers={**headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        )

    def _linked(self, text: str) -> str:
        """The text with the names of other files replaced by their hashed ones."""
        return _NAME.sub(lambda found: f'"/web/{self._hashed(found[1])}"', text)

    def _hashed(self, name: str) -> str:
        """The hashed name of a file, which is read at its first mention: files may name each other, but not in a circle."""
        if name not in self._names:
            text = self._linked((self._folder / name).read_text(encoding="utf-8"))
            stem, _, kind = name.partition(".")
            body = text.encode()
            self._names[name] = hashed = f"{stem}.{hashlib.sha256(body).hexdigest()[:12]}.{kind}"
            self.assets[hashed] = Asset(_TYPES[f".{kind}"], body)
        return self._names[name]


def _routes(app: web.Application) -> list[str]:
    """What is served under /v1: the page documents what there is."""
    return sorted({path for resource in app.router.resources() if (path := resource.canonical).startswith("/v1/")})


SITE: Final = web.AppKey("SITE", Site)


async def asset(request: web.Request) -> web.Response:
    """GET /web/{name}: a file of the page; no key needed."""
    return request.app[SITE].asset(request)


async def favicon(request: web.Request) -> web.Response:
    """GET /favicon.ico: the icon, for browsers and bookmarks that have not read the page; no key needed."""
    headers = {"Content-Type": "image/x-icon", **HEADERS, "Cache-Control": _DAY}
    return web.Response(body=request.app[SITE].icon, headers=headers)
