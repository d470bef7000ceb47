"""A request of a client API is read: its body, then what it goes on from; then it is parsed."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from dialects import responses
from dialects.contract import ClientRequest, Dialect
from dialects.responses import compaction
from dialects.responses.compacting import Compacting
from gateway.estimates import Prompt
from gateway.settings import Caller
from providers import density

from . import inspector
from .ingress import decode_body, parse_body, read_body, worker_for
from .request import Request
from .responses import STORE, Conversation

# Looks at a request before it is parsed; returns its body, and the dialect to parse it by.
Begin = Callable[[Request, Caller, bytes], Awaitable[tuple[bytes, Dialect]]]

_COMPACTING: Final = Compacting(responses.operation)
_COMPACT: Final = Compacting("responses/compact")


class Parsed(NamedTuple):
    """A request that has been read. dialect: the one it was parsed by."""

    asked: ClientRequest
    prompt: Prompt
    dialect: Dialect
    operation: str  # see ingress.usable; "" where its conversation knows what limited keys may not send natively


async def read_request(request: Request, caller: Caller, dialect: Dialect, begin: Begin | None) -> Parsed:
    """Read the body of a request and return what it asks. Notes the conversation that it goes on from in CONVERSATION.

    begin: None: requests of this dialect go on from nothing that is kept here. Raises what it raises, and as read_body and
    parse_body.
    """
    data = inspector.record_body(request, await read_body(request))
    if begin is not None:
        data, dialect = await begin(request, caller, data)
    asked, prompt = await parse_body(request, data, dialect)
    if (conversation := request.conversation) is None:
        return Parsed(asked, prompt, dialect, dialect.operation)
    return Parsed(await conversation.begin(asked), prompt, dialect, "")


async def begin_response(request: Request, caller: Caller, data: bytes) -> tuple[bytes, Dialect]:
    """Begin a POST /v1/responses: return its body, with the conversation that it goes on from, and the dialect to parse it by.

    Raises BadRequest, NotFound, RequestTooLarge.
    """
    data = await _resolved(request, caller, data)
    named = compaction.TRIGGER.encode() in density.outline(data)
    ends = named and compaction.triggered(await decode_body(request, data))
    return data, _COMPACTING if ends else responses


async def begin_compact(request: Request, caller: Caller, data: bytes) -> tuple[bytes, Dialect]:
    """Begin a POST /v1/responses/compact. See begin_response."""
    return await _resolved(request, caller, data), _COMPACT


async def _resolved(request: Request, caller: Caller, data: bytes) -> bytes:
    conversation = request.conversation = Conversation(caller.name, request.app[STORE], caller.restricted)
    largest = request.generation.settings.config.server.max_body
    return await conversation.resolve(data, may_pass(request), largest, worker_for(request, data))


def may_pass(request: Request) -> bool:
    """Whether ids that are not known here may be passed on: providers' keys are shared by all clients."""
    settings = request.generation.settings
    policy = settings.config.responses.unknown_ids
    return policy == "pass" or (policy == "auto" and len(settings.keys) <= 1)
