"""Who may come in: keys, the keyless mode of a local machine, and what web pages may do.

A web page can POST to localhost without asking (as text/plain, without preflight), and a DNS name can be pointed at
127.0.0.1: a keyless server therefore looks at Host, Origin and Sec-Fetch-Site, or any page could spend its owner's money.
"""

import hashlib
import ipaddress
import re
import time
from typing import Final
from urllib.parse import urlsplit

from aiohttp import HttpVersion11, web

from dialects import DIALECTS, dialect_of
from gateway.limits import header_names
from gateway.settings import ANYONE, Caller, Settings
from providers.errors import AuthenticationError, BadRequest, PermissionDenied

_ANYONE = Caller(ANYONE, admin=True)  # whoever can call without a key sits at this machine
_AUTHORITY = re.compile(r"[\w.:\[\]%-]+", re.ASCII)  # no user name, path or query
_PROXY = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Via")
_BETWEEN = (*_PROXY, "Origin", "Sec-Fetch-Site")
# How tokens that can be none of ours begin, and what to tell those who send them.
_OTHERS: Final = {
    "sk-ant-oat": "This is a token of a claude.ai account. Set ANTHROPIC_AUTH_TOKEN to a key of this server.",
}
_LOCAL_NAMES = frozenset({"localhost", "ip6-localhost"})


def is_loopback(host: str) -> bool:
    """Whether this name or address (as in a URL, without a port) can only mean this machine."""
    host = host.strip("[]").rstrip(".").lower()
    if host in _LOCAL_NAMES or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_local_program(request: web.Request) -> bool:
    """Whether the request comes straight from a program on this machine, not through a proxy and not from a web page."""
    headers = request.headers
    return not any(name in headers for name in _BETWEEN) and _is_here(request)


def is_proxied(request: web.Request) -> bool:
    """Whether a proxy may have sent this request for someone else.

    HTTP/1.0 counts: nginx speaks it to upstreams by default, and then sends neither the client's Host nor its address.
    """
    return request.version < HttpVersion11 or any(name in request.headers for name in _PROXY)


def scheme(request: web.Request) -> str:
    """Return http or https, as the client calls this server.

    A TLS proxy names it in X-Forwarded-Proto, which is believed from this machine and from private networks only.
    """
    peer = request.transport.get_extra_info("peername") if request.transport else None
    try:
        near = not peer or ipaddress.ip_address(str(peer[0]).removeprefix("::ffff:")).is_private  # loopback too
    except ValueError:
        near = False
    said = request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip().lower()
    return said if near and said in ("http", "https") else request.scheme


def authenticate(request: web.Request, settings: Settings) -> Caller:
    """The caller of a request, by `Authorization: Bearer` or `x-api-key`, or anyone where no keys are configured.

    Keys are looked up by their digest: equal work whether they exist or not. Raises AuthenticationError, PermissionDenied
    for what a web page of another site tries on a keyless server, BadRequest for two different keys at once.
    """
    if settings.config.server.allowed_hosts or not settings.keys:
        _check_host(request, settings)
    if not settings.keys:
        _check_site(request, settings)
        return _ANYONE
    caller = _known(request, settings)
    if caller.disabled:
        raise AuthenticationError("This API key is disabled. Ask the operator of this server.", code="key_disabled")
    if caller.expires and time.time() >= caller.expires:
        raise AuthenticationError(
            "This API key has expired. Ask the operator of this server for a new one.", code="key_expired"
        )
    return caller


def _known(request: web.Request, settings: Settings) -> Caller:
    """Return whose key a request carries. Raises AuthenticationError for nobody's, BadRequest for keys of two callers."""
    form = dialect_of(request.path, request.headers).header_form
    try:
        tokens = _tokens(request, form.google_key)
    except AuthenticationError as none:
        none.message = form.unknown_key or none.message
        raise
    if len(tokens) > 1 and not form.two_keys:
        raise _conflict()
    callers = {caller.name: caller for token in tokens if (caller := settings.keys.get(_digest(token)))}
    if len(callers) > 1:
        raise _conflict()
    for caller in callers.values():
        return caller
    foreign = [words for begins, words in _OTHERS.items() for token in tokens if token.startswith(begins)]
    raise AuthenticationError(next(iter(foreign), form.unknown_key or "Invalid API key"))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _conflict() -> BadRequest:
    return BadRequest("Authorization and x-api-key hold different keys: send one of them.", code="conflicting_keys")


def _tokens(request: web.Request, google: bool) -> list[str]:
    """Return the keys that a request carries, none twice, at least one. Raises AuthenticationError for none.

    google: whether it may carry them as Google's clients do.
    """
    headers = request.headers
    authorizations = headers.getall("Authorization", [])
    if "x-api-key" not in headers and len(authorizations) == 1:  # nearly all of them
        scheme, _, token = authorizations[0].partition(" ")
        if scheme.lower() == "bearer" and (token := token.strip()):
            return [token]
    pairs = [scheme.partition(" ") for scheme in authorizations]
    bearers = [token.strip() for scheme, _, token in pairs if scheme.lower() == "bearer"]
    others = [token.strip() for token in headers.getall("x-api-key", ())]
    if google:
        others += [*headers.getall("x-goog-api-key", ()), *request.query.getall("key", ())]
    if tokens := [token for token in dict.fromkeys([*bearers, *others]) if token]:
        return tokens
    raise AuthenticationError(
        "No API key was sent: send it as 'Authorization: Bearer KEY'."
        if not pairs
        else "The Authorization header holds no API key: send it as 'Authorization: Bearer KEY'."
    )


def require_admin(request: web.Request, settings: Settings) -> Caller:
    """The caller, who may see what everybody did. Raises as `authenticate` does, and Forbidden for other keys."""
    caller = authenticate(request, settings)
    if not caller.admin:
        raise PermissionDenied("This needs a key with `admin: true`.", code="admin_only")
    return caller


def require_operator(request: web.Request, settings: Settings) -> Caller:
    """The caller, who may see and change who may call: an admin key, or without keys whoever sits at this machine.

    A web page may only where it is this server's own: one of another port of this machine may call models of a server without
    keys, but not make itself a key. Raises as `require_admin` does.
    """
    caller = require_admin(request, settings)
    if not _is_own_page(request):
        raise PermissionDenied("Only this server's own page may do that.", code="origin_not_allowed")
    if not settings.keys and not _is_here(request):
        raise PermissionDenied(
            "Without keys this is for this machine only. Make a key there: python modelserver.py keys add NAME --admin.",
            code="host_not_allowed",
        )
    return caller


def _is_own_page(request: web.Request) -> bool:
    """Whether a request comes from this server's own page, or from no page at all.

    Browsers say so in Sec-Fetch-Site, which holds behind a proxy that changes Host too. They leave it out on plain HTTP.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site.strip().lower() in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is None or _authority(origin) == request.headers.get("Host", "").lower()


def _is_here(request: web.Request) -> bool:
    """Whether the request comes from this machine, by a name of this machine's, and not through a proxy."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    near = not peer or is_loopback(str(peer[0]).removeprefix("::ffff:"))  # no peer name: a Unix socket
    return near and not is_proxied(request) and is_loopback(_name(request.headers.get("Host", "")))


def _check_host(request: web.Request, settings: Settings) -> None:
    host = _name(request.headers.get("Host", ""))
    if host in settings.config.server.allowed_hosts:
        return
    if not settings.keys and is_loopback(host):
        if not is_proxied(request):
            return
        raise PermissionDenied(
            "This request came through a proxy (or in HTTP/1.0), and a server without keys serves this machine only; its "
            "operator can configure keys, or add the host name to server.allowed_hosts.",
            code="host_not_allowed",
        )
    raise PermissionDenied(
        "This server is not to be called by that host name; its operator can add it to server.allowed_hosts.",
        code="host_not_allowed",
    )


def _check_site(request: web.Request, settings: Settings) -> None:
    origin = request.headers.get("Origin")
    if origin is None and request.headers.get("Sec-Fetch-Site", "none").strip().lower() != "cross-site":
        return
    # Our own page, under whatever name: that name has been checked.
    own = origin is not None and _authority(origin) == request.headers.get("Host", "").lower()
    if own or (origin is not None and may_read_cors(origin, settings)):
        if request.method != "POST" or request.content_type == "application/json":
            return
        raise PermissionDenied("A web page must send application/json.", code="origin_not_allowed")
    raise PermissionDenied(
        "Web pages of other sites may not use a server without keys; its operator can configure keys, or add the origin "
        "to server.cors_origins.",
        code="origin_not_allowed",
    )


def may_read_cors(origin: str, settings: Settings) -> bool:
    """Whether a page of this origin may read answers: any listed one; `*` needs keys; without keys, this machine's own."""
    origins = settings.config.server.cors_origins
    if origin in origins or ("*" in origins and settings.keys):
        return True
    return not settings.keys and is_loopback(_name(_authority(origin)))


def _authority(origin: str) -> str:
    """Return the host and port of an http or https origin, in lower case; "" for any other."""
    scheme, _, authority = origin.lower().partition("://")
    return authority if scheme in ("http", "https") else ""


def _name(host: str) -> str:
    """The name in a Host header, or in an origin behind its scheme; "" for what neither may be."""
    if not _AUTHORITY.fullmatch(host):
        return ""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def cors(request: web.Request, settings: Settings) -> dict[str, str]:
    """Return the headers that let a page of an allowed origin read this answer; Vary: Origin is not among them."""
    origin = request.headers.get("Origin")
    if origin is None or not may_read_cors(origin, settings):
        return {}
    anyone = "*" in settings.config.server.cors_origins and settings.keys
    headers = {
        "Access-Control-Allow-Origin": "*" if anyone else origin,
        "Access-Control-Expose-Headers": _EXPOSED,
    }
    if request.method == "OPTIONS":
        asked = request.headers.get("Access-Control-Request-Headers", "authorization, content-type")
        headers |= {
            "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
            "Access-Control-Allow-Headers": asked if asked.isascii() and asked.isprintable() else "authorization",
            "Access-Control-Max-Age": "600",
        }
        if request.headers.get("Access-Control-Request-Private-Network") == "true":
            headers["Access-Control-Allow-Private-Network"] = "true"
    return headers


_FORMS = dict.fromkeys(dialect.header_form for dialect in DIALECTS.values())
_EXPOSED = ", ".join(
    [
        *("x-request-id", "retry-after", "x-should-retry", "x-upstream-request-id", "request-id"),
        *(f"x-modelserver-{name}" for name in ("upstream", "dropped", "added", "tried", "estimated")),
        *(name for form in _FORMS for name in header_names(form)),
    ]
)
