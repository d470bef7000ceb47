"""The beginning of an answer: the call is made, and its first bytes say what kind of answer comes."""

from typing import Final, NamedTuple

from gateway.config_schema import ServerConfig
from providers.errors import Failure, UpstreamBadOutput, words_of
from providers.openai.errors import in_band
from providers.sse import is_stream

from .exchange import Exchange, send_request
from .pool import ConnectionPools
from .response import UpstreamResponse, too_much

WORDS: Final = 2**11  # bytes of a text in place of an answer that are kept
_WEB_PAGE: Final = "The upstream answered with a web page."
_BOM: Final = b"\xef\xbb\xbf"
# Bytes that say what a body is: the longest field name, or the first byte.
_TELLING: Final = 6
_AT_ONCE: Final = (b"{", b"[", b"<", b":")


class Begun(NamedTuple):
    """An answer of which the first bytes have been read."""

    answer: UpstreamResponse
    data: bytes
    is_stream: bool


async def begin(exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> Begun:
    """Make the call and read the beginning of its answer, which the caller closes. Raises Failure."""
    answer = await send_request(exchange, http, limits)
    try:
        data = await answer.read(exchange.first_byte)
        if data[:1] not in _AT_ONCE:
            data = await beginning(answer, data, exchange.first_byte, limits.max_answer)
        call = exchange.call
        streamed = _is_stream(data, answer.headers.get("Content-Type", ""), call.stream)
        exchange.verbatim = call.native is not None and streamed == call.stream
        return Begun(answer, data, streamed)
    except BaseException:
        answer.close()
        raise


async def beginning(answer: UpstreamResponse, piece: bytes, patience: float, limit: int) -> bytes:
    """Read a body up to and with the first piece that holds more than blanks, and leave these, and a BOM, out.

    piece: what has been read; patience: seconds of silence; limit: bytes of blanks.
    """
    start, blanks = b"", 0
    while piece:
        blanks += len(piece)
        start = (start + piece).lstrip().removeprefix(_BOM).lstrip()
        if len(start) >= _TELLING or start[:1] in _AT_ONCE:
            break
        if blanks > limit:
            raise too_much(limit)
        piece = await answer.read(patience)
    return start


def _is_stream(start: bytes, kind: str, asked: bool) -> bool:
    """Whether a body is an event stream. Its label (kind), and whether a stream was asked for, count only where its first
    bytes may be anything. Raises UpstreamBadOutput for a web page in place of a stream.
    """
    if start[:1] in (b"{", b"["):
        return False
    if is_stream(start):
        return True
    if asked and (start[:1] == b"<" or kind.startswith("text/html")):
        raise UpstreamBadOutput(_WEB_PAGE, code="upstream_protocol")
    return asked and not kind.startswith("application/json")


def no_json(body: bytes) -> Failure:
    """Return the failure of an answer that should have been JSON and is none; words in its place say what went wrong."""
    start = words_of(body)
    if start[:1] == "<":
        return UpstreamBadOutput(_WEB_PAGE, code="upstream_bad_json")
    if not start or start[0] in '{["' or not start.isprintable():
        return UpstreamBadOutput("The upstream's answer is not JSON.", code="upstream_bad_json")
    return in_band(start)
