"""One exchange with one upstream: the call goes out, and the head of its answer comes back, or what its refusal means.

send_request → opening.begin → document.chunks_of_document, or batches.BatchStream
"""

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import partial
from math import ceil
from time import monotonic, time
from typing import Final, TypeVar

import msgspec

from gateway.config_schema import ServerConfig
from providers import PROVIDERS, codec, density
from providers.contract import Call, CannedReply, Json, Upstream
from providers.errors import (
    BadRequest,
    Failure,
    QuotaExhausted,
    RequestTooLarge,
    UpstreamAuthError,
    UpstreamError,
    sane_wait,
)
from providers.sse import unframed

from ..worker import Worker, done
from .pool import ConnectionPools
from .response import SimulatedResponse, UpstreamResponse
from .upload import Upload

_REFUSALS: Final = frozenset({400, 413, 422})  # statuses by which an upstream speaks about the client's request
_PASSED_REFUSALS: Final = _REFUSALS | {404, 405, 409, 410, 412, 415, 416}  # the same, where any path may be asked for
_ERROR_BODY = 256 * 2**10  # bytes of an error answer that are read
_LARGE_ERROR: Final = 16 * 2**10  # bytes of one that is parsed outside of the event loop
# Character sets of error texts, where they are not UTF-8. Only these: some codecs cost the square of what they read.
_CHARSETS: Final = frozenset({"gbk", "gb2312", "gb18030", "big5", "shift_jis", "euc-jp", "euc-kr", "iso-8859-1", "windows-1251",
                              "windows-1252", "utf-16", "utf-16le", "utf-16be"})  # fmt: skip
_CHARSET: Final = re.compile(r"charset=\"?([\w-]{1,20})", re.ASCII | re.IGNORECASE)
TAIL: Final = 3.0  # seconds that usage and the end of a stream may take once the answer is complete
T = TypeVar("T")
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)


class Exchange(msgspec.Struct):
    """A call and, once the upstream has answered, what its headers said.

    first_byte: seconds it may take to answer, and be silent until it has said something; said: whether it has;
    held_back: chunks that nobody was shown yet; body: the call's, in bytes, while it is being made; observer: the inspector, if
    it is on; encoder: encodes it outside of the event loop, None: it is not large; worker: works on a large answer so; large:
    whether the answer is.
    """

    to: Upstream
    call: Call
    first_byte: float
    observer: "Callable[[Exchange, Awaitable[UpstreamResponse]], Awaitable[UpstreamResponse]] | None" = None
    encoder: Worker | None = None
    worker: Worker | None = None
    added: str = ""  # the limit of the answer that this server has added: Target.added
    request_id: str = ""
    said: bool = False
    held_back: list[Json] = []
    body: bytes | Upload = b""
    verbatim: bool = False  # the answer goes to the client as it came (Call.native)
    answer: bytes = b""  # of a whole answer, its body
    chunks: list[Json] = []  # of a whole answer that was put together
    large: bool = False
    filter_fails: bool = False  # an answer that a filter refused is a failure: another target is asked

    def on_answer(self, work: Callable[[], T]) -> Awaitable[T]:
        """Return what `work` on the answer returns; outside of the event loop where the answer is large."""
        return done(self.worker if self.large else None, work)


async def send_request(exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> UpstreamResponse:
    """Make the call and wait for the head of a good answer; the caller closes it. Raises Failure.

    A call that the upstream refuses and that can be repaired is made once more.
    """
    call = exchange.call
    if (call.method == "POST" or call.passed) and (call.reply is None or exchange.observer is not None):
        if isinstance(call.body, bytes) or call.passed:
            exchange.body = call.body
        else:
            exchange.body = await done(exchange.encoder, partial(codec.encode, call.body))
    try:
        making = _dispatch(exchange, http, limits)
        answer = await (making if exchange.observer is None else exchange.observer(exchange, making))
    finally:
        exchange.body = b""
    exchange.request_id = _request_id(answer)
    if answer.status == 200 or (call.passed and 200 < answer.status < 300):
        return answer
    try:
        failure = await _failure(answer, exchange, limits.timeouts.between_bytes)
    finally:
        answer.close()
    if call.repair is None or (repaired := call.repair(failure)) is None:
        raise failure
    exchange.call = repaired._replace(repair=None)
    return await send_request(exchange, http, limits)


def _dispatch(exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> Awaitable[UpstreamResponse]:
    call = exchange.call
    if call.reply is not None:
        return _played(call.reply, exchange, limits)
    pool = http.of(exchange.to.name)
    return pool.request(call.method, call.url, call.headers, exchange.body, exchange.first_byte)


async def _played(reply: CannedReply, exchange: Exchange, limits: ServerConfig) -> UpstreamResponse:
    return SimulatedResponse(reply, limits.timeouts, exchange.first_byte)


async def _failure(answer: UpstreamResponse, exchange: Exchange, patience: float) -> Failure:
    """Read an answer that is not good; what it means. patience: seconds for its body, of which what came must do.

    Of a call that was the client's own, what it did wrong it is told as the upstream does.
    """
    if answer.status < 400:
        # A redirect is never followed: body and key would go to another host.
        return UpstreamError(f"The upstream answered with HTTP status {answer.status}.", code="upstream_protocol")
    pieces: list[bytes] = []
    size = 0
    due, whole = monotonic() + patience, density.Whole()
    with suppress(Failure):
        while size < _ERROR_BODY and (left := due - monotonic()) > 0 and (piece := await answer.read(left)):
            pieces.append(piece)
            size += len(piece)
            if whole.add(piece):
                due = min(due, monotonic() + TAIL)
    call, data = exchange.call, b"".join(pieces)[:_ERROR_BODY]
    worker = exchange.worker if len(data) > _LARGE_ERROR else None
    body, failure = await done(worker, partial(_parsed, answer, exchange.to, data))
    failure.upstream_status = answer.status
    if call.native is not None or call.passed:
        retry = answer.headers.get("x-should-retry")
        failure.should_retry = retry == "true" if retry in ("true", "false") else failure.should_retry
        if _speaks_to_client(answer.status, failure, call) and body.startswith(b"{"):
            failure.verbatim = body
            failure.headers = {"request-id": ident} if (ident := _request_id(answer)) else {}
    wait = _milliseconds(answer.headers.get("retry-after-ms"))
    if wait is None:
        wait = parse_retry_after(answer.headers.get("Retry-After"), time())
    if wait is not None:
        failure.retry_after = wait
    return failure


def _parsed(answer: UpstreamResponse, to: Upstream, data: bytes) -> tuple[bytes, Failure]:
    """Return the body of an answer that is not good, in UTF-8, and what it means."""
    body = _in_utf8(data, answer.headers.get("Content-Type", ""))
    return body, PROVIDERS[to.host.protocol].parse_error(answer.status, unframed(body))


def _speaks_to_client(status: int, failure: Failure, call: Call) -> bool:
    """Whether an upstream's refusal is about the client's request, and not about this server's key or account."""
    if call.passed:
        return status in _PASSED_REFUSALS and not isinstance(failure, UpstreamAuthError | QuotaExhausted)
    return status in _REFUSALS and isinstance(failure, BadRequest | RequestTooLarge)


def _in_utf8(body: bytes, kind: str) -> bytes:
    """Return a body in UTF-8, whatever character set its Content-Type names."""
    named = _CHARSET.search(kind)
    if named is None or named[1].lower() not in _CHARSETS:
        return body
    return body.decode(named[1], errors="replace").encode()


def _milliseconds(header: str | None) -> float | None:
    """Return a retry-after-ms header (Azure's; SDKs read it first) in seconds; None where it says nothing of use."""
    return sane_wait(float(header) / 1000) if header and _SECONDS.fullmatch(header.strip()) else None


def parse_retry_after(header: str | None, now: float) -> float | None:
    """A Retry-After header (seconds, or an HTTP date) → seconds from `now` (a Unix time); None where it says neither."""
    if not header:
        return None
    if _SECONDS.fullmatch(header.strip()):
        return sane_wait(float(header))
    try:
        return sane_wait(max(0.0, ceil(parsedate_to_datetime(header).timestamp() - now)))
    except (ValueError, TypeError, OverflowError):
        return None


def _request_id(answer: UpstreamResponse) -> str:
    value = answer.headers.get("x-request-id") or answer.headers.get("request-id") or ""
    return value if len(value) <= 128 and value.isascii() and value.isprintable() else ""
