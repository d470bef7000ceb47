"""Whole answers: sent while they still count, for clients that take their time or never read them."""

import asyncio
from typing import Final

from aiohttp import web

from .request import Request

_SHORT: Final = 64 * 2**10  # bytes that the connection's buffer takes at once


async def sent(request: Request, response: web.Response) -> web.Response:
    """Send an answer and return it once the client has taken it, but for what the connection's buffer may hold.

    Its bytes count in server.capacity.bytes until then. A short answer is left to aiohttp, which sends it when it is
    returned. A client that takes nothing is cut off by listener.Unread.
    """
    body = response.body
    size = len(body) if isinstance(body, bytes) else 0
    if size <= _SHORT:
        return response
    admission = request.app_state.admission
    admission.count(size)
    try:
        await response.prepare(request)
        await response.write_eof()
    except asyncio.CancelledError:
        if request.transport is not None:
            request.transport.abort()  # no other answer can follow half of this one
        raise
    finally:
        admission.count(-size)
    return response
