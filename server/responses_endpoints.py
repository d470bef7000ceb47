"""The endpoints around a response: read it again, delete it, list its input, cancel it; and what is asked over WebSocket.

A response that is kept here is answered from here. One that an upstream keeps is asked of exactly that upstream, with its key.
"""

import asyncio
from typing import Final
from urllib.parse import quote

from aiohttp import web

from dialects.responses import outgoing, state
from gateway.restricted_fields import refusal
from gateway.settings import Caller
from providers import PROVIDERS, codec
from providers.contract import Call, Json, Upstream
from providers.errors import BadRequest, Failure, MethodNotAllowed, NotFound
from providers.openai.native import state_call

from .answer import Answer
from .error_response import JSON
from .ingress import authenticate_request, decode_body, enter, read_body
from .json_answer import json_answer
from .outbound.exchange import Exchange, send_request
from .outbound.response import read_all
from .reading import may_pass
from .request import Request
from .responses import STORE
from .responses_store import Stored

_UPGRADE: Final = {
    "message": "This server speaks Responses over HTTP: POST /v1/responses.",
    "type": "invalid_request_error",
    "param": None,
    "code": "websocket_not_supported",
}


_REFERENCES: Final = ("previous_response_id", "conversation", "prompt")  # what is not in a request


async def upgrade(request: Request) -> web.Response:
    """GET /v1/responses: 426 for WebSocket, before anybody is asked for a key: clients then use HTTP at once."""
    if "websocket" not in request.headers.get("Upgrade", "").lower():
        failure = MethodNotAllowed("GET is not allowed here: use POST.")
        failure.headers = {"Allow": "POST, OPTIONS"}
        raise failure
    response = Answer(codec.encode({"error": _UPGRADE}), dict(JSON), 426)
    response.force_close()
    response.headers["Connection"] = "close"
    return response


async def retrieve(request: Request) -> web.StreamResponse:
    """GET /v1/responses/{id}."""
    found = await _find(request)
    if isinstance(found, Upstream):
        return await _forward(request, found)
    if request.query.get("stream", "false").lower() not in ("false", "0", ""):
        raise BadRequest(
            "This response was not made in the background: it cannot be streamed again.",
            param="stream",
            code="unsupported_value",
        )
    return json_answer(found.response)


async def delete(request: Request) -> web.StreamResponse:
    """DELETE /v1/responses/{id}. Forgets the response; those that go on from it then cannot be gone on from either."""
    found = await _find(request)
    ident, store = request.match_info["id"], request.app[STORE]
    if isinstance(found, Upstream):
        answer = await _forward(request, found)
        await store.unpin(ident)
        return answer
    await store.delete(request.record.key, ident)
    return json_answer({"id": ident, "object": "response", "deleted": True})


async def input_items(request: Request) -> web.StreamResponse:
    """GET /v1/responses/{id}/input_items."""
    found = await _find(request)
    if isinstance(found, Upstream):
        return await _forward(request, found, "/input_items")
    chain = await request.app[STORE].chain(request.record.key, found.id) or [found]
    before = [item for each in chain[:-1] for item in (*each.input, *each.response["output"])]
    return json_answer(state.page([*before, *found.input], request.query))


async def cancel(request: Request) -> web.StreamResponse:
    """POST /v1/responses/{id}/cancel."""
    found = await _find(request)
    if isinstance(found, Upstream):
        return await _forward(request, found, "/cancel")
    raise BadRequest("Cannot cancel a synchronous response.")


async def _find(request: Request) -> Stored | Upstream:
    """Return the response that a path names, or the upstream that keeps it. Raises NotFound where the caller has none of this id.

    An upstream that keeps a response is asked for it even where a copy is kept here: its words are the first ones.
    """
    caller = authenticate_request(request)
    owner = caller.name
    ident, store = request.match_info["id"], request.app[STORE]
    if not state.is_ident(ident):  # it becomes a part of the path that an upstream is asked
        raise state.response_not_found(ident)
    pin = (await store.pinned([ident])).get(ident)
    providers = request.generation.settings.providers
    if pin is not None and pin.owner == owner and pin.provider in providers:
        to = providers[pin.provider]
        if to.host.responses_state:
            return to
    if (found := await store.get(owner, ident)) is not None:
        return found
    if pin is None and not outgoing.is_own(ident) and not caller.restricted and may_pass(request):
        keeping = [to for to in providers.values() if to.host.responses_native and to.host.responses_state]
        if len(keeping) == 1:
            return keeping[0]
    raise state.response_not_found(ident)


async def _forward(request: Request, upstream: Upstream, more: str = "") -> web.StreamResponse:
    """Ask an upstream about a response that it keeps, and hand on what it says."""
    ident = request.match_info["id"]
    call = state_call(upstream, request.method, quote(ident, safe="") + more, request.rel_url.raw_query_string)
    with enter(request):
        await request.in_flight.acquire()
        try:
            return await _passed(request, Exchange(upstream, call, 0.0))
        except NotFound:
            raise state.response_not_found(ident) from None


async def _passed(request: Request, exchange: Exchange) -> web.StreamResponse:
    """Make a call and send its answer to the client as it comes. Raises Failure for one that is not good."""
    live = request.generation
    server = live.settings.config.server
    exchange.first_byte = server.timeouts.first_byte
    answer = await send_request(exchange, live.http, server)
    try:
        kind = answer.headers.get("Content-Type", "application/json")
        if not kind.startswith("text/event-stream"):
            body, failure = await read_all(answer, server.max_answer)
            if failure is not None:
                raise failure
            return Answer(body, dict(JSON))
        response = web.StreamResponse(headers={"Content-Type": kind, "Cache-Control": "no-cache, no-store"})
        await response.prepare(request)
        try:
            while data := await answer.read(server.timeouts.between_bytes):
                await response.write(data)
            await response.write_eof()
        except (Failure, asyncio.CancelledError):
            if request.transport is not None:
                request.transport.abort()  # half of a stream must not look like all of it
            raise
        return response
    finally:
        answer.close()


async def input_tokens(request: Request) -> web.StreamResponse:
    """POST /v1/responses/input_tokens: asked of the first target that counts. An estimate is no count."""
    caller = authenticate_request(request)
    with enter(request), request.app_state.ledger.counting(caller):
        body = await decode_body(request, await read_body(request))
        model = body.get("model") if isinstance(body, dict) else None
        if not isinstance(model, str) or not model:
            raise BadRequest("You must provide a model.", param="model", code="missing_required_parameter")
        await _check_references(request, caller, body)
        await request.in_flight.acquire()
        for target in request.generation.settings.routes.resolve(model, caller.models):
            if (call := _count(body, target.upstream)) is not None:
                return await _passed(request, Exchange(target.upstream, call, 0.0))
    raise BadRequest("This model's tokens cannot be counted in advance here.", param="model", code="unsupported_value")


async def _check_references(request: Request, caller: Caller, body: Json) -> None:
    """Raise Unsupported, NotFound where a request counts what the caller may not go on from: it may be another client's."""
    named = [name for name in _REFERENCES if body.get(name) is not None]
    if named and caller.restricted:
        raise refusal(named[0])
    ident = body.get("previous_response_id")
    if isinstance(ident, str) and not may_pass(request):
        pin = (await request.app[STORE].pinned([ident])).get(ident)
        if pin is None or pin.owner != caller.name:
            raise state.previous_not_found(ident)


def _count(body: dict[str, object], upstream: Upstream) -> Call | None:
    build = PROVIDERS[upstream.host.protocol].native.get("responses/input_tokens")
    return build(outgoing.cleaned(body)[0], {}, upstream) if build is not None else None
