"""Failures on their way to the client: which one it is, in whose words, and never with a secret in it."""

import asyncio
from math import ceil
from typing import Final

from aiohttp import web

from providers import codec
from providers.contract import Json
from providers.errors import Failure

from . import logs
from .admission import InFlightRequest
from .ingress import GENERATION, IN_FLIGHT, RECORD

JSON: Final = {"Content-Type": "application/json"}


def to_failure(error: BaseException, request: web.Request) -> Failure:
    """What to tell the client of an exception. Raises CancelledError when the client left: nobody is to be told."""
    if isinstance(error, Failure | asyncio.CancelledError):
        run: InFlightRequest = request[IN_FLIGHT]
        return run.to_failure(error)
    return internal_error(request[RECORD])


def internal_error(record: logs.RequestRecord) -> Failure:
    """An exception that is none of the request's doing; for the log it is told in full. Call it in an except block."""
    logs.LOGGER.exception("request %s failed by a fault of this server", record.id)
    return Failure("This server made a mistake. Its log says more under the x-request-id of this answer.")


def error_body(failure: Failure, request: web.Request) -> Json:
    """A failure as the client hears of it: an upstream's words may hold our key, or its own address."""
    body = failure.body()
    scrub = request[GENERATION].scrub
    body["error"] = {name: scrub(value) if isinstance(value, str) else value for name, value in body["error"].items()}
    return body


def error_response(failure: Failure, request: web.Request) -> web.Response:
    """A failure as an HTTP answer."""
    headers = dict(failure.headers)
    if failure.retry_after is not None:
        headers["Retry-After"] = str(max(1, ceil(failure.retry_after)))
    if failure.should_retry is not None:
        headers["x-should-retry"] = "true" if failure.should_retry else "false"
    return web.Response(
        status=failure.status, body=codec.encode(error_body(failure, request)), headers={**JSON, **headers}
    )
