"""Failures on their way to the client: which one it is, in whose words, and never with a secret in it."""

import asyncio
import re
from copy import copy
from math import ceil
from typing import Final

from aiohttp import web

from dialects import dialect_of
from gateway.record import RequestRecord
from providers import codec
from providers.errors import Failure

from . import logs
from .answer import Answer
from .request import Request

# Lines of an event stream that tell of a failure; no text of a model can look like one.
_FAILING: Final = re.compile(
    rb"""^(?:event:\ ?(?:error|response\.failed)\b|data:\ ?\{\s*"(?:error"|type":\s*"(?:error|response\.failed)"))""",
    re.MULTILINE | re.VERBOSE,
)
JSON: Final = {"Content-Type": "application/json"}
_LONGEST_OWN: Final = 16 * 2**10  # bytes of an upstream's error that is passed on as it came


def to_failure(error: BaseException, request: Request) -> Failure:
    """What to tell the client of an exception. Raises CancelledError when the client left: nobody is to be told."""
    if isinstance(error, Failure | asyncio.CancelledError):
        return request.in_flight.to_failure(error)
    return internal_error(request.record)


def internal_error(record: RequestRecord) -> Failure:
    """An exception that is none of the request's doing; for the log it is told in full. Call it in an except block."""
    logs.LOGGER.exception("request %s failed by a fault of this server", record.id)
    return Failure("This server made a mistake. Its log says more under the x-request-id of this answer.")


def error_response(failure: Failure, request: Request) -> web.Response:
    """Return a failure as an HTTP answer, in the form of the API that the path belongs to."""
    headers = dict(failure.headers)
    if failure.retry_after is not None:
        headers["Retry-After"] = str(max(1, ceil(failure.retry_after)))
    if failure.should_retry is not None:
        headers["x-should-retry"] = "true" if failure.should_retry else "false"
    shown = scrubbed(failure, request)
    if shown.verbatim is not None and failure.upstream_status:
        return Answer(shown.verbatim, {**JSON, **headers}, failure.upstream_status)
    dialect = dialect_of(request.path, request.headers)
    body = dialect.error_body(shown, request.record.id)
    return Answer(codec.encode(body), {**JSON, **headers}, dialect.error_status(failure))


def scrubbed(failure: Failure, request: Request) -> Failure:
    """Return the failure without secrets: an upstream's words may hold our key, or its own address.

    An answer of the upstream's own that is long is left out: it is told in our form, with the beginning of its words.
    """
    scrub = request.generation.scrub
    shown = copy(failure)
    shown.message = scrub(failure.message)
    shown.param = scrub(failure.param) if failure.param else failure.param
    shown.code = scrub(failure.code) if failure.code else failure.code
    if (own := failure.verbatim) is not None:
        shown.verbatim = _scrubbed_bytes(own, request) if len(own) <= _LONGEST_OWN else None
    return shown


def tells_failure(data: bytes | bytearray) -> bool:
    """Whether one of these events of an upstream, as they came, tells of a failure."""
    return _FAILING.search(data) is not None


def scrubbed_events(data: bytes | bytearray, request: Request) -> bytes | bytearray:
    """Return events of an upstream as they came, without secrets where one of them tells of a failure."""
    return _scrubbed_bytes(data, request) if tells_failure(data) else data


def _scrubbed_bytes(data: bytes | bytearray, request: Request) -> bytes:
    return request.generation.scrub(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
