"""A request of a client, with what this server knows of it."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, cast

from aiohttp import HttpVersion11, web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.typedefs import Handler as AiohttpHandler
from aiohttp.typedefs import Middleware
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.record import RequestRecord

from .admission import InFlightRequest
from .generations import Generation
from .responses import Conversation
from .state import AppState
from .traces import Trace
from .usage.meter import UsageMeter

_NO_HEADERS: Final[CIMultiDictProxy[str]] = CIMultiDictProxy(CIMultiDict())


class Request(web.Request):
    """aiohttp's request, with the state of this server and what is learnt while it is answered.

    app_state: set from the beginning. record, generation (the configuration that it began with): once the middleware was
    reached. in_flight: its place among those under way; meter: its usage, once it has been admitted. conversation: what it goes
    on from; trace: of the inspector, while that is on; images: those downloaded for it, by URL.
    """

    app_state: AppState
    record: RequestRecord
    generation: Generation
    in_flight: InFlightRequest
    meter: UsageMeter
    conversation: Conversation | None = None
    trace: Trace | None = None
    images: dict[str, str] | None = None

    # aiohttp's properties of these names cost 20 times what an attribute does, and each is asked for several times.
    method = ""
    version = HttpVersion11
    headers: CIMultiDictProxy[str] = _NO_HEADERS

    ATTRS = web.Request.ATTRS | {
        *("app_state", "record", "generation", "in_flight", "meter", "conversation", "trace", "images"),
        *("method", "version", "headers"),
    }

    def __init__(self, message: RawRequestMessage, *parts: Any, **options: Any) -> None:
        super().__init__(message, *parts, **options)
        self.method, self.version, self.headers = message.method, message.version, message.headers


Handler = Callable[[Request], Awaitable[web.StreamResponse]]


def request_factory(state: AppState, loop: asyncio.AbstractEventLoop) -> Callable[..., Request]:
    """Return what makes the requests of a server, of the parts that aiohttp gives."""

    def factory(message: RawRequestMessage, *parts: Any) -> Request:
        request = Request(message, *parts, loop)
        request.app_state = state
        return request

    return factory


def middleware(function: Callable[[Request, Handler], Awaitable[web.StreamResponse]]) -> Middleware:
    """Return a middleware of aiohttp's."""
    return web.middleware(cast(Middleware, function))


def route(method: str, path: str, handler: Handler, **options: Any) -> web.RouteDef:
    """Return a route of aiohttp's table: all requests are Requests here."""
    return web.route(method, path, cast(AiohttpHandler, handler), **options)


get, post, delete = partial(route, "GET"), partial(route, "POST"), partial(route, "DELETE")
