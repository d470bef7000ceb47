"""A request of a client API is read: its body, then what it goes on from; then it is parsed."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from dialects.contract import ClientRequest, Dialect
from gateway.estimates import Prompt
from gateway.settings import Caller

from . import inspector
from .ingress import parse_body, read_body
from .responses import CONVERSATION

# Looks at a request before it is parsed; returns its body, and the dialect to parse it by.
Begin = Callable[[web.Request, Caller, bytes], Awaitable[tuple[bytes, Dialect]]]


class Parsed(NamedTuple):
    """A request that has been read. dialect: the one it was parsed by."""

    asked: ClientRequest
    prompt: Prompt
    dialect: Dialect
    operation: str  # see ingress.usable; "" where its conversation knows what limited keys may not send natively


async def read_request(request: web.Request, caller: Caller, dialect: Dialect, begin: Begin | None) -> Parsed:
    """Read the body of a request and return what it asks. Notes the conversation that it goes on from in CONVERSATION.

    begin: None: requests of this dialect go on from nothing that is kept here. Raises what it raises, and as read_body and
    parse_body.
    """
    request[CONVERSATION] = None
    data = inspector.record_body(request, await read_body(request))
    if begin is not None:
        data, dialect = await begin(request, caller, data)
    asked, prompt = await parse_body(request, data, dialect)
    if (conversation := request[CONVERSATION]) is None:
        return Parsed(asked, prompt, dialect, dialect.operation)
    return Parsed(await conversation.begin(asked), prompt, dialect, "")
