"""Answers that pass as bytes: each piece is written as it is read, and looked at for the tokens it tells."""

import asyncio
from contextlib import nullcontext
from typing import Final

from aiohttp import web

from dialects import chat
from dialects.passing.usage import UsageWatch
from providers.errors import Failure

from .. import inspector
from ..attempts import began
from ..event_stream import PassedStream
from ..outbound.exchange import Exchange
from ..outbound.passed import PassedAnswer
from ..request import Request
from ..tracebacks import let_go
from ..traces import HEAD

# Of an upstream's headers, those that say what its body is. Content-Length and Content-Encoding: see pass_back.
_HEADERS: Final = ("Content-Type", "Content-Disposition", "Content-Range", "Accept-Ranges", "ETag", "Last-Modified")


async def pass_back(
    request: Request, exchange: Exchange, passed: PassedAnswer, headers: dict[str, str]
) -> web.StreamResponse:
    """Send the client an answer as it comes, and note what it has used. headers: of ours.

    An answer that breaks off upstream breaks off here: its end must not look like one.
    """
    answer, record, meter = passed.answer, request.record, request.meter
    headers |= {name: value for name in _HEADERS if (value := answer.headers.get(name)) is not None}
    response = web.StreamResponse(status=answer.status, headers=headers)
    size = answer.headers.get("Content-Length", "")
    if size.isdigit() and "Content-Encoding" not in answer.headers:  # that was undone by the parser
        response.content_length = int(size)
    else:
        response.headers["X-Accel-Buffering"] = "no"  # nginx would collect what comes piece by piece
    began(request, exchange)
    record.stream = response.content_type == "text/event-stream"
    line = PassedStream(request, request.app_state.heartbeat, chat.keep_alive, response) if passed.events else None
    write = response.write if line is None else line.write
    watch, shown = UsageWatch(), HEAD
    try:
        with line or nullcontext():
            if line is None:
                await response.prepare(request)
            elif not passed.begun:
                await line.send_keepalive()
            piece = await passed.begin()
            while piece:
                watch.see(piece)
                if shown > 0:
                    inspector.record_write(request, piece[:shown])
                    shown -= len(piece)
                await write(piece)
                piece = await answer.read()
            await (response.write_eof() if line is None else line.write(b"", end=True))
    except Failure as failure:
        meter.stream_failed(failure)
        let_go(failure)
        record.code = failure.code or failure.type
        _break_off(request)
    except asyncio.CancelledError:
        _break_off(request)  # no other answer can follow half of this one
        raise
    finally:
        meter.usage = watch.usage()
        passed.close()
    return response


def _break_off(request: Request) -> None:
    if request.transport is not None:
        request.transport.abort()
