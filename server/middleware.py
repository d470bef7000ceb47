"""Around every handler: failures become answers, each request gets its log line, each answer its headers."""

import random
import re
import time
from typing import cast

from aiohttp import web

from dialects import dialect_of
from gateway.record import RequestRecord
from gateway.route_hints import nearest
from providers.errors import Failure, MethodNotAllowed, NotFound

from . import auth
from .answer import HEADERS, Answer
from .attempts import header_safe
from .error_response import error_response, internal_error
from .request import Handler, Request, middleware
from .tracebacks import let_go

_ID = re.compile(r"[\x21-\x7e]{1,128}")
_SHOWN, _SHOWN_TARGETS = 100, 10  # characters of a target that a header names, and targets


@middleware
async def errors_and_log(request: Request, handler: Handler) -> web.StreamResponse:
    """Answer failures in the client's own form. Settles the request and writes its log line, whatever the end."""
    asked = request.headers.get("x-request-id")
    ident = asked if asked and _ID.fullmatch(asked) else f"req_{random.getrandbits(96):024x}"
    state = request.app_state
    record = request.record = RequestRecord(ident, time.monotonic())
    generation = request.generation = state.generations.acquire()
    status = 499  # the client left, unless something better is known
    try:
        response = await handler(request)
        status = response.status
    except Failure as failure:
        status, record.code = failure.status, failure.code or failure.type
        let_go(failure)
        response = error_response(failure, request)
    except ConnectionError as left:
        let_go(left)
        # The client left while something was being sent to it. aiohttp wants a response object; none is sent.
        return web.Response(status=status)
    except web.HTTPException:  # of aiohttp's router: `OPTIONS *`, `CONNECT host:443`
        refused = NotFound("The target of this request is not a path.", code="unknown_url")
        status, record.code = refused.status, "unknown_url"
        response = error_response(refused, request)
    except Exception:
        status, record.code = 500, "internal_error"
        response = error_response(internal_error(record), request)
    finally:
        state.finish_request(generation, record, getattr(request, "meter", None), status)
        if not record.unlogged:
            state.log.request(record, request.method, request.path, status, time.monotonic())
    if type(response) is Answer and not response.prepared:
        add_headers(request, response)
        response.begin(request)
    return response


async def on_prepare(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers of every answer to one that aiohttp prepares."""
    add_headers(cast(Request, request), response)


def add_headers(request: Request, response: web.StreamResponse) -> None:
    """Add the headers of every answer."""
    try:
        record, state = request.record, request.app_state
    except AttributeError:  # the middleware was not reached: aiohttp's 417, where no route is
        return
    headers = response.headers
    headers["x-request-id"] = record.id
    form = dialect_of(request.path, request.headers).header_form
    headers.setdefault(form.request_id, record.id)  # or the upstream's, of an answer that is its own
    if type(response) is not Answer:
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        headers["Server"] = HEADERS["Server"]  # aiohttp has already set its own
    if record.tried:
        headers["x-modelserver-tried"] = request.generation.scrub(tried(record))
    if record.limits is not None:
        headers.update(state.ledger.headers(record, form))
    if "Origin" in request.headers:
        headers.update(auth.cors(request, request.generation.settings))
        headers["Vary"] = f"{headers['Vary']}, Origin" if "Vary" in headers else "Origin"
    # After chunks aiohttp takes the last trailer for a header of the next request, which behind a proxy may be another's.
    if state.admission.draining or "Transfer-Encoding" in request.headers:
        response.force_close()
        headers["Connection"] = "close"  # which aiohttp has decided by now


def tried(record: RequestRecord) -> str:
    """Return the targets that did not answer, in the order they were tried, each with the code of why."""
    return ", ".join([header_safe(f"{target[:_SHOWN]}={code}") for target, code in record.tried[:_SHOWN_TARGETS]])


async def not_found(request: Request) -> web.Response:
    """Raise NotFound for any path that is not served, MethodNotAllowed where another method is."""
    if known := [method for method in ("GET", "POST", "DELETE") if await is_served(request, method)]:
        failure = MethodNotAllowed(f"{request.method} is not allowed here: use {' or '.join(known)}.")
        failure.headers = {"Allow": ", ".join([*known, *(["HEAD"] if "GET" in known else []), "OPTIONS"])}
        raise failure
    known_paths = [path for each in request.app.router.resources() if "{" not in (path := each.canonical)]
    raise NotFound(
        f"Unknown request URL: {request.method} {request.path[:200]}. {nearest(request.path, known_paths)}",
        code="unknown_url",
    )


async def is_served(request: Request, method: str) -> bool:
    """Whether this path is served with another method."""
    match = await request.app.router.resolve(request.clone(method=method))
    return match.handler is not not_found
