"""Every private name of aiohttp's server that this server uses. tests/server/test_aiohttp_internals.py fails when one changes.

They serve two ends: a request is answered in the task of its connection, not in a task of its own, and one whose method and
path stand in the route table as they are is not looked up in aiohttp's router.
"""

import asyncio
from collections.abc import ItemsView
from functools import partial
from typing import Any, Final

from aiohttp import StreamReader, web
from aiohttp.http import StreamWriter
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import ERROR, RequestHandler, _ErrInfo

from .answer import Answer
from .tracebacks import let_go

# What of RequestHandler is read or set below; Server._connections, Server._kwargs, Application._handle, Request._match_info,
# Request._task and Request._cache beside it.
NAMES: Final = (
    *("_buffer_paused", "_close", "_current_request", "_force_close", "_handle_request", "_keepalive", "_keepalive_handle"),
    *("_keepalive_timeout", "_lingering_time", "_loop", "_make_error_handler", "_manager", "_messages"),
    *("_msg_queue_resume_size", "_next_keepalive_close_time", "_parser", "_process_keepalive", "_request_factory"),
    *("_request_handler", "_resume_reading_if_drained", "_task_handler", "_upgraded", "_waiter"),
)  # fmt: skip


class ConnectionHandler(RequestHandler):
    """aiohttp's protocol, which answers the requests of a connection in one task."""

    __slots__ = ()

    async def start(self) -> None:
        """Answer one request after the other, until the connection is to be closed. aiohttp runs this in a task."""
        loop = self._loop
        while not self._force_close:
            if not self._messages:
                self._waiter = loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            if not await self._answer(*self._messages.popleft()):
                break
            self._next_keepalive_close_time = until = loop.time() + self._keepalive_timeout
            if self._keepalive_handle is None:
                self._keepalive_handle = loop.call_at(until, self._process_keepalive)
            if self._messages:  # they came together: other connections have their turn in between
                await asyncio.sleep(0)
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    async def _answer(self, message: Any, payload: StreamReader) -> bool:
        """Answer one request. Return whether another may follow on this connection."""
        assert self._parser is not None and self._manager is not None and self._request_factory is not None
        self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        self._manager.requests_count += 1
        handler: Any = self._request_handler
        if isinstance(message, _ErrInfo):
            handler, message = self._make_error_handler(message), ERROR
        task: Any = self._task_handler or asyncio.current_task()
        request = self._request_factory(message, payload, self, StreamWriter(self, self._loop), task)
        try:
            response, has_left = await self._handle_request(request, None, handler)
            if has_left:
                return False
            self._keepalive = bool(response.keep_alive)
            if not payload.is_eof():
                await self._read_rest(payload)
        except ConnectionError as left:
            let_go(left)
            return False
        except asyncio.CancelledError as left:  # the client, or the server ends
            let_go(left)
            self.force_close()  # and no more is raised: the task would keep it, and this frame, which knows the task
        except Exception as error:
            self.log_exception("Unhandled exception", exc_info=error)
            self.force_close()
        finally:
            request._task = None  # type: ignore[assignment]  # else the two would hold each other
        return self._keepalive and not self._close and not self._force_close

    async def finish_response(
        self, request: web.BaseRequest, response: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer, in one write where it is an Answer that has begun. Return it, and whether the client has left."""
        if type(response) is not Answer or not response.prepared or self._upgraded:
            return await super().finish_response(request, response, start_time)
        try:
            await response.write_eof()
        except ConnectionError:
            return response, True
        return response, False

    async def _read_rest(self, payload: StreamReader) -> None:
        """Read what the client still sends of a body that has been answered, so that it reads the answer. Else close."""
        if self._lingering_time and not self._force_close:
            try:
                async with asyncio.timeout(self._lingering_time):
                    while not payload.is_eof():
                        await payload.readany()
            except TimeoutError:
                pass
        if not payload.is_eof() and not self._force_close:
            self.close()

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way: none has arrived whole since the last was answered."""
        return self._current_request is None and not self._messages


def connections(server: web.Server) -> ItemsView[Any, asyncio.Transport]:
    """Return the open connections, the oldest first: protocol and transport. `Server.connections` would copy them."""
    return server._connections.items()


def settings(server: web.Server) -> dict[str, Any]:
    """Return what each protocol of a server is made with."""
    return server._kwargs


def by_path_first(app: web.Application) -> Handler:
    """Return what answers the requests of an application that has started: as its router does, faster where it can.

    The routes whose path is a text are in a table, with the middlewares around them; all else is aiohttp's.
    """
    table: dict[tuple[str, str], tuple[web.UrlMappingMatchInfo, Handler]] = {}
    for resource in app.router.resources():
        if not isinstance(resource, web.PlainResource):
            continue
        for route in resource:
            handler: Any = route.handler
            for middleware in reversed(app.middlewares):
                handler = partial(middleware, handler=handler)
            match = web.UrlMappingMatchInfo({}, route)
            match.add_app(app)
            match.freeze()
            match.current_app = app
            table.setdefault((route.method, resource.canonical), (match, handler))
    route_of, by_router = table.get, app._handle

    def answer(request: web.Request) -> Any:
        found = route_of((request.method, request.raw_path))
        if found is None:
            return by_router(request)
        request._match_info, handler = found
        request._cache["path"] = request.raw_path  # as it is in the table: nothing is to be decoded
        return handler(request)

    return answer
