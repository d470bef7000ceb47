"""HTTP/1.1 as nobody should send it, byte for byte, against the real process: RFC 9112, in the manner of h1spec and Http11Probe.

After each case the server answers the next client, and where the connection stays open, the next request on it: no byte
was taken for something that it is not. A refusal has OpenAI's shape and repeats nothing of what was sent; every bad case
holds the word `zebra`, to be looked for. At the end there is no traceback in the log.

Where an outcome surprises, `why` says why it is acceptable.
"""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import pytest
from conftest import LAPTOP
from http_client import dial
from process import Process, config

BODY = b'{"model":"echo","messages":[{"role":"user","content":"Hi"}]}'
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK = b"%x\r\n" % len(BODY) + BODY + b"\r\n"
LAST = b"0\r\n\r\n"


class Case(NamedTuple):
    """sent: the bytes; status: of each answer in turn; closes: whether the server then ends the connection, None: when it
    likes, there is something on it that it did not read.
    """

    sent: bytes
    status: str
    closes: bool | None = False
    why: str = ""


def bad(sent: bytes, why: str = "") -> Case:
    """What is no HTTP, or not surely one request."""
    return Case(sent, "400", True, why)


def get(line: bytes, headers: bytes = b"Host: localhost\r\n") -> bytes:
    return line + b"\r\n" + headers + b"\r\n"


def header(line: bytes) -> bytes:
    return GET + line + b"\r\n\r\n"


def posted(line: bytes, body: bytes = BODY) -> bytes:
    return POST + line + b"\r\n\r\n" + body


REQUEST_LINE = {
    "HTTP/0.9": Case(b"GET /absent\r\n\r\n", "404", True, "a GET without Host or key: it can reach what is public"),
    "HTTP/1.0 without Host": Case(b"GET /healthz HTTP/1.0\r\n\r\n", "200", True),
    "HTTP/1.0": Case(get(b"GET /healthz HTTP/1.0"), "200", True),
    "HTTP/1.0 that stays": Case(get(b"GET /healthz HTTP/1.0", b"Host: localhost\r\nConnection: keep-alive\r\n"), "200"),
    "HTTP/1.2": bad(get(b"GET /zebra HTTP/1.2"), "RFC 9110 2.5 would have it taken for 1.1; nobody sends it"),
    "HTTP/2.0": Case(get(b"GET /healthz HTTP/2.0"), "200", True, "aiohttp's parser takes it for 1.1 and closes"),
    "HTTP/3.7": bad(get(b"GET /zebra HTTP/3.7")),
    "HTTP/1.": bad(get(b"GET /zebra HTTP/1.")),
    "HTTP/11": bad(get(b"GET /zebra HTTP/11")),
    "HTTP/1.10": bad(get(b"GET /zebra HTTP/1.10")),
    "HTTP/1,1": bad(get(b"GET /zebra HTTP/1,1")),
    "http/1.1": bad(get(b"GET /zebra http/1.1")),
    "HTTPS/1.1": bad(get(b"GET /zebra HTTPS/1.1")),
    "HTTP/2 preface": bad(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS hello": bad(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03zebra"),
    "two spaces": Case(get(b"GET  /healthz HTTP/1.1"), "200", why="RFC 9112 3: words may be split at any whitespace"),
    "a space before": bad(get(b" GET /zebra HTTP/1.1")),
    "a space behind": bad(get(b"GET /zebra HTTP/1.1 ")),
    "tabs": bad(get(b"GET\t/zebra\tHTTP/1.1")),
    "four words": bad(get(b"GET /healthz zebra HTTP/1.1")),
    "no method": bad(get(b"/zebra HTTP/1.1")),
    "no target": bad(get(b"GET HTTP/1.1", b"Host: zebra\r\n")),
    "get": bad(get(b"get /zebra HTTP/1.1"), "the C parser knows a list of methods, and takes others for broken"),
    "ZEBRA": bad(get(b"ZEBRA /healthz HTTP/1.1"), "as above; RFC 9110 9.1 would say 501"),
    "a bracket in the method": bad(get(b"GE(T /zebra HTTP/1.1")),
    "NUL in the method": bad(get(b"G\0T /zebra HTTP/1.1")),
    "a long method": bad(get(b"Z" * 10_000 + b" /zebra HTTP/1.1")),
    "TRACE": Case(get(b"TRACE /healthz HTTP/1.1", b"Host: localhost\r\nX: zebra\r\n"), "405"),
    "an empty line before": Case(b"\r\n" + GET + b"\r\n", "200", why="RFC 9112 2.2 asks for it"),
    "empty lines before": Case(b"\r\n" * 20 + GET + b"\r\n", "200"),
    "LF before": Case(b"\n" + GET + b"\r\n", "200", why="an empty line, if not the right one"),
    "no HTTP at all": bad(BODY + b"zebra\r\n\r\n"),
    "all bytes": bad(bytes(range(256)) * 4 + b"\r\n\r\n"),
}

TARGET = {
    "authority of CONNECT": Case(get(b"CONNECT other.example:443 HTTP/1.1"), "404"),
    "authority of GET": bad(get(b"GET zebra.example:443 HTTP/1.1")),
    "asterisk of OPTIONS": Case(get(b"OPTIONS * HTTP/1.1"), "404"),
    "asterisk of GET": bad(get(b"GET * HTTP/1.1", b"Host: zebra\r\n")),
    "absolute": Case(get(b"GET http://localhost/healthz HTTP/1.1"), "200"),
    "absolute, of another host": Case(
        get(b"GET http://other.example/v1/models HTTP/1.1"), "200",
        why="the Host header decides who may call without a key, and no page can set the other",
    ),
    "absolute, with a strange Host": Case(get(b"GET http://localhost/v1/models HTTP/1.1", b"Host: zebra.example\r\n"), "403"),
    "absolute, of another scheme": Case(get(b"GET ftp://localhost/healthz HTTP/1.1"), "200", why="only its path counts"),
    "a fragment": Case(get(b"GET /healthz#there HTTP/1.1"), "200", why="cut off; no client sends one"),
    "a backslash": bad(get(b"GET \\zebra HTTP/1.1")),
    "NUL": bad(get(b"GET /ze\0bra HTTP/1.1")),
    "a control character": bad(get(b"GET /zebra\x01 HTTP/1.1")),
    "DEL": bad(get(b"GET /zebra\x7f HTTP/1.1")),
    "raw UTF-8": bad(get("GET /zebra你 HTTP/1.1".encode())),
    "broken percent": Case(get(b"GET /%zz HTTP/1.1"), "404"),
    "%00": Case(get(b"GET /v1/models/%00 HTTP/1.1"), "404"),
    "%0d%0a": Case(get(b"GET /v1/models/a%0d%0aX-Injected:%20zebra HTTP/1.1"), "404"),
    "%68ealthz": Case(get(b"GET /%68ealthz HTTP/1.1"), "200", why="an escaped letter is that letter"),
    "dots": Case(get(b"GET /web/../../../../etc/passwd HTTP/1.1"), "404"),
    "escaped dots": Case(get(b"GET /web/%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1"), "404"),
    "dots escaped twice": Case(get(b"GET /web/..%252f..%252fetc%252fpasswd HTTP/1.1"), "404"),
    "dots of a route": Case(get(b"GET /v1/../healthz HTTP/1.1"), "404"),
    "escaped dots of a route": Case(get(b"GET /v1/%2e%2e/metrics HTTP/1.1"), "404"),
    "two slashes": Case(get(b"GET //other.example/healthz HTTP/1.1"), "404"),
    "a semicolon": Case(get(b"GET /inspector/exchanges;a=b HTTP/1.1"), "404"),
    "long": bad(get(b"GET /zebra" + b"z" * 20_000 + b" HTTP/1.1"), "RFC 9112 3 would say 414"),
    "8000 characters": Case(get(b"GET /" + b"z" * 8000 + b" HTTP/1.1"), "404"),
}  # fmt: skip

HOST = {
    "none": bad(get(b"GET /zebra HTTP/1.1", b"")),
    "two": bad(get(b"GET /healthz HTTP/1.1", b"Host: localhost\r\nHost: zebra.example\r\n")),
    "the same twice": bad(get(b"GET /zebra HTTP/1.1", b"Host: localhost\r\nHost: localhost\r\n")),
    "empty": Case(get(b"GET /v1/models HTTP/1.1", b"Host:\r\n"), "403"),
    "a list": Case(get(b"GET /v1/models HTTP/1.1", b"Host: localhost, zebra.example\r\n"), "403"),
    "a path": Case(get(b"GET /v1/models HTTP/1.1", b"Host: localhost/zebra\r\n"), "403"),
    "a user": Case(get(b"GET /v1/models HTTP/1.1", b"Host: zebra@localhost\r\n"), "403"),
    "a space": Case(get(b"GET /v1/models HTTP/1.1", b"Host: zebra localhost\r\n"), "403"),
    "a port that is none": Case(
        get(b"GET /v1/models HTTP/1.1", b"Host: localhost:port\r\n"), "200", why="the name alone is looked at"
    ),
    "a path, where no Host matters": Case(get(b"GET /healthz HTTP/1.1", b"Host: localhost/a\r\n"), "200"),
}

HEADERS = {
    "a space before the colon": bad(header(b"X-Zebra : zebra")),
    "a tab before the colon": bad(header(b"X-Zebra\t: zebra")),
    "a space before the colon of Host": bad(get(b"GET /healthz HTTP/1.1", b"Host : zebra\r\n")),
    "a space in the name": bad(header(b"X zebra: 1")),
    "a space before the first": bad(get(b"GET /healthz HTTP/1.1", b" Host: zebra\r\n")),
    "folded": bad(header(b"X: a\r\n zebra")),
    "folded with a tab": bad(header(b"X: a\r\n\tzebra")),
    "folded Transfer-Encoding": bad(posted(b"X: zebra\r\nTransfer-Encoding:\r\n chunked", LAST)),
    "no name": bad(header(b": zebra")),
    "no colon": bad(header(b"zebra")),
    "NUL in a name": bad(header(b"X\0: zebra")),
    "UTF-8 in a name": bad(header("X-é: zebra".encode())),
    "a bracket in a name": bad(header(b"X(zebra): 1")),
    "NUL in a value": bad(header(b"X: zebra\0")),
    "a control character in a value": bad(header(b"X: zebra\x01")),
    "DEL in a value": bad(header(b"X: zebra\x7f")),
    "a vertical tab in a value": bad(header(b"X: \x0bzebra")),
    "CR in a value": bad(header(b"X: a\rzebra")),
    "a tab in a value": Case(header(b"X: a\tb"), "200", why="RFC 9110 5.5 allows it"),
    "bytes above 127 in a value": Case(header(b"X: a\xff"), "200", why="RFC 9110 5.5: obsolete text"),
    "LF for line ends": bad(b"GET /zebra HTTP/1.1\nHost: localhost\n\n"),
    "one LF": bad(GET[:-2] + b"\nX: zebra\r\n\r\n"),
    "LF at the end": bad(GET + b"X: zebra\r\n\n"),
    "CR for line ends": bad(b"GET /zebra HTTP/1.1\rHost: localhost\r\r"),
    "CR CR LF": bad(b"GET /zebra HTTP/1.1\r\r\nHost: localhost\r\r\n\r\r\n"),
    "a long name": bad(header(b"Z" * 20_000 + b": zebra"), "RFC 6585 5 would say 431"),
    "a long value": bad(header(b"X: zebra" + b"z" * 20_000)),
    "8000 characters": Case(header(b"X: " + b"z" * 8000), "200"),
    "two thousand": bad(header(b"\r\n".join(b"X-%d: zebra" % i for i in range(2000)))),
    "a hundred": Case(header(b"\r\n".join(b"X-%d: z" % i for i in range(100))), "200"),
    "a strange Cookie": Case(header(b'Cookie: a="b; ;;=;\xff'), "200"),
}

LENGTHS = {
    "with chunks": bad(POST + b"X: zebra\r\n" + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK + LAST),
    "after chunks": bad(posted(b"X: zebra\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", LAST)),
    "two that differ": bad(POST + b"X: zebra\r\n" + LENGTH + b"Content-Length: 5\r\n\r\n" + BODY),
    "the same twice": bad(POST + b"X: zebra\r\n" + LENGTH + LENGTH + b"\r\n" + BODY, "RFC 9112 6.3 allows either"),
    "a list": bad(posted(b"X: zebra\r\nContent-Length: 60, 60")),
    "negative": bad(posted(b"X: zebra\r\nContent-Length: -1")),
    "a plus": bad(posted(b"X: zebra\r\nContent-Length: +60")),
    "hexadecimal": bad(posted(b"X: zebra\r\nContent-Length: 0x3c")),
    "a fraction": bad(posted(b"X: zebra\r\nContent-Length: 60.0")),
    "an underscore": bad(posted(b"X: zebra\r\nContent-Length: 6_0")),
    "a space inside": bad(posted(b"X: zebra\r\nContent-Length: 6 0")),
    "digits of another script": bad(posted("X: zebra\r\nContent-Length: ٦٠".encode())),
    "empty": bad(posted(b"X: zebra\r\nContent-Length:")),
    "more than 64 bits": bad(posted(b"X: zebra\r\nContent-Length: 99999999999999999999999999")),
    "2^63": Case(posted(b"Content-Length: 9223372036854775808", b""), "413", None),
    "a gigabyte": Case(posted(b"Content-Length: 1000000000", b""), "413", None),
    "zeros before": Case(posted(b"Content-Length: 0000%d" % len(BODY)), "200"),
    "none, and a body": bad(posted(b"X: y", b"zebra zebra\r\n\r\n"), "without a length the next request begins there"),
    "too long": Case(posted(b"Content-Length: %d" % (len(BODY) + 1)), "408", None),
    "an underscore in the name": Case(
        POST + LENGTH + b"Transfer_Encoding: chunked\r\n\r\n" + BODY, "200", why="another header, and no business of ours"
    ),
    "of a GET": Case(GET + b"Content-Length: 5\r\n\r\nzebra", "200"),
    "of a GET whose body is a request": Case(GET + b"Content-Length: %d\r\n\r\n" % len(GET + b"\r\n") + GET + b"\r\n", "200"),
    "of a HEAD": Case(b"HEAD" + GET[3:] + b"Content-Length: 5\r\n\r\nzebra", "200"),
}  # fmt: skip

ENCODINGS = {
    "identity": bad(POST + b"X: zebra\r\nTransfer-Encoding: identity\r\n" + LENGTH + b"\r\n" + BODY),
    "gzip": bad(posted(b"X: zebra\r\nTransfer-Encoding: gzip")),
    "gzip, chunked": Case(
        posted(b"Transfer-Encoding: gzip, chunked", CHUNK + LAST), "200",
        why="framed right; RFC 9112 6.1 would say 501, but nothing is unpacked here",
    ),
    "chunked, gzip": bad(posted(b"X: zebra\r\nTransfer-Encoding: chunked, gzip", CHUNK + LAST)),
    "chunked, chunked": bad(posted(b"X: zebra\r\nTransfer-Encoding: chunked, chunked", CHUNK + LAST)),
    "chunked in two headers": bad(
        posted(b"X: zebra\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", CHUNK + LAST)
    ),
    "chunked and identity": bad(
        posted(b"X: zebra\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity", CHUNK + LAST)
    ),
    "xchunked": bad(posted(b"X: zebra\r\nTransfer-Encoding: xchunked", CHUNK + LAST)),
    "quoted": bad(posted(b'X: zebra\r\nTransfer-Encoding: "chunked"', CHUNK + LAST)),
    "a parameter": bad(posted(b"X: zebra\r\nTransfer-Encoding: chunked;q=1", CHUNK + LAST)),
    "a vertical tab": bad(posted(b"X: zebra\r\nTransfer-Encoding: \x0bchunked", CHUNK + LAST)),
    "a space before the colon": bad(posted(b"X: zebra\r\nTransfer-Encoding : chunked", CHUNK + LAST)),
    "capitals": Case(posted(b"TRANSFER-ENCODING: CHUNKED", CHUNK + LAST), "200"),
    "an empty member": Case(posted(b"Transfer-Encoding: ,chunked", CHUNK + LAST), "200", why="RFC 9110 5.6.1.2"),
    "none named": Case(POST + b"Transfer-Encoding:\r\n" + LENGTH + b"\r\n" + BODY, "200", why="no coding, so the length holds"),
    "in HTTP/1.0": Case(
        posted(b"Transfer-Encoding: chunked", CHUNK + LAST).replace(b"1.1", b"1.0"), "403", True,
        why="RFC 9112 6.1: the connection is closed after it; without keys HTTP/1.0 may be a proxy's and is refused",
    ),
}  # fmt: skip

CHUNKS = {
    "good": Case(CHUNKED + CHUNK + LAST, "200"),
    "one byte each": Case(CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + LAST, "200"),
    "capital digits": Case(CHUNKED + b"%X\r\n" % len(BODY) + BODY + b"\r\n" + LAST, "200"),
    "zeros before": Case(CHUNKED + b"0000" + CHUNK + b"000" + LAST, "200"),
    "no hexadecimal": bad(CHUNKED + b"zebra\r\n" + BODY + b"\r\n" + LAST),
    "0x": bad(CHUNKED + b"0x" + CHUNK + b"zebra" + LAST),
    "negative": bad(CHUNKED + b"-1\r\nzebra\r\n" + LAST),
    "a plus": bad(CHUNKED + b"+5\r\nzebra\r\n" + LAST),
    "an underscore": bad(CHUNKED + b"0_5\r\nzebra\r\n" + LAST),
    "a space before": bad(CHUNKED + b" 5\r\nzebra\r\n" + LAST),
    "a space behind": bad(CHUNKED + b"5 \r\nzebra\r\n" + LAST),
    "more than 64 bits": bad(CHUNKED + b"fffffffffffffffff\r\nzebra\r\n" + LAST),
    "64 bits and five": bad(CHUNKED + b"10000000000000005\r\nzebra\r\n" + LAST),
    "two gigabytes, and silence": Case(CHUNKED + b"7fffffff\r\n" + BODY, "408", None),
    "no size": bad(CHUNKED + b"\r\nzebra\r\n" + LAST),
    "extensions": Case(CHUNKED + CHUNK.replace(b"\r\n", b";a=b\r\n", 1) + b"0;c\r\n\r\n", "200"),
    "a quoted extension": Case(CHUNKED + CHUNK.replace(b"\r\n", b';a="b;c"\r\n', 1) + LAST, "200"),
    "LF in an extension": bad(CHUNKED + b"5;a=b\nc\r\nzebra\r\n" + LAST),
    "a long extension": Case(
        CHUNKED + CHUNK.replace(b"\r\n", b";" + b"z" * 100_000 + b"\r\n", 1) + LAST, "200",
        why="RFC 9112 7.1.1 would have it bounded: it is not kept, and the body's time is",
    ),
    "LF for line ends": bad(CHUNKED + b"5\nzebra\n0\n\n"),
    "LF behind the size": bad(CHUNKED + b"5\nzebra\r\n" + LAST),
    "CR behind the size": bad(CHUNKED + b"5\rzebra\r\n" + LAST),
    "no line end behind the data": bad(CHUNKED + b"5\r\nzebra" + LAST),
    "more data than said": bad(CHUNKED + b"4\r\nzebra\r\n" + LAST),
    "a trailer": Case(CHUNKED + CHUNK + b"0\r\nX-Trailer: a\r\n\r\n", "200"),
    "Content-Length as a trailer": bad(CHUNKED + CHUNK + b"0\r\nX: zebra\r\nContent-Length: 5\r\n\r\n"),
    "Transfer-Encoding as a trailer": bad(CHUNKED + CHUNK + b"0\r\nX: zebra\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "Host as a trailer": Case(CHUNKED + CHUNK + b"0\r\nHost: a.example\r\n\r\n", "200", why="trailers are not looked at"),
    "a broken trailer": bad(CHUNKED + CHUNK + b"0\r\nze bra: 1\r\n\r\n"),
    "thousands of trailers": bad(CHUNKED + CHUNK + b"0\r\n" + b"X: zebra\r\n" * 5000 + b"\r\n"),
    "an empty body": Case(CHUNKED + LAST, "400"),
}  # fmt: skip

AFTER = {
    "gzip that is none": Case(posted(b"Content-Encoding: gzip\r\nContent-Length: 5", b"zebra"), "400"),
    "two requests at once": Case(GET + b"\r\n" + GET + b"\r\n", "200 200"),
    "two posts at once": Case((POST + LENGTH + b"\r\n" + BODY) * 2, "200 200"),
    "chunks, then a request": Case(
        CHUNKED + CHUNK + LAST + GET + b"\r\n", "200", True, "see test_a_trailer_is_no_header"
    ),
    "a good one, then none": bad(
        GET + b"\r\nzebra zebra\r\n\r\n",
        "what came in one piece is judged in one; whoever sends such can wait for nothing",
    ),
    "more after `close`": bad(
        header(b"X: zebra\r\nConnection: close") + GET + b"\r\n", "as above: RFC 9112 9.6 forbids it"
    ),
    "close": Case(header(b"Connection: close"), "200", True),
    "close, keep-alive": Case(header(b"Connection: close, keep-alive, x"), "200", True),
    "100-continue, and the body": Case(POST + b"Expect: 100-continue\r\n" + LENGTH + b"\r\n" + BODY, "200"),
    "100-continue in capitals": Case(POST + b"Expect: 100-CONTINUE\r\n" + LENGTH + b"\r\n", "100 408", None),
    "100-continue, and no body": Case(POST + b"Expect: 100-continue\r\n" + LENGTH + b"\r\n", "100 408", None),
    "100-continue for chunks": Case(CHUNKED[:-2] + b"Expect: 100-continue\r\n\r\n", "100 408", None),
    "100-continue for too much": Case(posted(b"Expect: 100-continue\r\nContent-Length: 1000000000", b""), "413", None),
    "100-continue of a GET": Case(header(b"Expect: 100-continue"), "200"),
    "100-continue in HTTP/1.0": Case(
        (POST + b"Expect: 100-continue\r\n" + LENGTH + b"\r\n").replace(b"1.1", b"1.0") + BODY, "403", True
    ),
    "another expectation": Case(
        POST + b"Expect: zebra\r\n" + LENGTH + b"\r\n" + BODY, "200", why="RFC 9110 10.1.1: 417 may be said"
    ),
    "another expectation, of no path": Case(
        get(b"OPTIONS * HTTP/1.1", b"Host: localhost\r\nConnection: close\r\nExpect: x\r\n"), "417", True
    ),
    "an encoding nobody knows": Case(POST + b"Content-Encoding: made-up\r\n" + LENGTH + b"\r\n" + BODY, "415"),
    "WebSocket": Case(
        header(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x"), "200"
    ),
    "h2c": Case(
        header(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"), "200"
    ),
    "WebSocket, then a request": Case(header(b"Connection: Upgrade\r\nUpgrade: websocket") + GET + b"\r\n", "200 200"),
    "another upgrade, then a request": Case(
        header(b"Connection: Upgrade\r\nUpgrade: x") + GET + b"\r\n",
        "200",
        why="aiohttp drops what came in one piece with an upgrade that it does not know: lost, but taken for nothing else",
    ),
    "an upgrade with a body": Case(POST + b"Connection: Upgrade\r\nUpgrade: x\r\n" + LENGTH + b"\r\n" + BODY, "200"),
}

# After chunks the connection ends: see test_a_trailer_is_no_header.
for cases in (ENCODINGS, CHUNKS):
    cases.update({name: case._replace(closes=True) for name, case in cases.items() if case.closes is False})

CASES = {
    f"{room}: {name}": case
    for room, cases in (
        ("request line", REQUEST_LINE), ("target", TARGET), ("Host", HOST), ("headers", HEADERS),
        ("Content-Length", LENGTHS), ("Transfer-Encoding", ENCODINGS), ("chunks", CHUNKS), ("connection", AFTER),
    )
    for name, case in cases.items()
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    with Process(config(server="max_body: 1MiB\ntimeouts: {request_body: 0.4}")) as process:
        yield process


def statuses(said: bytes) -> str:
    return b" ".join(re.findall(rb"HTTP/\d\.\d (\d\d\d) ", said)).decode()


def read(client: socket.socket, said: bytes, until: str = "never") -> bytes:
    """What else is said, until there are these answers or the server closes."""
    while statuses(said) != until or not said.endswith((b"}", b"\r\n\r\n")):
        piece = client.recv(65536)
        if not piece:
            break
        said += piece
    return said


def exchange(server: Process, case: Case) -> bytes:
    """All that comes back; where the connection should stay open, with the answer to one more request on it."""
    with dial(server) as client:
        client.sendall(case.sent)
        if case.closes:
            return read(client, b"")
        said = read(client, b"", case.status)
        if case.closes is None:
            return said
        client.sendall(GET + b"\r\n")
        return read(client, said, f"{case.status} 200")


@pytest.mark.parametrize("name", CASES)
def test_framing(server: Process, name: str) -> None:
    case = CASES[name]
    said = exchange(server, case)
    assert statuses(said) == case.status + (" 200" if case.closes is False else ""), said
    top, _, rest = said.partition(b"\r\n\r\n")
    if case.status >= "400" and case.status not in ("405", "417"):
        body = rest.partition(b"HTTP/1.1 ")[0]
        assert json.loads(body)["error"].keys() == {"message", "type", "param", "code"}
        assert b"application/json" in top and b"X-Injected" not in top
    if case.closes and b"HTTP/1.1 2" in top:
        assert b"\r\nConnection: close" in top, "a client that keeps the connection would lose its next request"
    if case.closes and case.status >= "400":
        assert b"zebra" not in said.lower() and b"Traceback" not in said
    with dial(server) as client:
        client.sendall(GET + b"Connection: close\r\n\r\n")
        assert statuses(read(client, b"")) == "200"


def test_there_are_enough() -> None:
    assert len(CASES) > 150


def test_a_head_in_pieces(server: Process) -> None:
    with dial(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in GET + b"\r\n" + CHUNKED + CHUNK + LAST:
            client.send(bytes([byte]))
        assert statuses(read(client, b"")) == "200 200"


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_a_trailer_is_no_header(keyed: Process, pause: float) -> None:
    """aiohttp 3.14.5 keeps the last trailer of a request and puts it first among the headers of the next one on the same
    connection, which behind a proxy may be somebody else's. So there is no next one after chunks.
    """
    key = b"x-api-key: " + LAPTOP.encode() + b"\r\n"
    next_one = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for headers, status in ((b"", "401"), (key, "200")):
        with dial(keyed) as client:
            client.sendall(CHUNKED.replace(b"\r\n", b"\r\n" + headers, 1) + CHUNK + b"0\r\n" + key + b"\r\n")
            time.sleep(pause)  # in one piece with it, and later
            with suppress(ConnectionError):
                client.sendall(next_one)
                assert statuses(read(client, b"")) == status
