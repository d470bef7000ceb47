"""/p/{provider}/{path}: any path of a provider, for keys with `passthrough: true`. Files and batches are only there.

The provider's key is put in; the client's is never sent on, in whatever header or parameter it came.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from dialects.contract import ClientRequest
from dialects.passing.paths import under_base, without_keys
from gateway.estimates import Prompt
from gateway.routing import Target
from gateway.settings import Caller
from providers.contract import Call, Upstream, passed_call
from providers.endpoints import key_header
from providers.errors import NotFound, PermissionDenied

from .. import inspector
from ..ingress import reserve
from ..request import Request
from ..traces import HEAD
from .uploads import WholeUpload

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Of the client's headers, those that go on.
_HEADERS: Final = ("Content-Type", "Content-Encoding", "OpenAI-Beta", "anthropic-version", "anthropic-beta", "Range",
                   "Idempotency-Key")  # fmt: skip
_LONGEST: Final = 512  # characters of such a header
_UNKNOWN: Final = Prompt(0, 0, 2**31, 1, None)


class Wanted(NamedTuple):
    """What a client asks of a provider."""

    upstream: Upstream
    method: str
    path: str  # behind base_url, with its query
    headers: Mapping[str, str]
    body: Any


def read(request: Request, caller: Caller) -> Wanted:
    """Return what is asked for. Raises PermissionDenied, NotFound."""
    if not caller.passthrough:
        raise PermissionDenied("This needs a key with `passthrough: true`. Ask the operator of this server.")
    _, _, name, path = request.rel_url.raw_path.split("/", 3)
    path = under_base(path)
    upstream = request.generation.settings.providers.get(name)
    if upstream is None or not upstream.base_url:
        raise NotFound(f"There is no provider '{name[:100]}' that is on and has an address.")
    missing = [f"{name}={value}" for name, value in upstream.host.query.items() if name not in request.query]
    query = "&".join(filter(None, [without_keys(request.rel_url.raw_query_string), *missing]))
    headers = {
        name: value
        for name in _HEADERS
        if (value := request.headers.get(name)) and len(value) <= _LONGEST and value.isascii() and value.isprintable()
    }
    body = request.content.read_nowait() if request.content.is_eof() else WholeUpload(request)
    return Wanted(upstream, request.method, f"{path}?{query}" if query else path, headers, body)


async def admit(request: Request, caller: Caller, wanted: Wanted, asked: ClientRequest) -> list[Target]:
    """Return the provider as the only target, once the request's turn has come and its key's limits allow it."""
    request.record.model = asked.body["model"]
    await request.in_flight.acquire()
    targets = await reserve(request, caller, asked, _UNKNOWN, [Target(wanted.upstream, {})])
    inspector.record_body(request, wanted.body[:HEAD] if isinstance(wanted.body, bytes) else b"")
    return targets


def call(wanted: Wanted, upstream: Upstream) -> Call:
    """Return the call with this key of the provider."""
    headers = {**wanted.headers, **key_header(upstream.host, upstream.api_key)}
    return passed_call(upstream.base_url + wanted.path, headers, wanted.body, wanted.method)
