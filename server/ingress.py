"""The way in: who is calling, whether there is room and a turn for one more request, and the bytes of its body."""

import asyncio
from functools import partial
from typing import Any

from aiohttp import HttpVersion11, web

from dialects import json_density, validation
from dialects.contract import ClientRequest, Parser
from gateway.estimates import Prompt, measure
from gateway.restricted_fields import KNOWN, permitted
from gateway.routing import Target
from gateway.settings import Caller
from providers import density, raw_json
from providers.errors import BadRequest, RequestTimeout

from . import auth, content_encoding
from .admission import InFlightRequest, too_large
from .request import Request
from .worker import Worker, done


def authenticate_request(request: Request) -> Caller:
    """Who is calling; the log and the answer's headers hear of it too. Raises what auth.authenticate does."""
    caller = auth.authenticate(request, request.generation.settings)
    record = request.record
    record.key, record.limits = caller.name, caller.limits
    return caller


def enter(request: Request) -> InFlightRequest:
    """One more request under way: its body, its time and its turn have bounds until the end of the `with` block."""
    server = request.generation.settings.config.server
    run = request.in_flight = request.app_state.admission.enter(server.timeouts.total)
    return run


async def admit(request: Request, caller: Caller, asked: ClientRequest, prompt: Prompt, operation: str) -> list[Target]:
    """The targets of a request that may be answered now: somebody serves its model, its turn has come, its key's limits
    allow it. Raises ModelNotFound, Overloaded and what Ledger.reserve does.
    """
    targets = await usable(request, caller, asked, operation)
    return await reserve(request, caller, asked, prompt, targets)


async def reserve(
    request: Request, caller: Caller, asked: ClientRequest, prompt: Prompt, targets: list[Target]
) -> list[Target]:
    """Reserve what a request may use; return the targets it may use. Raises as Ledger.reserve does."""
    ledger = request.app_state.ledger
    # finish_request settles the meter, whatever the end.
    request.meter, targets = await ledger.reserve(request.record, caller, asked.body, prompt, targets)
    return targets


async def usable(request: Request, caller: Caller, asked: ClientRequest, operation: str) -> list[Target]:
    """Return the targets of a request once its turn has come; its model is noted in the record. Raises as admit does."""
    routes, record = request.generation.settings.routes, request.record
    record.model = routes.public_name(asked.body["model"])
    targets = routes.resolve(record.model, caller.models)
    if caller.restricted:
        sent = asked.raw and {name: raw_json.decoded(asked.raw[name]) for name in KNOWN & asked.raw.keys()}
        targets = permitted(asked.body, targets, sent, operation, asked.upstream_tools)
    await request.in_flight.acquire()
    return targets


async def read_body(request: Request) -> bytes:
    """Return the request's body, unpacked if it was compressed, within its limit and its deadline.

    Raises UnsupportedEncoding, RequestTooLarge, RequestTimeout, BadRequest, Overloaded.
    """
    if "Content-Encoding" not in request.headers:
        return await _received(request)
    encoding = content_encoding.named(request.headers.getall("Content-Encoding"))
    body = await _received(request)
    if not encoding:
        return body
    limit, run, packed = request.generation.settings.config.server.max_body, request.in_flight, len(body)

    def check(size: int) -> None:
        if size > limit:
            raise too_large(limit)
        run.hold_bytes(packed + size)

    return await content_encoding.unpacked(body, encoding, check)


async def _received(request: Request) -> bytes:
    """Return the body as it was sent. Raises as read_body does."""
    server = request.generation.settings.config.server
    run = request.in_flight
    limit = server.max_body
    content = request.content
    pieces: list[bytes] = []
    size = 0
    try:
        if content.is_eof():  # a small body came together with its head: no timer is needed, and parse_body counts it
            body = content.read_nowait()
            if len(body) > limit:
                raise too_large(limit)
            return body
        expected = request.content_length or 0
        if expected > limit:
            raise too_large(limit)
        run.hold_bytes(expected)
        await send_continue(request)
        async with asyncio.timeout(server.timeouts.request_body):
            # Pieces of a body whose length is known are joined once, at its end. Of others there may be very many.
            while piece := (await content.readchunk())[0] if expected else await content.readany():
                size += len(piece)
                if size > limit:
                    raise too_large(limit)
                run.hold_bytes(size)
                pieces.append(piece)
    except TimeoutError:
        raise RequestTimeout(
            f"The request body did not arrive within {server.timeouts.request_body:g} s.", code="request_timeout"
        ) from None
    except web.RequestPayloadError:
        raise BadRequest("The request body could not be read: its framing is broken.") from None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _named(request: Request, names: frozenset[str]) -> dict[str, str]:
    """Return the headers, and parameters of the query, that a dialect looks at (Parser.headers). Several lines are one."""
    found: dict[str, str] = {}
    if not names:
        return found
    beginnings = tuple(name[:-1] for name in names if name.endswith("*"))
    for name, value in request.headers.items():
        name = name.lower()
        if name in names or (beginnings and name.startswith(beginnings)):
            found[name] = f"{found[name]},{value}" if name in found else value
    for name in names:
        if name[0] == "?" and name[1:] in request.query:
            found[name] = request.query[name[1:]]
    return found


async def parse_body(request: Request, data: bytes, dialect: Parser) -> tuple[ClientRequest, Prompt]:
    """Return the request that a body holds, and how much it says (estimates.Prompt).

    Works on a large body outside of the event loop. Counts what it takes in memory (InFlightRequest.hold_bytes). Raises
    what Parser.parse does, and Overloaded.
    """
    limits, run = request.record.limits, request.in_flight
    reserve = limits is not None and limits.need_estimate
    headers = _named(request, dialect.headers)
    size = len(data)

    def parsed() -> tuple[ClientRequest, Prompt]:
        asked = dialect.parse(data, headers)
        return asked, measure(asked.body, size, reserve, bool(asked.upstream_tools))

    commas = density.count(data, b",", 0, size) if density.SMALL < size <= density.LARGE else 0
    if size <= density.LARGE and commas <= density.MANY:
        run.hold_bytes(json_density.room(size, commas))
        return parsed()

    def work(values: int) -> tuple[ClientRequest, Prompt, int, int]:
        asked, prompt = parsed()
        inside = validation.count_inside(asked.body, values)
        # More values than that are not weighed: the walk would take longer than all the rest.
        weight = json_density.weight(asked.body) if values <= density.MANY else 0
        return asked, prompt, inside, weight

    worker = run.worker = request.app_state.worker
    async with worker as do:
        values = await do(partial(validation.count, data))
        room = json_density.room(size, values)
        run.hold_bytes(room // 2)
        run.keep(room)  # refused to nobody: one body at a time is parsed
        asked, prompt, inside, weight = await do(partial(work, values))
        unfolded = json_density.room(0, inside)  # what a provider makes of the JSON in its strings
        if weight:
            room = weight + size  # the request itself, and the copy that goes upstream
        run.keep(room + unfolded)
    return asked, prompt


async def decode_body(request: Request, data: bytes) -> Any:
    """Return the value of a JSON body; decodes a large one outside of the event loop. Raises BadRequest."""
    return await done(worker_for(request, data), partial(validation.count_and_read, data))


def worker_for(request: Request, data: bytes) -> Worker | None:
    """Return what is to work on this JSON; None: the event loop, because it is not large. See worker.done."""
    return request.app_state.worker if density.heavy(data) else None


def worker_of(request: Request) -> Worker | None:
    """What is to work on this request's body; None: the event loop, because it is not large."""
    return request.in_flight.worker


async def handle_expect(request: Request) -> None:
    """Replace aiohttp's Expect handler: read_body sends `100 Continue` after its size check. Others are ignored."""


async def send_continue(request: Request) -> None:
    """Tell a client that waits for it to send its body."""
    if request.version >= HttpVersion11 and request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun
