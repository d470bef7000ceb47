"""The way in: who is calling, whether there is room and a turn for one more request, and the bytes of its body."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from aiohttp import HttpVersion11, web

from gateway import bodies, checks
from gateway.config import Caller
from gateway.estimates import Prompt, measure
from gateway.fields import permitted
from gateway.requests import Ask
from gateway.routes import Target
from gateway.schema import Server
from providers import density
from providers.contract import Json
from providers.errors import BadRequest, TooLarge, TooSlow

from . import access, encodings, logs
from .admission import Run
from .house import House
from .worker import Worker

HOUSE: Final = web.AppKey("HOUSE", House)  # of the application: what lives as long as the process
# Of a request: what the log will say, the configuration it began with (live.Live), its place among the others, the house.
RECORD: Final = "record"
LIVE: Final = "live"
RUN: Final = "run"
ROOMS: Final = "rooms"
IMAGES: Final = "images"  # those downloaded for it (fetch.inline)

T = TypeVar("T")


def identify(request: web.Request) -> Caller:
    """Who is calling; the log and the answer's headers hear of it too. Raises what access.authenticate does."""
    caller = access.authenticate(request, request[LIVE].settings)
    record: logs.Record = request[RECORD]
    record.key, record.limits = caller.name, caller.limits
    return caller


def inside(request: web.Request) -> Run:
    """One more request under way: its body, its time and its turn have bounds until the end of the `with` block."""
    server: Server = request[LIVE].settings.config.server
    rooms: House = request[ROOMS]
    run = request[RUN] = rooms.admission.enter(server.timeouts.total)
    return run


async def admitted(request: web.Request, caller: Caller, body: Json, prompt: Prompt) -> list[Target]:
    """The targets of a request that may be answered now: somebody serves its model, its turn has come, its key's limits
    allow it. Raises NoSuchModel, Overloaded and what Books.open does.
    """
    record: logs.Record = request[RECORD]
    record.model = body["model"]
    targets = request[LIVE].settings.routes.find(record.model, caller.models)
    if caller.restricted:
        targets = permitted(body, targets)
    await request[RUN].turn()
    rooms: House = request[ROOMS]
    # What is opened here is closed by the door, whatever the end.
    return await rooms.books.open(record, caller, body, prompt, targets)


async def read_body(request: web.Request) -> bytes:
    """Return the request's body, unpacked if it was compressed, within its limit and its deadline.

    Raises UnsupportedEncoding, TooLarge, TooSlow, BadRequest, Overloaded.
    """
    if "Content-Encoding" not in request.headers:
        return await _received(request)
    encoding = encodings.named(request.headers.getall("Content-Encoding"))
    body = await _received(request)
    if not encoding:
        return body
    limit, run, packed = request[LIVE].settings.config.server.max_body, request[RUN], len(body)

    def check(size: int) -> None:
        if size > limit:
            raise too_large(limit)
        run.hold(packed + size)

    return await encodings.unpacked(body, encoding, check)


async def _received(request: web.Request) -> bytes:
    """Return the body as it was sent. Raises as read_body does."""
    server: Server = request[LIVE].settings.config.server
    run: Run = request[RUN]
    limit = server.max_body
    content = request.content
    pieces: list[bytes] = []
    size = 0
    try:
        if content.is_eof():  # a small body came together with its head: no timer is needed, and `parsed` counts it
            body = content.read_nowait()
            if len(body) > limit:
                raise too_large(limit)
            return body
        expected = request.content_length or 0
        if expected > limit:
            raise too_large(limit)
        run.hold(expected)
        await welcome(request)
        async with asyncio.timeout(server.timeouts.request_body):
            while piece := await content.readany():
                size += len(piece)
                if size > limit:
                    raise too_large(limit)
                run.hold(size)
                pieces.append(piece)
    except TimeoutError:
        raise TooSlow(
            f"The request body did not arrive within {server.timeouts.request_body:g} s.", code="request_timeout"
        ) from None
    except web.RequestPayloadError:
        raise BadRequest("The request body could not be read: its framing is broken.") from None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def parsed(request: web.Request, data: bytes, parse: Callable[[bytes], T]) -> tuple[T, Prompt]:
    """Return what `parse` makes of a body, and what it says (estimates.Prompt).

    A large body is worked on outside of the event loop. What it takes in memory is counted (Run.hold). Raises what
    `parse` does, and Overloaded.
    """
    limits = request[RECORD].limits
    reserve = limits is not None and bool(limits.tpm or limits.budget)
    run: Run = request[RUN]
    size = len(data)
    commas = data.count(b",") if size > density.SMALL else 0
    if size <= density.LARGE and commas <= density.MANY:
        run.hold(bodies.room(size, commas))
        value = parse(data)
        return value, measure(_body_of(value), size, reserve)

    def work(values: int) -> tuple[T, Prompt, int]:
        value = parse(data)
        body = _body_of(value)
        return value, measure(body, size, reserve), checks.count_inside(body, values)

    worker = run.worker = request[ROOMS].worker
    async with worker as do:
        values = await do(partial(checks.count, data))
        room = bodies.room(size, values)
        run.hold(room // 2)
        run.keep(room)  # refused to nobody: one body at a time is parsed
        value, prompt, inside = await do(partial(work, values))
        unfolded = bodies.room(0, inside)  # what a provider makes of the JSON in its strings
        # More values than that are not weighed: the walk would take longer than all the rest.
        if values <= density.MANY:
            room = await do(partial(bodies.weight, _body_of(value))) + size  # itself, and the copy that goes upstream
        run.keep(room + unfolded)
    return value, prompt


def _body_of(value: Any) -> Json:
    """The body of what a parser makes: a chat request knows more than its body."""
    body: Json = value.body if isinstance(value, Ask) else value
    return body


def worker_of(request: web.Request) -> Worker | None:
    """What is to work on this request's body; None: the event loop, because it is not large."""
    run: Run = request[RUN]
    return run.worker


async def expects(request: web.Request) -> None:
    """An Expect header: read_body answers it once the body is welcome; what it does not know is passed over."""


async def welcome(request: web.Request) -> None:
    """Tell a client that waits for it to send its body."""
    if request.version >= HttpVersion11 and request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"The request body is larger than {limit} bytes (server.max_body).")
